"""A second opinion on pickles by the package `picklescan`, where it is installed (extra `scan`).

It keeps a list of what is dangerous, we keep one of what is harmless; a file is as bad as the worse of both
says. It has no limits of its own, so it is shown pickles up to `MAX_BYTES`.

Not covered: larger pickles, and containers other than zip, about which our own scanner decides alone.
"""

import io
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec

from ayni.hub.archives import ARCHIVE_ERRORS
from ayni.hub.pickles import Finding
from ayni.hub.ranged_file import RangedFile

MAX_BYTES = 4 << 20
MAX_MEMBERS = 20
IS_INSTALLED = find_spec("picklescan") is not None


def second_opinion(file: RangedFile, *, is_zip: bool) -> tuple[Finding, ...]:
    """What `picklescan` finds dangerous in a pickle, or in the pickles of a zip file; none without it."""
    if not IS_INSTALLED:
        return ()
    found: list[Finding] = []
    for inside, content in _pickles_in_zip(file) if is_zip else _whole(file):
        found += _opinion(content, inside)
    return tuple(found)


def _opinion(content: bytes, inside: str) -> list[Finding]:
    from picklescan import scanner

    try:
        found = scanner.scan_pickle_bytes(io.BytesIO(content), inside)
    except Exception as error:
        # Whatever a hostile file makes it raise is its opinion.
        what = f"picklescan cannot read it: {type(error).__name__}"
        return [Finding(verdict="unlisted", what=what, inside=inside)]
    # Its `scan_err` says nothing: PyTorch's old files have numbers behind their pickles.
    return [
        Finding(verdict="dangerous", what=f"{each.module}.{each.name}"[:200], inside=inside)
        for each in found.globals
        if each.safety == scanner.SafetyLevel.Dangerous
    ]


def _whole(file: RangedFile) -> Iterator[tuple[str, bytes]]:
    if file.size_bytes <= MAX_BYTES:
        file.seek(0)
        yield "", file.read()


def _pickles_in_zip(file: RangedFile) -> Iterator[tuple[str, bytes]]:
    """Members that are named pickles; ours looks at all of them."""
    try:
        with zipfile.ZipFile(file) as archive:
            named = [each for each in archive.infolist() if each.filename.endswith((".pkl", ".pickle"))]
            for each in named[:MAX_MEMBERS]:
                with archive.open(each) as member:
                    content = member.read(MAX_BYTES + 1)
                if len(content) <= MAX_BYTES:
                    yield each.filename, content
    except ARCHIVE_ERRORS:
        # Ours has said so.
        return

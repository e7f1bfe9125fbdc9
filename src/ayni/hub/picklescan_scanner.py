"""A second opinion on pickles by the package `picklescan`, where it is installed (extra `scan`).

It keeps a list of what is dangerous, we keep one of what is harmless; a file is as bad as the worse of both
says. It unpacks in memory without limits of its own, so it sees only what is small when unpacked.

Not covered: files above `MAX_BYTES`, about which our own scanner decides alone.
"""

import io
from importlib.util import find_spec

from ayni.hub.archives import list_zip
from ayni.hub.pickles import Finding
from ayni.hub.ranged_file import RangedFile

MAX_BYTES = 64 << 20
IS_INSTALLED = find_spec("picklescan") is not None


def second_opinion(file: RangedFile, *, is_zip: bool) -> tuple[Finding, ...]:
    """What `picklescan` finds dangerous in a pickle, or in the pickles of a zip file; none without it."""
    if not IS_INSTALLED or file.size_bytes > MAX_BYTES:
        return ()
    if is_zip and list_zip(file).unpacked_bytes > MAX_BYTES:
        return ()
    from picklescan import scanner

    file.seek(0)
    content = io.BytesIO(file.read())
    scan = scanner.scan_zip_bytes if is_zip else scanner.scan_pickle_bytes
    try:
        found = scan(content, "file")
    except Exception as error:
        # Whatever a hostile file makes it raise is its opinion.
        return (Finding(verdict="unlisted", what=f"picklescan cannot read it: {type(error).__name__}"),)
    dangerous = [each for each in found.globals if each.safety == scanner.SafetyLevel.Dangerous]
    return tuple(
        Finding(verdict="dangerous", what=f"{each.module}.{each.name}"[:200], inside="") for each in dangerous
    )

"""What somebody handed in to be verified: receipts and windows, out of files, folders and zip archives.

    run folder          receipts/0001-train.json ..., meter/windows.jsonl      a run, or a measurement
    folder of such      home/runs, home/footprint, or anything that holds some below it
    archive             a zip of either; read in place, nothing is unpacked
    single files        receipts and windows, put together by the run that they name

Single files are known by what they hold, not by their names. What cannot be read is a problem of the
evidence, not the end: everything else is still looked at.

Not covered: other archives than zip; encrypted ones; files, and contents of archives, above a gigabyte.
"""

import lzma
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, UserError
from ayni.files import TWICE, DamagedJsonError, parse_json
from ayni.footprint.receipts.evidence_forms import unformed_line, unformed_receipt
from ayni.footprint.receipts.receipt import SCHEMA, Receipt
from ayni.footprint.windows.window_file import Row

LARGEST_FILE_BYTES = 1 << 30
_RECEIPT = re.compile(r"(?P<root>(?:.*/)?)receipts/\d{4}-[^/]*\.json")
_BARE_RECEIPT = re.compile(r"(?P<root>)\d{4}-[^/]*\.json")
_WINDOWS = re.compile(r"(?P<root>(?:.*/)?)meter/windows\.jsonl")
_FORMS = "ayni/receipt/"
# Damaged, encrypted, of a method that this Python has not; each module has its own way to say so.
_ARCHIVE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError),
    *(RuntimeError, NotImplementedError, ValueError),
)


class NoEvidenceError(UserError):
    """There is nothing to verify under a path."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path}: {reason}. Give receipts (receipts/0001-....json), meter/windows.jsonl, the folder of "
            "a run or a measurement, a folder of these, or a zip of one."
        )


class UnreadableEvidenceError(AyniError):
    """A file that was handed in cannot be read; a problem of what it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundReceipt:
    """A receipt and where it was found."""

    place: str
    receipt: Receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What belongs to one run, as far as it was handed in.

    `place` is where it was found; `is_folder` is False of single files, whose chain may have gaps. `rows`
    are the lines of the file of windows, None when it was not handed in. `problems` are files that cannot
    be read.
    """

    place: str
    is_folder: bool
    receipts: tuple[FoundReceipt, ...] = ()
    rows: tuple[Row, ...] | None = None
    problems: tuple[str, ...] = ()

    @property
    def windows(self) -> list[Row]:
        """The windows among the lines."""
        return [row for row in self.rows or () if row.get("kind") == "window"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """Files below a folder or inside an archive: their names, and how one is read."""

    place: str
    names: Sequence[str]
    read: Callable[[str], bytes]
    problems: tuple[str, ...] = ()


def read_evidence(paths: Iterable[Path]) -> list[Evidence]:
    """Everything that was handed in, run by run; a path given twice is read once.

    Raises:
        NoEvidenceError: a path does not exist, or a folder or archive holds nothing of this kind.
    """
    found: list[Evidence] = []
    single: list[Path] = []
    for path in dict.fromkeys(path.absolute() for path in paths):
        if path.is_dir():
            found += _of_tree(path, _folder(path))
        elif not path.is_file():
            raise NoEvidenceError(path, "there is no such file or folder")
        elif zipfile.is_zipfile(path):
            found += _of_archive(path)
        else:
            single.append(path)
    return [*found, *_of_single_files(single)]


def _folder(root: Path) -> _Tree:
    names = [
        Path(folder, name).relative_to(root).as_posix()
        for folder, _, files in os.walk(root)
        for name in files
    ]
    return _Tree(place=str(root), names=sorted(names), read=lambda name: _read(root / name))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _bounded(file.read(LARGEST_FILE_BYTES + 1), path.name)
    except OSError as error:
        raise UnreadableEvidenceError(f"{path.name} cannot be read: {error.strerror}") from error


def _bounded(content: bytes, name: str) -> bytes:
    if len(content) > LARGEST_FILE_BYTES:
        raise UnreadableEvidenceError(f"{name} is larger than {LARGEST_FILE_BYTES >> 20} MiB")
    return content


def _of_archive(path: Path) -> list[Evidence]:
    try:
        with zipfile.ZipFile(path) as archive:
            return _of_tree(path, _archive(path, archive))
    except zipfile.BadZipFile as error:
        raise NoEvidenceError(path, f"the archive is damaged ({error})") from error


def _archive(path: Path, archive: zipfile.ZipFile) -> _Tree:
    room = LARGEST_FILE_BYTES

    def read(name: str) -> bytes:
        nonlocal room
        try:
            with archive.open(name) as file:
                content = file.read(room + 1)
        except _ARCHIVE_ERRORS as error:
            raise UnreadableEvidenceError(f"{name} in the archive cannot be read: {error}") from error
        # A small archive may hold any number of large files.
        if len(content) > room:
            raise UnreadableEvidenceError(f"the archive holds more than {LARGEST_FILE_BYTES >> 20} MiB")
        room -= len(content)
        return content

    times = Counter(archive.namelist())
    # Programs disagree on which of two entries of one name counts.
    twice = sorted(name for name, number in times.items() if number > 1)
    return _Tree(
        place=str(path),
        names=sorted(set(times) - set(twice)),
        read=read,
        problems=tuple(f"the archive holds {name} twice" for name in twice),
    )


def _of_tree(path: Path, tree: _Tree) -> list[Evidence]:
    by_root: dict[str, list[str]] = {}
    for name in tree.names:
        pattern = next((form for form in (_RECEIPT, _WINDOWS, _BARE_RECEIPT) if form.fullmatch(name)), None)
        if pattern is not None and (match := pattern.fullmatch(name)):
            by_root.setdefault(match["root"], []).append(name)
    if not by_root and not tree.problems:
        raise NoEvidenceError(path, "it holds no receipts and no windows")
    found = [_of_run_folder(tree, root, names) for root, names in sorted(by_root.items())]
    if tree.problems:
        found.append(Evidence(place=tree.place, is_folder=True, problems=tree.problems))
    return found


def _of_run_folder(tree: _Tree, root: str, names: list[str]) -> Evidence:
    receipts: list[FoundReceipt] = []
    problems: list[str] = []
    rows: tuple[Row, ...] | None = None
    for name in names:
        try:
            content = tree.read(name)
            if _WINDOWS.fullmatch(name):
                rows, lines = _rows(content, name)
                problems += lines
            else:
                receipts.append(
                    FoundReceipt(place=f"{tree.place}/{name}", receipt=_receipt(content, Path(name)))
                )
        except AyniError as error:
            problems.append(str(error))
    return Evidence(
        place=f"{tree.place}/{root}".rstrip("/"),
        is_folder=True,
        receipts=tuple(receipts),
        rows=rows,
        problems=tuple(problems),
    )


def _rows(content: bytes, name: str) -> tuple[tuple[Row, ...], list[str]]:
    """The lines that have their form, and a problem for each whole line that has not."""
    sound: list[Row] = []
    problems = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            row = parse_json(line, path=Path(name))
        except DamagedJsonError as error:
            # A crash leaves half a line behind; nothing leaves a whole one that says two things.
            if TWICE in error.msg:
                problems.append(f"{name}, line {number}: {error.msg}")
            continue
        if isinstance(row, dict):
            if (field := unformed_line(row)) is None:
                sound.append(row)
            else:
                problems.append(f"{name}: the {row['kind']} in line {number} lacks its form at {field!r}")
    return tuple(sound), problems


def _receipt(content: bytes, path: Path) -> Receipt:
    """A receipt of the form that this version reads.

    Raises:
        UnreadableEvidenceError: it is none, or of another form.
    """
    try:
        receipt = parse_json(content, path=path)
    except DamagedJsonError as error:
        raise UnreadableEvidenceError(f"{path.name} is no receipt: {error.msg}") from error
    schema = receipt.get("schema") if isinstance(receipt, dict) else None
    if not isinstance(schema, str) or not schema.startswith(_FORMS):
        raise UnreadableEvidenceError(f"{path.name} is no receipt")
    if schema != SCHEMA:
        raise UnreadableEvidenceError(
            f"{path.name} has the form {schema!r}, and this version reads {SCHEMA!r}: verify it with the "
            "version of Ayni that wrote it"
        )
    if (field := unformed_receipt(receipt)) is not None:
        raise UnreadableEvidenceError(f"{path.name} lacks the form of a receipt at {field!r}")
    return dict(receipt)


def _of_single_files(paths: Sequence[Path]) -> list[Evidence]:
    receipts: dict[str, list[FoundReceipt]] = {}
    files_of_windows: dict[str, tuple[Row, ...]] = {}
    problems: list[Evidence] = []
    for path in paths:
        try:
            content = _read(path)
            rows, lines = _rows(content, path.name)
            if any(row.get("kind") in ("meter", "window") for row in rows):
                files_of_windows[str(path)] = rows
                problems += [Evidence(place=str(path), is_folder=False, problems=(line,)) for line in lines]
                continue
            receipt = _receipt(content, path)
            receipts.setdefault(receipt["run"], []).append(FoundReceipt(place=str(path), receipt=receipt))
        except UnreadableEvidenceError as error:
            problems.append(Evidence(place=str(path), is_folder=False, problems=(str(error),)))
    joined = [_joined(run, found, files_of_windows) for run, found in receipts.items()]
    alone = [Evidence(place=place, is_folder=False, rows=rows) for place, rows in files_of_windows.items()]
    return [*joined, *alone, *problems]


def _joined(run: str, receipts: list[FoundReceipt], files_of_windows: dict[str, tuple[Row, ...]]) -> Evidence:
    """The receipts of a run and the file whose windows know it as a job; that file is taken."""
    place = next((name for name, rows in files_of_windows.items() if run in _jobs(rows)), None)
    return Evidence(
        place=receipts[0].place if len(receipts) == 1 else f"{len(receipts)} receipts of {run}",
        is_folder=False,
        receipts=tuple(receipts),
        rows=None if place is None else files_of_windows.pop(place),
    )


def _jobs(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    return {job for row in rows if row.get("kind") == "window" for job in row["jobs"]}

"""Figures that another tool wrote: kept as they came, counted apart, and never signed as ours.

An import is a folder beside the measurements of this home:

    import.json      who imported which file when, its SHA-256, the tool, and what a reader should know
    emissions.csv    the file itself, byte for byte

The figures are read from the kept file each time, so that nothing can differ from it; a changed file is
refused by its hash. `import.json` is a statement and no receipt: it has no signature, no place in a chain,
and says whose word it is. Reports show the figures with the tier "third-party", without interval, and add
them to nothing that was metered here.

A run that stands in several imports (files grow) counts once, with its largest energy. A task counts only
where the whole run is not there.

Not covered: whether the figures are true.
"""

import getpass
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, UserError
from ayni.files import make_folder, read_json, write_atomically, write_json
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.codecarbon_files import CodeCarbonRow, read_codecarbon_file
from ayni.footprint.sums.entries import THIRD_PARTY, FootprintEntry, without_nested
from ayni.signing import sha256_hex

SCHEMA = "ayni/import/1"
IMPORT_FILE, KEPT_FILE = "import.json", "emissions.csv"
TOOL = "CodeCarbon"


class DamagedImportError(AyniError):
    """An import is not what was imported."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(f"{path} {reason}. Import the original file again, and delete this folder.")


class AlreadyImportedError(UserError):
    """The same file was imported before."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.folder = folder
        super().__init__(
            f"{path} was imported before, as {folder.name}. Nothing was done. Delete {folder} to import it "
            "anew."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """What is known of a file beyond itself.

    `member` is whose work it was; `time_zone` and `pue` as for `read_codecarbon_file`. `imported_by` is a
    person or account.
    """

    member: str = "me"
    site: str = "unknown"
    time_zone: str | None = None
    pue: float | None = None
    imported_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedFile:
    """One import: its statement and its figures."""

    folder: Path
    statement: dict[str, Any]
    entries: tuple[FootprintEntry, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: the statement, its id, and how much there is."""
        return {"import": self.folder.name, **self.statement, "entries": len(self.entries)}


def import_codecarbon(
    path: Path, *, imports: Path, request: ImportRequest | None = None, now: datetime
) -> ImportedFile:
    """Keep an emissions.csv as an import, a new folder of `imports`.

    Raises:
        GridFileError: the file is not one, or a line of it is broken; nothing is kept then.
        AlreadyImportedError: the same bytes are there already.
    """
    request = request or ImportRequest()
    found = read_codecarbon_file(path, time_zone=request.time_zone, pue=request.pue)
    content = path.read_bytes()
    digest = sha256_hex(content)
    for folder in import_folders(imports):
        if _statement(folder)["sha256"] == digest:
            raise AlreadyImportedError(path, folder)
    statement = {
        "schema": SCHEMA,
        "statement": f"{request.imported_by or _account()} imported these figures of {TOOL}. They were not "
        "metered by Ayni, and no key stands for them.",
        "tool": f"{TOOL} {', '.join(sorted({row.version for row in found.rows}))}",
        "file": path.name,
        "sha256": digest,
        "imported_by": request.imported_by or _account(),
        "imported_at": now.astimezone(UTC).isoformat(),
        "node": os.uname().nodename,
        "member": request.member,
        "site": request.site,
        "time_zone": request.time_zone,
        "pue": request.pue,
        "notes": list(found.notes),
    }
    folder = _new_folder(imports, path.stem, now)
    write_atomically(folder / KEPT_FILE, content)
    # The statement comes last: a folder without one is no import.
    write_json(folder / IMPORT_FILE, statement)
    return ImportedFile(folder=folder, statement=statement, entries=_entries(folder, statement, found.rows))


def read_import(folder: Path) -> ImportedFile:
    """An import with its figures, read from the kept file.

    Raises:
        DamagedImportError: statement or file are missing or were changed.
    """
    statement = _statement(folder)
    kept = folder / KEPT_FILE
    try:
        content = kept.read_bytes()
    except OSError as error:
        raise DamagedImportError(kept, f"cannot be read: {error.strerror or error}") from error
    if sha256_hex(content) != statement["sha256"]:
        raise DamagedImportError(kept, "was changed after it was imported: its SHA-256 is another")
    try:
        found = read_codecarbon_file(kept, time_zone=statement["time_zone"], pue=statement["pue"])
    except UserError as error:
        raise DamagedImportError(kept, f"cannot be read any more: {error}") from error
    return ImportedFile(folder=folder, statement=statement, entries=_entries(folder, statement, found.rows))


def import_folders(imports: Path) -> list[Path]:
    """The folders with an import, in the order of their names."""
    return sorted(path.parent for path in imports.glob(f"*/{IMPORT_FILE}"))


def without_repeats(entries: Iterable[FootprintEntry]) -> tuple[list[FootprintEntry], int]:
    """Each run of other tools once, with its largest energy; and how many entries that leaves out.

    Tasks of a run that is there itself are left out with them.
    """
    last: dict[tuple[str, str], FootprintEntry] = {}
    given = list(entries)
    for entry in given:
        before = last.get((entry.run, entry.step))
        if before is None or _drawn(entry) > _drawn(before):
            last[entry.run, entry.step] = entry
    counted, _ = without_nested(last.values())
    return counted, len(given) - len(counted)


def _drawn(entry: FootprintEntry) -> int:
    return entry.facility_microjoules or 0


def _statement(folder: Path) -> dict[str, Any]:
    path = folder / IMPORT_FILE
    try:
        statement = read_json(path)
        texts = ("statement", "tool", "file", "sha256", "imported_by", "imported_at", "member", "site")
        if statement["schema"] != SCHEMA or not all(isinstance(statement[name], str) for name in texts):
            raise ValueError(f"its schema is {statement['schema']!r}")
        return {"time_zone": None, "pue": None, "notes": [], **statement}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedImportError(path, f"is no statement of an import: {error}") from error


def _entries(
    folder: Path, statement: dict[str, Any], rows: Iterable[CodeCarbonRow]
) -> tuple[FootprintEntry, ...]:
    return tuple(_entry(folder, statement, row) for row in rows)


def _entry(folder: Path, statement: dict[str, Any], row: CodeCarbonRow) -> FootprintEntry:
    # What a task drew, its run drew as well: like a measurement within another one.
    is_task = row.task is not None
    return FootprintEntry(
        run=f"{row.run}/{row.task}" if is_task else row.run,
        job=row.project,
        step=row.task or "run",
        within=(row.run,) if is_task else (),
        member=statement["member"],
        site=statement["site"],
        node="unknown",
        started_at=row.started_at,
        ended_at=row.ended_at,
        wall_seconds=row.seconds,
        tier=THIRD_PARTY,
        energy=Amount(value=row.it_microjoules),
        facility_microjoules=row.facility_microjoules,
        carbon=Amount(value=row.grams_co2e),
        basis=None,
        zone=row.zone,
        pue=row.pue,
        meter=f"{TOOL} {row.version} on {row.hardware}",
        scope="as the tool counts",
        on_site_litres=None if row.on_site_litres is None else Amount(value=row.on_site_litres),
        origin=THIRD_PARTY,
        source=f"{folder.name}/{KEPT_FILE}, line {row.line}",
    )


def _new_folder(imports: Path, name: str, now: datetime) -> Path:
    """A folder that nobody has: `20260301-120000-emissions`, with a number where that is taken."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "import"
    make_folder(imports)
    for number in range(1, 1000):
        suffix = "" if number == 1 else f"-{number}"
        folder = imports / f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{slug}{suffix}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    return _new_folder(imports, name, now + timedelta(seconds=1))


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        # A container may have no name for its user.
        return f"user {os.getuid()}"

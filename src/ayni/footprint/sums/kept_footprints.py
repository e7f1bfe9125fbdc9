"""What one run or measurement left: its receipts as entries, read from files alone.

    <run>/receipts/0001-plan.json ...        a run of a job, or a measurement that nobody made a job for
    <import>/import.json, emissions.csv      figures that another tool wrote (`third_party`)
    one receipt                              a file by itself

Not covered: signatures, chains and windows, which `verification` checks.
"""

from dataclasses import dataclass
from pathlib import Path

from ayni.errors import AyniError, UserError
from ayni.footprint.receipts.receipt import Receipt, read_receipt, receipt_paths
from ayni.footprint.sums.entries import THIRD_PARTY, FootprintEntry, entry_of_receipt
from ayni.footprint.sums.third_party import IMPORT_FILE, read_import


class NoFootprintError(UserError):
    """There is no receipt where one was looked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} holds no receipt. Give a run, the folder of a run or measurement, or a receipt such as "
            "receipts/0001-train.json."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFootprint:
    """The entries of one folder or file, and what of it could not be read, as sentences.

    `receipts` are the signed records behind the entries, in the order of their chain.
    """

    name: str
    path: Path
    entries: tuple[FootprintEntry, ...]
    receipts: tuple[Receipt, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def is_third_party(self) -> bool:
        """Whether another tool measured it."""
        return any(entry.origin == THIRD_PARTY for entry in self.entries)


def read_kept(path: Path) -> KeptFootprint:
    """What a run's folder, a measurement's folder, a folder of receipts or one receipt holds.

    Raises:
        NoFootprintError: no receipt there.
        DamagedReceiptError, EarlierReceiptError, DamagedImportError: one of them cannot be added up.
    """
    return _read(path, is_lenient=False)


def read_kept_leniently(path: Path) -> KeptFootprint:
    """The same, with a sentence for each file that cannot be added up instead of an error."""
    return _read(path, is_lenient=True)


def _read(path: Path, *, is_lenient: bool) -> KeptFootprint:
    if (path / IMPORT_FILE).is_file():
        return _imported(path, is_lenient=is_lenient)
    paths = _receipts_of(path)
    if not paths:
        if is_lenient:
            return KeptFootprint(name=path.name, path=path, entries=())
        raise NoFootprintError(path)
    entries, receipts, problems = [], [], []
    for each in paths:
        try:
            receipt = read_receipt(each)
            entries.append(entry_of_receipt(receipt, each))
            receipts.append(receipt)
        except AyniError as error:
            if not is_lenient:
                raise
            problems.append(str(error))
    return KeptFootprint(
        name=path.name, path=path, entries=tuple(entries), receipts=tuple(receipts), problems=tuple(problems)
    )


def _imported(path: Path, *, is_lenient: bool) -> KeptFootprint:
    try:
        statement = read_import(path)
    except AyniError as error:
        if not is_lenient:
            raise
        return KeptFootprint(name=path.name, path=path, entries=(), problems=(str(error),))
    return KeptFootprint(name=path.name, path=path, entries=statement.entries)


def _receipts_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return receipt_paths(path / "receipts") or receipt_paths(path)

"""Verify a run from its files alone: nothing altered, nothing missing, everything adds up.

Works with the light install and on a copy of the folder on another machine. Not covered: whether the
watts are true, and whether the key belongs to whom it should; without the home that made the run, the
key is the one inside the manifest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.files import read_json, sha256_of_file
from ayni.footprint.verification import verify_receipts
from ayni.jobs.runs import STEP_ORDER
from ayni.market.double_entry import check_transactions
from ayni.signing import BadSignatureError, verify_record
from ayni.train.accepted import check_samples
from ayni.workflows.seal_run import MANIFEST_FILE, read_manifest, sealed_files
from ayni.workflows.settle_job import LEDGER_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One thing that was looked at. `problems` is empty when all is well; `detail` says what was seen."""

    name: str
    problems: tuple[str, ...]
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        shown = "; ".join(self.problems[:5]) or self.detail
        more = f"; and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
        return {"name": self.name, "ok": not self.problems, "detail": shown + more}


def verify_run(folder: Path, *, expected_public_key: str | None) -> list[CheckResult]:
    """All checks of the run in `folder`, each with what it found.

    `expected_public_key` is the key that must have signed; None takes the one in the manifest.
    """
    key = expected_public_key
    try:
        manifest = read_manifest(folder) or {}
    except ValueError:
        manifest = {}
    if key is None and isinstance(manifest.get("public_key"), str):
        key = manifest["public_key"]
    checks: list[tuple[str, Callable[[], tuple[list[str], str]]]] = [
        ("finished", lambda: _check_finished(folder, manifest)),
        ("files", lambda: _check_files(folder, manifest, key)),
        ("receipts", lambda: _check_receipts(folder, key)),
        ("samples", lambda: (check_samples(folder / "train"), "each counts once, none is skipped")),
        ("ledger", lambda: _check_ledger(folder)),
        ("published", lambda: _check_published(manifest)),
    ]
    return [_checked(name, check) for name, check in checks]


def _checked(name: str, check: Callable[[], tuple[list[str], str]]) -> CheckResult:
    try:
        problems, detail = check()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Whoever alters files may also alter their form; that is a finding, not a crash.
        problems, detail = [f"cannot be read: {type(error).__name__}: {error}"], ""
    return CheckResult(name=name, problems=tuple(problems), detail=detail)


def _check_finished(folder: Path, manifest: dict[str, Any]) -> tuple[list[str], str]:
    missing = [step for step in STEP_ORDER if not (folder / "steps" / f"{step}.json").exists()]
    problems = [f"the steps {', '.join(missing)} are not finished"] if missing else []
    if not manifest:
        problems.append(f"there is no readable {MANIFEST_FILE}: the run was not sealed, or it was removed")
    return problems, f"all {len(STEP_ORDER)} steps"


def _check_files(folder: Path, manifest: dict[str, Any], key: str | None) -> tuple[list[str], str]:
    if not manifest:
        return ["no manifest to compare with"], ""
    try:
        verify_record(manifest, expected_public_key=key)
    except BadSignatureError as error:
        return [f"{MANIFEST_FILE}: {error}"], ""
    expected: dict[str, str] = manifest["files"]
    problems = _compare(folder, expected)
    problems += [f"{name} was added" for name in sealed_files(folder) if name not in expected]
    return problems, f"{len(expected)} files have their signed hashes"


def _compare(folder: Path, expected: dict[str, str]) -> list[str]:
    problems: list[str] = []
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif sha256_of_file(path) != digest:
            problems.append(f"{name} was changed")
    return problems


def _check_receipts(folder: Path, key: str | None) -> tuple[list[str], str]:
    unfinished = [step for step in STEP_ORDER if not (folder / "steps" / f"{step}.json").exists()]
    # Every finished step has a receipt; the seconds after the last one belong to no step.
    problems = verify_receipts(folder, key, steps_without_receipt=("end", *unfinished))
    count = len(list((folder / "receipts").glob("*.json")))
    if not count:
        problems = ["there is no receipt", *problems]
    return problems, f"{count} signed and chained; jobs + other + idle = node in every window"


def _check_ledger(folder: Path) -> tuple[list[str], str]:
    path = folder / LEDGER_FILE
    if not path.exists():
        return [f"{LEDGER_FILE} is missing"], ""
    transactions = read_json(path)
    problems = check_transactions(transactions)
    paid = {
        row["id"].rpartition(":")[2]
        for row in transactions
        if isinstance(row, dict) and row["kind"] == "draw"
    }
    hashes = {read_json(receipt)["hash"] for receipt in (folder / "receipts").glob("*.json")}
    problems += [
        f"paid for the receipt {digest[:12]}... that is not here" for digest in sorted(paid - hashes)
    ]
    return problems, f"{len(transactions)} transactions, each sums to zero"


def _check_published(manifest: dict[str, Any]) -> tuple[list[str], str]:
    published = manifest.get("published")
    if not published:
        return [], "nothing was published"
    folder = Path(published["folder"])
    where = f"{published['repository']} at {published['revision'][:12]}"
    if not folder.parent.exists():
        # A copy of the run's folder on another machine has its receipts, not the hub.
        return [], f"{where} is not on this machine"
    return _compare(folder, published["files"]), f"{where}: {len(published['files'])} files unchanged"

"""Verify a run from its files alone: nothing altered, nothing missing, everything adds up.

Works with the light install and on a copy of the folder on another machine. A run of this home must be
signed by this home's key and have its published files; of a run from elsewhere the key is the one inside
its manifest, and what it published may be out of sight.

Not covered: whether the watts are true, and whether the key of a run from elsewhere belongs to whom it
should.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json, sha256_of_file
from ayni.footprint.receipts.receipt import receipt_paths
from ayni.footprint.receipts.verification import LOST_FORM, verify_receipts
from ayni.jobs.runs import STEP_ORDER
from ayni.market.double_entry import check_transactions
from ayni.market.settlement_check import check_settlement
from ayni.signing import BadSignatureError, verify_record
from ayni.train.accepted import ACCEPTED_FILE, check_samples, read_unused
from ayni.units import credits_to_microcredits
from ayni.workflows.check_result import CheckResult
from ayni.workflows.seal_run import MANIFEST_FILE, read_manifest, sealed_files
from ayni.workflows.settle_job import CHARGED_STEPS, LEDGER_FILE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found about one run.

    Attributes:
        run: the id that the signed manifest names; before the run was sealed, that of its job.
        is_own: the run lies in this home.
        public_key: the key that must have signed; None when there is none to compare with.
        checks: everything that was looked at.
    """

    run: str
    is_own: bool
    public_key: str | None
    checks: tuple[CheckResult, ...]

    @property
    def is_ok(self) -> bool:
        """Whether no check found a problem."""
        return all(not check.problems for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `key.of` is "home" or "manifest"."""
        return {
            "run": self.run,
            "ok": self.is_ok,
            "key": {"public_key": self.public_key, "of": "home" if self.is_own else "manifest"},
            "checks": [check.to_json() for check in self.checks],
        }


def verify(folder: Path, *, expected_public_key: str | None, is_own: bool) -> Verification:
    """All checks of the run in `folder`, and whose run it is.

    A run of this home (`is_own`) must be signed by `expected_public_key`, this home's key; that there is
    none is a finding. For a run from elsewhere None takes the key in its manifest.
    """
    manifest = _manifest_of(folder)
    key = expected_public_key
    if key is None and not is_own and isinstance(manifest.get("public_key"), str):
        key = manifest["public_key"]
    checks: list[tuple[str, Callable[[], tuple[list[str], str]]]] = [
        ("finished", lambda: _check_finished(folder, manifest)),
        ("key", lambda: _check_key(manifest, key, is_own=is_own)),
        ("files", lambda: _check_files(folder, manifest, key)),
        ("receipts", lambda: _check_receipts(folder, key)),
        ("terms", lambda: _check_terms(folder, manifest)),
        ("samples", lambda: _check_samples(folder)),
        ("ledger", lambda: _check_ledger(folder)),
        ("published", lambda: _check_published(folder, manifest, is_own=is_own)),
    ]
    return Verification(
        run=_run_id(folder, manifest),
        is_own=is_own,
        public_key=key,
        checks=tuple(_checked(name, check) for name, check in checks),
    )


def verify_run(folder: Path, *, expected_public_key: str | None) -> list[CheckResult]:
    """All checks of a run of the home whose key is `expected_public_key`; None for a run from elsewhere."""
    is_own = expected_public_key is not None
    return list(verify(folder, expected_public_key=expected_public_key, is_own=is_own).checks)


def _manifest_of(folder: Path) -> dict[str, Any]:
    try:
        return read_manifest(folder) or {}
    except ValueError:
        return {}


def _run_id(folder: Path, manifest: dict[str, Any]) -> str:
    """The run's own name; a folder can be renamed by whoever copies it."""
    if isinstance(manifest.get("run"), str):
        return str(manifest["run"])
    try:
        return str(read_json(folder / "status.json")["run"])
    except (OSError, ValueError, KeyError, TypeError):
        return folder.resolve().name


def _checked(name: str, check: Callable[[], tuple[list[str], str]]) -> CheckResult:
    try:
        problems, detail = check()
    except (AyniError, OSError, *LOST_FORM) as error:
        # Whoever alters files may also alter their form; that is a finding, not a crash.
        problems, detail = [f"cannot be read: {type(error).__name__}: {error}"], ""
    return CheckResult(name=name, problems=tuple(problems), detail=detail)


def _check_finished(folder: Path, manifest: dict[str, Any]) -> tuple[list[str], str]:
    missing = [step for step in STEP_ORDER if not (folder / "steps" / f"{step}.json").exists()]
    problems = [f"the steps {', '.join(missing)} are not finished"] if missing else []
    if not manifest:
        problems.append(f"there is no readable {MANIFEST_FILE}: the run was not sealed, or it was removed")
    return problems, f"all {len(STEP_ORDER)} steps"


def _check_key(manifest: dict[str, Any], key: str | None, *, is_own: bool) -> tuple[list[str], str]:
    if key is None and is_own:
        problem = "this home has no key (keys/signing.pem): nobody can tell whether the run is its own"
        return [f"{problem}. Put the key back from a backup"], ""
    if key is None:
        return ["no manifest says whose key signed"], ""
    if manifest and manifest.get("public_key") != key:
        return [f"signed by {_short(manifest.get('public_key'))}, this home's key is {_short(key)}"], ""
    whose = "this home's" if is_own else "the one inside its manifest; ask the owner whether it is theirs"
    return [], f"{_short(key)}, {whose}"


def _short(key: Any) -> str:
    return f"{str(key)[:12]}..."


def _check_files(folder: Path, manifest: dict[str, Any], key: str | None) -> tuple[list[str], str]:
    if not manifest:
        if all((folder / "steps" / f"{step}.json").exists() for step in STEP_ORDER):
            return ["no manifest to compare with"], ""
        return [], "not sealed yet: there is nothing to compare with"
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


def _check_terms(folder: Path, manifest: dict[str, Any]) -> tuple[list[str], str]:
    """Whether receipts name the run, the site, the prices and the grid that the frozen job declares."""
    spec = read_json(folder / "job.json")["spec"]
    site = spec["site"]
    declared = {
        "run": _run_id(folder, manifest),
        "member": spec["member"],
        "site": site["name"],
        "pue": site["pue"],
        "carbon.declared_zone": site["zone"],
        "cost.ask_microcredits_per_core_hour": credits_to_microcredits(site["ask_credits_per_core_hour"]),
        "cost.tariff_microcredits_per_kwh": credits_to_microcredits(site["electricity_credits_per_kwh"]),
    }
    problems = [
        f"receipt of {receipt['step']}: {name} is {_at(receipt, name)!r}, the job says {value!r}"
        for receipt in _receipts(folder)
        for name, value in declared.items()
        if _at(receipt, name) != value
    ]
    return problems, "prices, PUE and zone of the receipts are those of the job"


def _at(receipt: dict[str, Any], name: str) -> Any:
    value: Any = receipt
    for part in name.split("."):
        value = value[part]
    return value


def _receipts(folder: Path) -> list[dict[str, Any]]:
    return [read_json(path) for path in receipt_paths(folder / "receipts")]


def _check_samples(folder: Path) -> tuple[list[str], str]:
    """While training is under way, a gap is a block that a learner still works on."""
    if _begins_with_a_model(folder) and not (folder / "train" / ACCEPTED_FILE).exists():
        return [], "none was trained on: the run began with a trained model"
    is_over = (folder / "steps" / "train.json").exists()
    problems = check_samples(folder / "train", is_over=is_over)
    if problems or not is_over:
        return problems, "each counts once so far"
    unused = read_unused(folder / "train")
    if not unused:
        return [], "each counts once, none is skipped"
    num_left = sum(end - start for start, end in unused)
    return (
        [],
        f"each counts once; {num_left} of learners that did not answer in the end are left out, as declared",
    )


def _begins_with_a_model(folder: Path) -> bool:
    job = folder / "job.json"
    return job.exists() and read_json(job)["spec"].get("model") is not None


def _check_ledger(folder: Path) -> tuple[list[str], str]:
    path = folder / LEDGER_FILE
    if not path.exists() and not (folder / "steps" / "settle.json").exists():
        return [], "not settled yet"
    if not path.exists():
        return [f"{LEDGER_FILE} is missing"], ""
    transactions = read_json(path)
    if problems := check_transactions(transactions):
        return problems, ""
    charged = [receipt for receipt in _receipts(folder) if receipt["step"] in CHARGED_STEPS]
    problems = check_settlement(charged, read_json(folder / "steps" / "settle.json"), transactions)
    unpaid = sum(receipt["cost"]["total_microcredits"] is None for receipt in charged)
    note = f"; the electricity of {unpaid} is unknown and not charged" if unpaid else ""
    return problems, (
        f"{len(transactions)} transactions, each sums to zero; {len(charged)} receipts are paid once{note}"
    )


def _check_published(run_folder: Path, manifest: dict[str, Any], *, is_own: bool) -> tuple[list[str], str]:
    published = manifest.get("published")
    if not published:
        return [], "nothing was published"
    folder, revision = Path(published["folder"]), published["revision"]
    if not folder.is_dir():
        # The home may have been moved as a whole: runs/ and hub/ lie beside each other.
        hub = run_folder.resolve().parent.parent / "hub" / "models"
        folder = hub / published["repository"] / "snapshots" / revision
    where = f"{published['repository']} at {revision[:12]}"
    if folder.is_dir():
        return _compare(folder, published["files"]), f"{where}: {len(published['files'])} files unchanged"
    if not is_own:
        # A copy of the run's folder on another machine has its receipts, not the hub.
        return [], f"{where} is not on this machine"
    remedy = f'ayni.load("{published["repository"]}", revision="{revision}")'
    return [
        f"{where} is gone: there is no {folder}. In Python, {remedy} writes it again from the stored objects"
    ], ""

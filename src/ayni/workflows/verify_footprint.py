"""Verify receipts and windows from files alone, of one run or of many, whoever wrote them.

    files          what was read, and what could not be
    signatures     each receipt is as its key signed it
    chains         each follows the one before; of single files, as far as they were handed in
    keys           who vouches for the keys
    windows        numbered, joined, adding up to the node, with shares that follow from CPU time and cores
    sums           receipts follow from their windows; without windows, from themselves
    replay         no receipt and no window stands twice, under whatever names
    node           runs of one node over the same time draw no more than the node together
    nested         what lies within another run is counted once

Not covered: whether the watts are true; receipts that were left out at the end of a chain of single files.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.footprint.counters.meters import worst_tier
from ayni.footprint.receipts.evidence import Evidence, FoundReceipt, read_evidence
from ayni.footprint.receipts.known_keys import KnownKeys, known_keys
from ayni.footprint.receipts.nesting import counted_microjoules, exceeds, outer_runs, total_microjoules
from ayni.footprint.receipts.receipt_checks import check_receipt
from ayni.footprint.receipts.replay import find_replays
from ayni.footprint.receipts.side_by_side import check_side_by_side
from ayni.footprint.receipts.verification import (
    LOST_FORM,
    STEPS_WITHOUT_RECEIPT,
    check_coverage,
    check_sums,
    check_windows,
)
from ayni.footprint.receipts.window_checks import check_attribution
from ayni.signing import FIRST_OF_CHAIN, BadSignatureError, verify_record
from ayni.units import MICROJOULES_PER_JOULE
from ayni.workflows.check_result import CheckResult

_Found = tuple[list[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class FootprintVerification:
    """What was found; `energy_microjoules` is the sum of all receipts with each microjoule counted once."""

    checks: tuple[CheckResult, ...]
    runs: tuple[dict[str, Any], ...]
    keys: tuple[dict[str, Any], ...]
    energy_microjoules: int | None
    tier: str

    @property
    def is_ok(self) -> bool:
        """Whether no check found a problem."""
        return all(not check.problems for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `keys[].owner` is null where nobody vouches."""
        energy = self.energy_microjoules
        return {
            "ok": self.is_ok,
            "energy_joules": None if energy is None else energy / MICROJOULES_PER_JOULE,
            "tier": self.tier,
            "runs": list(self.runs),
            "keys": list(self.keys),
            "checks": [check.to_json() for check in self.checks],
        }


def verify_footprint(
    paths: Iterable[Path], *, keys: Sequence[str] = (), home_key: str | None = None
) -> FootprintVerification:
    """Check everything that was handed in; `keys` are public keys or files of them, none for any key.

    Raises:
        NoEvidenceError: a path does not exist, or holds neither receipts nor windows.
        BadPublicKeyError: one of `keys` is neither a key nor a file of them.
    """
    known = known_keys(keys, home_key=home_key)
    given = read_evidence(paths)
    # A receipt that was handed in twice is a finding, and still one receipt.
    every = [found for evidence in given for found in evidence.receipts]
    receipts = list({found.receipt["hash"]: found for found in every}.values())
    counted = counted_microjoules([found.receipt for found in receipts])
    checks: list[tuple[str, Callable[[], _Found]]] = [
        ("files", lambda: _check_files(given)),
        ("signatures", lambda: _check_signatures(every)),
        ("chains", lambda: _check_chains(given)),
        ("keys", lambda: _check_keys(given, known)),
        ("windows", lambda: _check_windows(given)),
        ("sums", lambda: _check_sums(given)),
        ("replay", lambda: (find_replays(given), "no receipt and no window stands twice")),
        ("node", lambda: _check_node(given)),
        ("nested", lambda: _check_nested(receipts, counted)),
    ]
    return FootprintVerification(
        checks=tuple(_checked(name, check) for name, check in checks),
        runs=tuple(_run(evidence) for evidence in given),
        keys=tuple(_key(public_key, number, known) for public_key, number in _signers(receipts).items()),
        energy_microjoules=total_microjoules(counted),
        tier=worst_tier([found.receipt["tier"] for found in receipts]),
    )


def _checked(name: str, check: Callable[[], _Found]) -> CheckResult:
    try:
        problems, detail = check()
    except LOST_FORM as error:
        problems, detail = [f"cannot be read: {type(error).__name__}: {error}"], ""
    return CheckResult(name=name, problems=tuple(problems), detail=detail)


def _check_files(given: Sequence[Evidence]) -> _Found:
    problems = [f"{evidence.place}: {problem}" for evidence in given for problem in evidence.problems]
    num_receipts = sum(len(evidence.receipts) for evidence in given)
    num_windows = sum(len(evidence.windows) for evidence in given)
    if not num_receipts and not num_windows and not problems:
        problems.append("there is no receipt and no window")
    runs = {found.receipt["run"] for evidence in given for found in evidence.receipts}
    return problems, f"{num_receipts} receipts of {len(runs)} runs, {num_windows} windows"


def _check_signatures(receipts: Sequence[FoundReceipt]) -> _Found:
    problems = []
    for found in receipts:
        try:
            verify_record(found.receipt)
        except BadSignatureError as error:
            problems.append(f"{found.place}: {error}")
    return problems, f"{len(receipts)} receipts are as they were signed"


def _check_chains(given: Sequence[Evidence]) -> _Found:
    problems: list[str] = []
    num_partial = 0
    for evidence in given:
        if evidence.receipts:
            broken, is_whole = _check_chain(evidence)
            problems += broken
            num_partial += not is_whole
    partial = f"; {num_partial} begin later, with receipts that were not handed in" if num_partial else ""
    return problems, f"each receipt follows the one before{partial}"


def _check_chain(evidence: Evidence) -> tuple[list[str], bool]:
    """Problems of one run's chain, and whether it begins with its first receipt."""
    # Copies are for the replay check to tell.
    by_hash = {found.receipt["hash"]: found for found in evidence.receipts}
    followers: dict[str, list[FoundReceipt]] = {}
    for found in by_hash.values():
        followers.setdefault(found.receipt["previous_hash"], []).append(found)
    problems = [
        f"{rival.place} and {found.place} follow the same receipt: one of them was written later"
        for found, *rivals in followers.values()
        for rival in rivals
    ]
    begins = [found for previous, all_ in followers.items() if previous not in by_hash for found in all_]
    is_whole = any(found.receipt["previous_hash"] == FIRST_OF_CHAIN for found in begins)
    if not begins:
        problems.append(f"{evidence.place}: the receipts follow each other in a circle")
    elif len(begins) > 1 or (evidence.is_folder and not is_whole):
        missing = [found.place for found in begins if found.receipt["previous_hash"] != FIRST_OF_CHAIN]
        problems += [f"the receipt before {place} is missing" for place in missing]
    if evidence.is_folder:
        problems += _misplaced(evidence)
    return problems, is_whole


def _misplaced(evidence: Evidence) -> list[str]:
    """Receipts whose file names are not in the order of their chain, or name another step."""
    problems = []
    previous = FIRST_OF_CHAIN
    for position, found in enumerate(evidence.receipts, start=1):
        name, receipt = Path(found.place).name, found.receipt
        if name != f"{position:04d}-{receipt['step']}.json" or receipt["previous_hash"] != previous:
            problems.append(f"{found.place} holds the receipt of {receipt['step']}, out of its place")
        previous = receipt["hash"]
    return problems


def _check_keys(given: Sequence[Evidence], known: KnownKeys) -> _Found:
    problems = []
    for evidence in given:
        signers = list(_signers(evidence.receipts))
        if len(signers) > 1:
            shown = " and ".join(map(_short, signers))
            problems.append(f"{evidence.place}: one chain, signed by several keys: {shown}")
        problems += [
            f"{evidence.place}: signed by {_short(signer)}, which is none of the keys that were given"
            for signer in signers
            if known.is_required and known.owner(signer) is None
        ]
    all_signers = _signers(found for evidence in given for found in evidence.receipts)
    details = [
        f"{_short(signer)} is of {known.owner(signer)}"
        if known.owner(signer)
        else f"nobody vouches for {_short(signer)}: ask on a way that you trust whose it is"
        for signer in all_signers
    ]
    return problems, "; ".join(details) or "nothing is signed"


def _check_windows(given: Sequence[Evidence]) -> _Found:
    problems = [
        f"{evidence.place}: {problem}"
        for evidence in given
        for problem in [*check_windows(evidence.windows), *check_attribution(evidence.rows or ())]
    ]
    num_windows = sum(len(evidence.windows) for evidence in given)
    if not num_windows:
        return problems, "none were handed in"
    return problems, f"in {num_windows} windows jobs + others + idle + neighbours = node"


def _check_sums(given: Sequence[Evidence]) -> _Found:
    problems = []
    num_with, num_alone = 0, 0
    for evidence in given:
        rows = None if evidence.rows is None else list(evidence.rows)
        num_with += 0 if rows is None else len(evidence.receipts)
        num_alone += len(evidence.receipts) if rows is None else 0
        if rows is not None and evidence.receipts:
            problems += [f"{evidence.place}: {problem}" for problem in _check_coverage(evidence)]
        for found in evidence.receipts:
            wrong = check_receipt(found.receipt) if rows is None else check_sums(found.receipt, rows)
            problems += [f"{found.place}: {problem}" for problem in wrong]
    alone = f"; {num_alone} only by themselves, for their windows were not handed in" if num_alone else ""
    return problems, f"{num_with} receipts follow from their windows{alone}"


def _check_coverage(evidence: Evidence) -> list[str]:
    receipts = [found.receipt for found in evidence.receipts]
    without = set(STEPS_WITHOUT_RECEIPT)
    if not evidence.is_folder:
        # Somebody handed in some of the receipts.
        without |= {window["step"] for window in evidence.windows} - {receipt["step"] for receipt in receipts}
    return check_coverage(evidence.windows, receipts, without)


def _check_node(given: Sequence[Evidence]) -> _Found:
    problems, num_pairs = check_side_by_side(given)
    if not num_pairs:
        return problems, "no two runs were metered on one node at the same time"
    return problems, f"{num_pairs} pairs of meters side by side, together no more than their node"


def _check_nested(receipts: Sequence[FoundReceipt], counted: Sequence[int | None]) -> _Found:
    nested = [
        (found.receipt, count)
        for found, count in zip(receipts, counted, strict=True)
        if outer_runs(found.receipt)
    ]
    left_out = [(receipt, count) for receipt, count in nested if count != receipt["energy_microjoules"]]
    if not nested:
        return [], "no receipt lies within another run"
    problems = [
        f"{found.place} lies within {run} by more than {run} drew"
        for found in receipts
        for run in outer_runs(found.receipt)
        if exceeds(found.receipt, [each.receipt for each in receipts if each.receipt["run"] == run])
    ]
    joules = (
        sum((receipt["energy_microjoules"] or 0) - (count or 0) for receipt, count in left_out)
        / MICROJOULES_PER_JOULE
    )
    detail = f"{len(nested)} receipts lie within other runs; {joules:.4g} J are counted there alone"
    if len(left_out) < len(nested):
        detail += f", and {len(nested) - len(left_out)} count in full: the run around them was not handed in"
    return problems, detail


def _signers(receipts: Iterable[FoundReceipt]) -> Counter[str]:
    return Counter(found.receipt["public_key"] for found in receipts)


def _key(public_key: str, num_receipts: int, known: KnownKeys) -> dict[str, Any]:
    return {"public_key": public_key, "owner": known.owner(public_key), "receipts": num_receipts}


def _run(evidence: Evidence) -> dict[str, Any]:
    energies = [found.receipt["energy_microjoules"] for found in evidence.receipts]
    return {
        "place": evidence.place,
        "run": evidence.receipts[0].receipt["run"] if evidence.receipts else None,
        "receipts": len(evidence.receipts),
        "windows": None if evidence.rows is None else len(evidence.windows),
        "energy_microjoules": total_microjoules(energies) if energies else None,
        "within": sorted({run for found in evidence.receipts for run in outer_runs(found.receipt)}),
    }


def _short(key: str) -> str:
    return f"{key[:12]}..."

"""`run-results.json`: what an Ayni run measured, signed by the key that signed its receipts.

    results     for each variant: its file with SHA-256, metrics on a data set, bytes, latency, energy
    receipts    hashes of the receipts in `receipts/`, which say what the run drew
    signature   Ed25519 over all of it

It verifies in a repository when the signature fits, the repository has just these files, and the receipts are
a whole chain of the same key and run. Then nobody changed a number since the run signed it, and the numbers
are about the files that are there.

Not covered: whether the numbers are true, and whose key it is. A hub marks results as verified where one of
its members has shown that the key is theirs (`evaluations`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ayni.errors import AyniError
from ayni.signing import BadSignatureError, SigningKey, sign_record, verify_chain, verify_record

RESULTS_FILE = "run-results.json"
SCHEMA = "ayni/run-results/1"
MOST_RESULTS = 200


class BadRunResultsError(AyniError):
    """Results of a run do not verify in this repository."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{RESULTS_FILE} does not verify: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What one variant reached, and what it needs. None is unknown."""

    variant: str
    file: str
    sha256: str
    metrics: Mapping[str, float]
    stored_bytes: int | None = None
    latency_seconds: float | None = None
    energy_joules_per_1000: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "variant": self.variant,
            "file": self.file,
            "sha256": self.sha256,
            "metrics": dict(self.metrics),
            "stored_bytes": self.stored_bytes,
            "latency_p50_seconds": self.latency_seconds,
            "energy_joules_per_1000": self.energy_joules_per_1000,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """Results that verify, and what the run drew up to its last receipt; None where a part is unknown."""

    run: str
    dataset: str
    split: str
    results: tuple[RunResult, ...]
    public_key: str
    joules: float | None
    low_joules: float | None
    high_joules: float | None
    tiers: tuple[str, ...]


def sign_results(
    *,
    run: str,
    dataset: str,
    split: str,
    results: Iterable[RunResult],
    receipts: Sequence[Mapping[str, Any]],
    key: SigningKey,
) -> dict[str, Any]:
    """The content of the file. `receipts` are the run's, in the order of their chain."""
    body = {
        "schema": SCHEMA,
        "run": run,
        "dataset": dataset,
        "split": split,
        "results": [each.to_json() for each in results],
        "receipts": [each["hash"] for each in receipts],
    }
    return sign_record(body, key)


def verify_results(
    record: Any, *, files: Mapping[str, str], receipts: Sequence[Mapping[str, Any]]
) -> RunResults:
    """The results, if they verify.

    Args:
        record: the JSON of the file.
        files: SHA-256 by path of all that the repository has.
        receipts: the JSON of those in `receipts/`, by the order of their names.

    Raises:
        BadRunResultsError: they do not.
    """
    try:
        verify_record(record)
        verify_chain(receipts, expected_public_key=record["public_key"])
    except BadSignatureError as error:
        raise BadRunResultsError(str(error)) from error
    if record.get("schema") != SCHEMA:
        raise BadRunResultsError(f"its form is {record.get('schema')!r}, not {SCHEMA!r}.")
    if [each["hash"] for each in receipts] != record.get("receipts") or not receipts:
        raise BadRunResultsError("the receipts beside it are not those that it names.")
    if {each.get("run") for each in receipts} != {record.get("run")}:
        raise BadRunResultsError("a receipt beside it is of another run.")
    try:
        results = tuple(_result(each) for each in record["results"])
        dataset, split = _text(record["dataset"]), _text(record["split"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRunResultsError(f"it lacks its form: {error}.") from error
    if not 0 < len(results) <= MOST_RESULTS:
        raise BadRunResultsError(f"it has {len(results)} results, not 1 to {MOST_RESULTS}.")
    for result in results:
        if files.get(result.file) != result.sha256:
            raise BadRunResultsError(f"{result.file} is not the file that was measured.")
    return RunResults(
        run=str(record["run"]),
        dataset=dataset,
        split=split,
        results=results,
        public_key=record["public_key"],
        joules=_joules(receipts, "energy_microjoules"),
        low_joules=_joules(receipts, "energy_low_microjoules"),
        high_joules=_joules(receipts, "energy_high_microjoules"),
        tiers=tuple(sorted({str(each.get("tier")) for each in receipts})),
    )


def _result(said: Mapping[str, Any]) -> RunResult:
    metrics = {_text(name): _number(value) for name, value in said["metrics"].items()}
    return RunResult(
        variant=_text(said["variant"]),
        file=_text(said["file"]),
        sha256=_text(said["sha256"]),
        metrics=metrics,
        stored_bytes=None if said["stored_bytes"] is None else int(_positive(said["stored_bytes"])),
        latency_seconds=_or_none(said["latency_p50_seconds"]),
        energy_joules_per_1000=_or_none(said["energy_joules_per_1000"]),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 500:
        raise ValueError(f"{value!r} is no name")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _positive(value: Any) -> float:
    number = _number(value)
    if not 0 < number < 2**63:
        raise ValueError(f"{value!r} is no amount")
    return number


def _or_none(value: Any) -> float | None:
    return None if value is None else _positive(value)


def _joules(receipts: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """The sum; None when a part is unknown, for a partial sum says nothing."""
    parts = [each.get(name) for each in receipts]
    known = [each for each in parts if isinstance(each, int | float) and not isinstance(each, bool)]
    return sum(known) / 1e6 if len(known) == len(parts) else None

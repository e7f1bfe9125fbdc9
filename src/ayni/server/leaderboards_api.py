"""Leaderboards, and the keys by which results are verified: a part of `/api/v1`.

A leaderboard belongs to the namespace of who declares it and shows each reader the models that they may see.
"""

from typing import Annotated, Any

import pydantic
from fastapi import APIRouter, Depends, Path

from ayni.hub import audit, evaluations, leaderboards
from ayni.hub.evaluations import Evaluation
from ayni.hub.leaderboards import Entry, Leaderboard, Scale, Term
from ayni.hub.permissions import visible
from ayni.server.admission import Admission, Admitted

_NAME_PATTERN = "^[A-Za-z0-9_.-]{1,96}$"
_LINE_PATTERN = r"^[^\x00-\x1f\x7f]*$"

Name = Annotated[str, Path(pattern=_NAME_PATTERN)]
Line = Annotated[str, pydantic.Field(pattern=_LINE_PATTERN, min_length=1, max_length=200)]
Reader = Annotated[Admission, Depends(Admitted("repository.list"))]
Member = Annotated[Admission, Depends(Admitted("identity.read"))]
OwnKeys = Annotated[Admission, Depends(Admitted("identity.write"))]
Maker = Annotated[Admission, Depends(Admitted("repository.create", "namespace"))]

router = APIRouter(prefix="/api/v1", tags=["leaderboards"])


class NewScale(pydantic.BaseModel):
    """A weight, and the values that count 0 and 1."""

    weight: float
    worst: float
    best: float
    is_logarithmic: bool = False


class NewLeaderboard(pydantic.BaseModel):
    """What is declared."""

    title: Line
    dataset: Line
    measure: Line
    scales: dict[Term, NewScale]
    lower_is_better: bool = False
    only_verified: bool = False


@router.get("/leaderboards", summary="All leaderboards")
def list_leaderboards(admission: Reader, dataset: str | None = None) -> list[dict[str, Any]]:
    """By namespace and name; of one data set where it is given."""
    name = None if dataset is None else dataset.replace("\0", "")
    with admission.hub.database.reading() as connection:
        found = leaderboards.page(connection, visible=visible(admission.caller), dataset=name)
    return [each.to_json() for each in found]


@router.get("/leaderboards/{namespace}/{name}", summary="A leaderboard with its entries and its front")
def show_leaderboard(admission: Reader, namespace: Name, name: Name) -> dict[str, Any]:
    """Entries by rank; the front by rising energy, as places among the entries."""
    seen = visible(admission.caller)
    with admission.hub.database.reading() as connection:
        board = leaderboards.find(connection, namespace, name, visible=seen)
        found = evaluations.of_dataset(connection, board.dataset, visible=seen, measure=board.measure)
    entries = leaderboards.ranked(board, found)
    return {
        **board.to_json(),
        "entries": [_entry_json(each) for each in entries],
        "front": leaderboards.front(board, [each.evaluation for each in entries]),
    }


@router.put("/leaderboards/{namespace}/{name}", status_code=204, summary="Declare a leaderboard")
def declare_leaderboard(admission: Maker, namespace: Name, name: Name, asked: NewLeaderboard) -> None:
    """In the place of one of this name."""
    board = Leaderboard(
        namespace=namespace,
        name=name,
        title=asked.title,
        dataset=asked.dataset,
        measure=asked.measure,
        lower_is_better=asked.lower_is_better,
        only_verified=asked.only_verified,
        scales={term: Scale(**scale.model_dump()) for term, scale in asked.scales.items()},
    )
    hub = admission.hub
    with hub.database.transaction() as connection:
        leaderboards.declare(connection, board, by=admission.user, when=hub.now())
        _note(connection, admission, "leaderboard.declare", f"{namespace}/{name}")


@router.delete("/leaderboards/{namespace}/{name}", status_code=204, summary="Take a leaderboard away")
def remove_leaderboard(admission: Maker, namespace: Name, name: Name) -> None:
    """The evaluations stay."""
    with admission.hub.database.transaction() as connection:
        leaderboards.remove(connection, namespace, name)
        _note(connection, admission, "leaderboard.remove", f"{namespace}/{name}")


@router.get("/run-keys", summary="Keys of runs, and the members who stand for them")
def list_run_keys(admission: Member) -> list[dict[str, str]]:
    """By member."""
    with admission.hub.database.reading() as connection:
        found = evaluations.run_keys(connection)
    return [{"public_key": key, "member": member} for key, member in found]


@router.post("/run-keys", status_code=201, summary="Stand for the runs that a key signed")
def add_run_key(admission: OwnKeys, statement: dict[str, Any]) -> dict[str, str]:
    """The body is `ayni.hub.evaluations.key_statement`, signed by the key itself."""
    hub = admission.hub
    with hub.database.transaction() as connection:
        key = evaluations.add_run_key(connection, statement, member=admission.user, when=hub.now())
        _note(connection, admission, "run-key.add", admission.user, public_key=key)
    return {"public_key": key, "member": admission.user}


@router.delete("/run-keys/{fingerprint}", status_code=204, summary="Stand for a key no longer")
def remove_run_key(admission: OwnKeys, fingerprint: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]) -> None:
    """The SHA-256 of the key's text, in hexadecimal digits."""
    with admission.hub.database.transaction() as connection:
        evaluations.remove_run_key(connection, fingerprint, member=admission.user)
        _note(connection, admission, "run-key.remove", admission.user, fingerprint=fingerprint)


def _note(connection: Any, admission: Admission, action: str, subject: str, **detail: Any) -> None:
    audit.note(connection, admission.caller, action, subject, now=admission.hub.now(), **detail)


def _entry_json(entry: Entry) -> dict[str, Any]:
    return {
        "rank": entry.rank,
        "score": entry.score,
        "places": dict(entry.places),
        "is_on_front": entry.is_on_front,
        **evaluation_json(entry.evaluation),
    }


def evaluation_json(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation with its evidence."""
    measured = evaluation.measured
    return {
        "repository": evaluation.repository,
        "filename": evaluation.filename,
        "dataset": evaluation.dataset,
        "measure": evaluation.measure,
        "value": evaluation.value,
        "evidence": evaluation.evidence,
        "is_verified": evaluation.evidence == "verified",
        "vouched_by": evaluation.vouched_by,
        "variant": measured.variant or None,
        "stored_bytes": measured.stored_bytes,
        "latency_seconds": measured.latency_seconds,
        "energy_joules_per_1000": measured.energy_joules_per_1000,
        "run": measured.run or None,
        "run_joules": measured.run_joules,
        "run_low_joules": measured.run_low_joules,
        "run_high_joules": measured.run_high_joules,
        "tiers": list(measured.tiers),
    }

"""Leaderboards: which model is best, by declared weights over declared scales.

    f(x) = sum_i a_i x_i,   x_i = clip((v_i - worst_i) / (best_i - worst_i), 0, 1)

with the terms value (what was measured on the data set), size (bytes), latency (seconds) and energy (joules
for 1000 inferences); on a logarithmic scale v, worst and best are replaced by their logarithms. So 1 is the
best of each scale, and the weights are what each is worth.

Scales are declared, not taken from who takes part: a score never changes because another model comes or goes,
and tells nobody of models that they may not see. A model of which a weighted term is not known has no score
and stands below those that have one. The front are the models that no other beats in both value and energy.

Not covered: weights that a reader chooses; whoever wants others declares another leaderboard.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.database import metadata
from ayni.errors import UserError
from ayni.hub.evaluations import Evaluation
from ayni.hub.tables import names_table, repositories_table

Term = Literal["value", "size", "latency", "energy"]
TERMS: tuple[Term, ...] = ("value", "size", "latency", "energy")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,96}")

leaderboards_table = sa.Table(
    "hub_leaderboards",
    metadata,
    # Lower case, as names are compared.
    sa.Column("namespace_key", sa.String, primary_key=True),
    sa.Column("name_key", sa.String, primary_key=True),
    sa.Column("dataset_key", sa.String, nullable=False),
    # JSON.
    sa.Column("definition", sa.String, nullable=False),
    sa.Column("declared_by", sa.String, nullable=False),
    sa.Column("declared_at", sa.String, nullable=False),
    sa.Index("ix_hub_leaderboards_dataset", "dataset_key"),
)
_COLUMNS = leaderboards_table.c


class LeaderboardNotFoundError(UserError):
    """There is no such leaderboard."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"There is no leaderboard {name}.")


class LeaderboardError(UserError):
    """A leaderboard cannot be declared like this."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Nothing was changed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a term is worth (`weight`, a_i), and which values are 0 (`worst`) and 1 (`best`)."""

    weight: float
    worst: float
    best: float
    is_logarithmic: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(each) for each in (self.weight, self.worst, self.best)):
            raise LeaderboardError("Weights and ends of scales are finite numbers.")
        if not 0 < self.weight <= 1e6:
            raise LeaderboardError(f"A weight is above 0 and at most a million, not {self.weight:g}.")
        if self.worst == self.best:
            raise LeaderboardError(f"Worst and best of a scale differ; both are {self.best:g}.")
        if self.is_logarithmic and min(self.worst, self.best) <= 0:
            raise LeaderboardError("A logarithmic scale has ends above 0.")

    def place(self, value: float) -> float:
        """x_i of a value: 0 at the worst, 1 at the best, and nothing beyond."""
        low, high = self.worst, self.best
        if self.is_logarithmic:
            # What is not above 0 lies beyond the smaller end.
            value = math.log(max(value, min(low, high)))
            low, high = math.log(low), math.log(high)
        return min(1.0, max(0.0, (value - low) / (high - low)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """A declared leaderboard.

    Attributes:
        namespace: of who declared it.
        name: within the namespace.
        title: for people.
        dataset: of the evaluations.
        measure: their measure, such as accuracy.
        lower_is_better: of the measure.
        scales: by term; a term without one has no weight.
        only_verified: leaves out what no member of the hub stands for.
    """

    namespace: str
    name: str
    title: str
    dataset: str
    measure: str
    scales: Mapping[Term, Scale]
    lower_is_better: bool = False
    only_verified: bool = False

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise LeaderboardError(
                f"{self.name!r} is no name: letters, digits, dots and hyphens, 96 at most."
            )
        if not self.scales:
            raise LeaderboardError(f"At least one of {', '.join(TERMS)} has a weight.")
        for term, scale in self.scales.items():
            is_right = scale.best < scale.worst
            wanted = self.lower_is_better if term == "value" else True
            if is_right != wanted:
                order = "below" if wanted else "above"
                raise LeaderboardError(f"The best {term} lies {order} the worst one.")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "title": self.title,
            "dataset": self.dataset,
            "measure": self.measure,
            "lower_is_better": self.lower_is_better,
            "only_verified": self.only_verified,
            "scales": {
                term: {
                    "weight": scale.weight,
                    "worst": scale.worst,
                    "best": scale.best,
                    "is_logarithmic": scale.is_logarithmic,
                }
                for term, scale in self.scales.items()
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A place on a leaderboard.

    Attributes:
        rank: from 1; equal scores have equal ranks.
        evaluation: what was measured.
        score: f(x); None where a weighted term is not known.
        places: x_i by term, of those that are known.
        is_on_front: nothing else here beats it in both value and energy.
    """

    rank: int
    evaluation: Evaluation
    score: float | None
    places: Mapping[Term, float]
    is_on_front: bool = False


def ranked(board: Leaderboard, evaluations: Sequence[Evaluation]) -> list[Entry]:
    """All entries, the best first: by score, then by value. Pure."""
    shown = [each for each in evaluations if each.evidence == "verified" or not board.only_verified]
    places = [_places(board, each) for each in shown]
    scores = [_score(board, each) for each in places]
    on_front = set(front(board, shown))
    sign = -1.0 if board.lower_is_better else 1.0

    def order(number: int) -> tuple[float, float, str]:
        score = scores[number]
        one = shown[number]
        return (-math.inf if score is None else score), sign * one.value, one.repository

    entries: list[Entry] = []
    ordered = sorted(range(len(shown)), key=order, reverse=True)
    for place, number in enumerate(ordered, start=1):
        is_equal = bool(entries) and order(number)[:2] == order(ordered[place - 2])[:2]
        entries.append(
            Entry(
                rank=entries[-1].rank if is_equal else place,
                evaluation=shown[number],
                score=scores[number],
                places=places[number],
                is_on_front=number in on_front,
            )
        )
    return entries


def front(board: Leaderboard, evaluations: Sequence[Evaluation]) -> list[int]:
    """Numbers of the evaluations that no other beats in both value and energy, by rising energy.

    Those whose energy is not known are not on it. Cost: O(n log n).
    """
    sign = -1.0 if board.lower_is_better else 1.0
    known = [
        (float(energy), -sign * each.value, number)
        for number, each in enumerate(evaluations)
        if (energy := each.measured.energy_joules_per_1000) is not None
    ]
    found: list[tuple[float, float, int]] = []
    for point in sorted(known):
        # Who equals the last one in both is on the front as well.
        if not found or point[1] < found[-1][1] or point[:2] == found[-1][:2]:
            found.append(point)
    return [number for _, _, number in found]


def declare(connection: sa.Connection, board: Leaderboard, *, by: str, when: datetime) -> None:
    """Declare a leaderboard, or declare it anew."""
    remove(connection, board.namespace, board.name, must_exist=False)
    values = {
        "namespace_key": board.namespace.lower(),
        "name_key": board.name.lower(),
        "dataset_key": board.dataset.lower(),
        "definition": json.dumps(board.to_json()),
        "declared_by": by,
        "declared_at": when.isoformat(),
    }
    connection.execute(leaderboards_table.insert().values(values))


def remove(connection: sa.Connection, namespace: str, name: str, *, must_exist: bool = True) -> None:
    """Take a leaderboard away.

    Raises:
        LeaderboardNotFoundError: there is none.
    """
    if (
        connection.execute(leaderboards_table.delete().where(_here(namespace, name))).rowcount == 0
        and must_exist
    ):
        raise LeaderboardNotFoundError(f"{namespace}/{name}")


def find(
    connection: sa.Connection, namespace: str, name: str, *, visible: sa.ColumnElement[bool]
) -> Leaderboard:
    """One leaderboard. One of a data set that the reader may not see is not there.

    Raises:
        LeaderboardNotFoundError: there is none.
    """
    row = connection.execute(_select(visible).where(_here(namespace, name))).one_or_none()
    if row is None:
        raise LeaderboardNotFoundError(f"{namespace}/{name}")
    return _from_json(json.loads(row.definition))


def page(
    connection: sa.Connection,
    *,
    visible: sa.ColumnElement[bool],
    dataset: str | None = None,
    limit: int = 1000,
) -> list[Leaderboard]:
    """Leaderboards by namespace and name."""
    query = _select(visible).order_by(_COLUMNS.namespace_key, _COLUMNS.name_key).limit(limit)
    if dataset is not None:
        query = query.where(_COLUMNS.dataset_key == dataset.lower())
    return [_from_json(json.loads(row.definition)) for row in connection.execute(query)]


_VALUES: Mapping[Term, Callable[[Evaluation], float | None]] = {
    "value": lambda each: each.value,
    "size": lambda each: each.measured.stored_bytes,
    "latency": lambda each: each.measured.latency_seconds,
    "energy": lambda each: each.measured.energy_joules_per_1000,
}


def _places(board: Leaderboard, evaluation: Evaluation) -> dict[Term, float]:
    values = {term: _VALUES[term](evaluation) for term in board.scales}
    return {term: board.scales[term].place(value) for term, value in values.items() if value is not None}


def _score(board: Leaderboard, places: Mapping[Term, float]) -> float | None:
    if places.keys() != board.scales.keys():
        return None
    return math.fsum(scale.weight * places[term] for term, scale in board.scales.items())


def _here(namespace: str, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(_COLUMNS.namespace_key == namespace.lower(), _COLUMNS.name_key == name.lower())


def _select(visible: sa.ColumnElement[bool]) -> sa.Select[Any]:
    names, places = names_table.c, repositories_table.c
    # A data set that is not on this hub is no secret of its members.
    hidden = (
        sa.select(names.key)
        .join(repositories_table, places.id == names.repository_id)
        .where(names.kind == "dataset", sa.not_(visible))
    )
    return sa.select(leaderboards_table).where(_COLUMNS.dataset_key.not_in(hidden))


def _from_json(said: Mapping[str, Any]) -> Leaderboard:
    scales = {term: Scale(**said["scales"][term]) for term in TERMS if term in said["scales"]}
    return Leaderboard(**{**said, "scales": scales})

"""Scores by their formula, ranks, and the front against brute force."""

import math
import random
from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection
from tests.hub.member_rows import repository

from ayni.hub import catalogue, leaderboards
from ayni.hub.callers import ANONYMOUS
from ayni.hub.evaluations import Evaluation, Measured
from ayni.hub.leaderboards import Leaderboard, LeaderboardError, LeaderboardNotFoundError, Scale
from ayni.hub.permissions import visible

__all__ = ["connection"]

VALUE = Scale(weight=1.0, worst=0.5, best=1.0)
ENERGY = Scale(weight=0.5, worst=100.0, best=1.0, is_logarithmic=True)


def board(**given: Any) -> Leaderboard:
    values = {"namespace": "lab", "name": "b", "title": "B", "dataset": "lab/bench", "measure": "accuracy"}
    return Leaderboard(**{**values, "scales": {"value": VALUE, "energy": ENERGY}, **given})


def one(name: str, value: float, energy: float | None = None, **given: Any) -> Evaluation:
    return Evaluation(
        repository_id=1,
        repository=name,
        filename="README.md",
        dataset="lab/bench",
        measure="accuracy",
        value=value,
        claim={},
        measured=Measured(energy_joules_per_1000=energy),
        **given,
    )


def test_a_score_is_the_weighted_sum_of_places_on_declared_scales() -> None:
    [entry] = leaderboards.ranked(board(), [one("a", 0.75, 10.0)])

    assert entry.places == {"value": 0.5, "energy": pytest.approx(0.5)}
    assert entry.score == pytest.approx(1.0 * 0.5 + 0.5 * 0.5)


def test_nothing_lies_beyond_the_ends_of_a_scale() -> None:
    assert [VALUE.place(each) for each in (-3.0, 0.5, 1.0, 7.0)] == [0, 0, 1, 1]
    assert [ENERGY.place(each) for each in (-1.0, 0.0, 1.0, 100.0, 1e9)] == [1, 1, 1, 0, 0]
    assert Scale(weight=1, worst=9.0, best=0.0).place(3.0) == pytest.approx(2 / 3)


def test_a_score_does_not_depend_on_who_else_takes_part() -> None:
    alone = leaderboards.ranked(board(), [one("a", 0.7, 5.0)])[0].score
    among = leaderboards.ranked(board(), [one("a", 0.7, 5.0), one("b", 0.99, 0.1), one("c", 0.1)])

    assert alone == next(each.score for each in among if each.evaluation.repository == "a")


def test_those_without_a_score_stand_below_by_their_value() -> None:
    shown = [one("claims", 0.99), one("measured", 0.6, 90.0), one("other", 0.5), one("same", 0.6, 90.0)]

    entries = leaderboards.ranked(board(), shown)

    ranks = [(each.rank, each.evaluation.repository) for each in entries]
    assert ranks == [(1, "same"), (1, "measured"), (3, "claims"), (4, "other")]
    assert entries[-1].score is None and entries[-1].places == {"value": 0.0}


def test_only_verified_leaves_out_the_rest() -> None:
    shown = [one("a", 0.9, 1.0, evidence="signed"), one("b", 0.6, 1.0, evidence="verified")]

    entries = leaderboards.ranked(board(only_verified=True), shown)

    assert [each.evaluation.repository for each in entries] == ["b"]


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_the_front_is_what_no_other_beats(lower_is_better: bool) -> None:
    rng = random.Random(5)
    scale = Scale(weight=1, worst=1.0, best=0.0) if lower_is_better else VALUE
    here = board(lower_is_better=lower_is_better, scales={"value": scale})
    sign = -1 if lower_is_better else 1
    for _ in range(300):
        shown = [
            one("x", rng.randrange(5), rng.choice([None, 1.0, 2.0, 3.0, 4.0]))
            for _ in range(rng.randrange(9))
        ]

        found = leaderboards.front(here, shown)

        def place(number: int, shown: list[Evaluation] = shown) -> tuple[float, float]:
            energy = shown[number].measured.energy_joules_per_1000
            return (math.inf if energy is None else energy), -sign * shown[number].value

        known = [number for number in range(len(shown)) if place(number)[0] < math.inf]
        expected = {
            number
            for number in known
            if not any(
                place(other) != place(number)
                and place(other)[0] <= place(number)[0]
                and place(other)[1] <= place(number)[1]
                for other in known
            )
        }
        assert set(found) == expected
        assert [place(each)[0] for each in found] == sorted(place(each)[0] for each in found)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"scales": {}},
        {"scales": {"value": Scale(weight=1, worst=1.0, best=0.5)}},
        {"scales": {"energy": Scale(weight=1, worst=1.0, best=2.0)}},
        {"lower_is_better": True},
    ],
)
def test_what_makes_no_sense_is_not_declared(wrong: dict[str, Any]) -> None:
    with pytest.raises(LeaderboardError):
        board(**wrong)


@pytest.mark.parametrize(
    ("weight", "worst", "best", "is_logarithmic"),
    [(0, 0, 1, False), (-1, 0, 1, False), (1, 1, 1, False), (1, 0, 1, True), (1, math.inf, 1, False)],
)
def test_scales_that_cannot_be_are_refused(
    weight: float, worst: float, best: float, is_logarithmic: bool
) -> None:
    with pytest.raises(LeaderboardError):
        Scale(weight=weight, worst=worst, best=best, is_logarithmic=is_logarithmic)


def test_a_leaderboard_is_declared_anew_and_taken_away(connection: sa.Connection) -> None:
    everything = sa.true()
    leaderboards.declare(connection, board(), by="ada", when=WHEN)
    leaderboards.declare(connection, board(name="B", title="Better"), by="ada", when=WHEN)

    assert leaderboards.find(connection, "LAB", "b", visible=everything) == board(name="B", title="Better")
    assert len(leaderboards.page(connection, visible=everything, dataset="LAB/bench")) == 1
    leaderboards.remove(connection, "lab", "b")
    with pytest.raises(LeaderboardNotFoundError):
        leaderboards.remove(connection, "lab", "b")


def test_a_leaderboard_of_a_hidden_data_set_is_not_there(connection: sa.Connection) -> None:
    leaderboards.declare(connection, board(), by="ada", when=WHEN)
    leaderboards.declare(connection, board(name="else", dataset="far/away"), by="ada", when=WHEN)
    repository(connection, "far/away", visibility="private")  # a model of that name
    catalogue.create(connection, "dataset", "lab/bench", visibility="private", when=WHEN)

    shown = leaderboards.page(connection, visible=visible(ANONYMOUS))

    assert [each.name for each in shown] == ["else"]
    with pytest.raises(LeaderboardNotFoundError):
        leaderboards.find(connection, "lab", "b", visible=visible(ANONYMOUS))

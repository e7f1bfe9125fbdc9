import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.config import TrainConfig
from ayni.train.pace import Pace, percentile
from ayni.train.strategy_config import AsyncConfig, StreamingConfig

SPEEDS = st.lists(st.floats(0.01, 1000), min_size=1, max_size=20)


def config(**changes: object) -> TrainConfig:
    return TrainConfig(**{"strategy": "async", "learners": 4, "local_steps": 40, **changes})  # type: ignore[arg-type]


def measured(config: TrainConfig, *steps_per_second: float) -> Pace:
    pace = Pace(config)
    for learner, speed in enumerate(steps_per_second):
        pace.record(learner, num_steps=100, seconds=100 / speed)
    return pace


def test_a_learner_that_was_never_measured_takes_the_declared_steps() -> None:
    for changes in ({}, {"round_seconds": 5.0}, {"strategy": "diloco"}):
        assert Pace(config(**changes)).steps_for(3) == 40


def test_slow_learners_take_steps_in_proportion_to_their_speed() -> None:
    pace = measured(config(), 8.0, 8.0, 4.0, 2.0)

    assert [pace.steps_for(learner) for learner in range(4)] == [40, 40, 20, 10]


@given(speeds=SPEEDS)
def test_nobody_takes_more_than_the_declared_steps_or_none(speeds: list[float]) -> None:
    pace = measured(config(), *speeds)

    steps = [pace.steps_for(learner) for learner in range(len(speeds))]

    assert all(1 <= count <= 40 for count in steps)
    assert [steps[i] for i in np.argsort(speeds, kind="stable")] == sorted(steps)


def test_one_wrong_measurement_among_many_does_not_shorten_the_others() -> None:
    pace = measured(config(), *[8.0] * 20, 8000.0)

    assert pace.steps_for(0) == 40


@pytest.mark.parametrize("strategy", ["diloco", "streaming", "async"])
def test_with_a_time_budget_each_takes_what_it_has_time_for(strategy: str) -> None:
    pace = measured(config(strategy=strategy, round_seconds=30.0), 8.0, 2.5, 0.001)

    assert [pace.steps_for(learner) for learner in range(2)] == [240, 75]
    assert pace.steps_for(2) == (2 if strategy == "streaming" else 1)


def test_a_streaming_round_has_room_for_its_overlap() -> None:
    changes = {"strategy": "streaming", "round_seconds": 1.0, "streaming": StreamingConfig(overlap_steps=5)}

    assert measured(config(**changes), 0.5).steps_for(0) == 6


@pytest.mark.parametrize(
    "changes",
    [{"strategy": "sync"}, {"strategy": "diloco"}, {"asynchronous": AsyncConfig(steps_by_speed=False)}],
)
def test_where_steps_are_given_speed_changes_nothing(changes: dict[str, object]) -> None:
    assert measured(config(**changes), 8.0, 1.0).steps_for(1) == 40


def test_a_machine_that_slows_down_is_followed() -> None:
    pace = measured(config(round_seconds=10.0), 8.0)

    steps = []
    for _ in range(6):
        pace.record(0, num_steps=20, seconds=10.0)
        steps.append(pace.steps_for(0))

    assert steps[0] == 50
    assert steps[-1] == 20


@pytest.mark.parametrize(
    ("num_steps", "seconds"), [(0, 1.0), (5, 0.0), (5, -1.0), (5, math.inf), (5, math.nan)]
)
def test_a_measurement_that_cannot_be_is_left_out(num_steps: int, seconds: float) -> None:
    pace = Pace(config())

    pace.record(0, num_steps=num_steps, seconds=seconds)

    assert pace.speeds == {}


def test_speeds_survive_a_restart() -> None:
    pace = measured(config(), 8.0, 2.0)

    again = Pace(config(), pace.speeds)

    assert again.steps_for(1) == pace.steps_for(1) < 40


@given(values=SPEEDS, share=st.floats(0, 1))
def test_the_percentile_is_numpys(values: list[float], share: float) -> None:
    assert percentile(values, share) == pytest.approx(np.percentile(values, 100 * share))


@pytest.mark.parametrize(("values", "share"), [([], 0.9), ([1.0], 1.1)])
def test_there_is_no_percentile_of_nothing(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="no percentile"):
        percentile(values, share)


@pytest.mark.parametrize(("num_steps", "step_length"), [(40, 1.0), (10, 4.0), (80, 0.5)])
def test_with_a_barrier_every_order_covers_its_rounds_share_of_the_schedule(
    num_steps: int, step_length: float
) -> None:
    pace = Pace(config(strategy="diloco"))

    place = pace.place_in_schedule(round_=3, num_steps=num_steps, steps_done=999)

    assert place == (80, step_length)


def test_without_a_barrier_the_schedule_moves_by_the_mean_of_all_orders() -> None:
    pace = measured(config(), 8.0, 8.0, 4.0, 2.0)

    first_step, step_length = pace.place_in_schedule(round_=7, num_steps=10, steps_done=220)

    assert first_step == 220 / 4
    assert step_length == pytest.approx((40 + 40 + 20 + 10) / 4 / 10)

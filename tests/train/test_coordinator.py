from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from ayni.train.accepted import check_samples, read_accepted
from ayni.train.codec import ChecksumError, decode_frame, make_frame
from ayni.train.config import TrainConfig
from ayni.train.engine import AttemptFailed, EngineEvent, Frame, LearnerUpdate, Order
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.layout import make_chunks, num_elements
from ayni.train.learner import make_replica
from ayni.train.named_arrays import make_manifest
from ayni.train.result import RoundProgress, SilentObserver, TrainResult
from ayni.train.strategy_config import AggregationConfig, AsyncConfig

from .conftest import tiny_task

Train = Callable[..., TrainResult]

# Steps so large that the third round makes the model worse; the guard is narrow. One learner, so that the
# rounds before do not depend on who was first.
DIVERGING = {
    "strategy": "async",
    "task": "Plain",
    "seed": 5,
    "learners": 1,
    "codec": "fp32",
    "schedule": "constant",
    "outer_learning_rate": 3000.0,
    "asynchronous": AsyncConfig(momentum=0.9, guard_factor=1.05, steps_by_speed=False),
}
# The same number of turns for everybody, however fast this machine is at the moment.
EVEN = {"strategy": "async", "rounds": 4, "asynchronous": AsyncConfig(steps_by_speed=False)}


class Watcher(SilentObserver):
    """Remembers the rounds that were finished, and may stop the training after one."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self._stop_after = stop_after

    def round_finished(self, progress: RoundProgress) -> None:
        super().round_finished(progress)
        if progress.round == self._stop_after:
            raise KeyboardInterrupt


class WatchedEngine(InProcessEngine):
    """Remembers each update as (learner, round, optimizer state), and may change what happens."""

    def __init__(self, change: Callable[[EngineEvent], list[EngineEvent]] = lambda event: [event]) -> None:
        super().__init__()
        self._change = change
        self.updates: list[tuple[int, int, str]] = []

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        found = super().wait(timeout_seconds)
        self.updates += [
            (event.learner, event.round, event.optimizer_state)
            for event in found
            if isinstance(event, LearnerUpdate)
        ]
        return [event for happened in found for event in self._change(happened)]


def arrays(result: TrainResult) -> dict[str, np.ndarray]:
    return safetensors.numpy.load_file(result.model_path)


def assert_same_model(one: TrainResult, other: TrainResult) -> None:
    a, b = arrays(one), arrays(other)
    assert all(np.array_equal(a[name], b[name]) for name in a)


# Going back ("async").


def test_a_round_that_diverged_is_done_again_from_the_best_one(train_tiny: Train, tmp_path: Path) -> None:
    # Updates are waiting for the checkpoint when it is judged: they must not be merged before that.
    observer = Watcher()

    train_tiny(rounds=4, observer=observer, **DIVERGING)

    assert [progress.round for progress in observer.rounds][:4] == [1, 2, 3, 3]
    assert any(
        "round 3 diverged on held-out data: going on from round 2" in said for said in observer.notices
    )
    assert check_samples(tmp_path / "train") == []
    assert sum(update.num_samples for update in read_accepted(tmp_path / "train")) == 4 * 4 * 8


def test_the_last_round_is_judged_too(train_tiny: Train, tmp_path: Path) -> None:
    observer = Watcher()

    train_tiny(rounds=3, observer=observer, **DIVERGING)

    assert any("round 3 diverged" in said for said in observer.notices)
    assert [progress.round for progress in observer.rounds][:4] == [1, 2, 3, 3]
    assert check_samples(tmp_path / "train") == []


# Going on ("async").


def test_without_a_barrier_a_resumed_learner_has_its_optimizer_state_again(
    train_tiny: Train, tmp_path: Path
) -> None:
    first, second = WatchedEngine(), WatchedEngine()
    with pytest.raises(KeyboardInterrupt):
        train_tiny(**EVEN, engine=first, observer=Watcher(stop_after=2))

    result = train_tiny(**EVEN, engine=second)

    resumed = {learner: (turn, state) for learner, turn, state in reversed(second.updates)}
    assert resumed == {0: (3, "restored"), 1: (3, "restored")}
    assert result.num_optimizer_resets == 0


def test_without_a_barrier_a_lost_optimizer_state_is_said(train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_tiny(**EVEN, observer=Watcher(stop_after=2))
    for path in (tmp_path / "train" / "spill").glob("learner-0001-*"):
        path.unlink()
    observer = SilentObserver()

    result = train_tiny(**EVEN, observer=observer)

    assert result.num_optimizer_resets == 1
    assert any("learner 1 began" in said and "was lost" in said for said in observer.notices)


def test_checkpoints_that_are_made_seldom_cost_rounds_and_no_optimizer_state(
    train_tiny: Train, tmp_path: Path
) -> None:
    changes = {"rounds": 12, "checkpoint_every": 5}
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder=tmp_path / "broken", observer=Watcher(stop_after=9), **changes)

    resumed = train_tiny(folder=tmp_path / "broken", **changes)

    assert resumed.num_optimizer_resets == 0
    assert_same_model(resumed, train_tiny(folder=tmp_path / "unbroken", **changes))


# What is refused, and whose failure it is.


def nan_frames() -> list[Frame]:
    replica = make_replica(tiny_task().load(), TrainConfig(), seed=3)
    chunks = make_chunks(make_manifest(replica.arrays()))
    return [make_frame([np.full(num_elements(chunk), np.nan, np.float32)], chunk, "fp32") for chunk in chunks]


def flipped(update: LearnerUpdate) -> LearnerUpdate:
    replica = make_replica(tiny_task().load(), TrainConfig(), seed=3)
    chunks = make_chunks(make_manifest(replica.arrays()))
    pairs = zip(update.frames, chunks, strict=True)
    frames = [make_frame([-decode_frame(frame, chunk)], chunk, "fp32") for frame, chunk in pairs]
    return replace(update, frames=frames)


@pytest.mark.parametrize("is_before", [False, True], ids=["after", "before"])
def test_nonsense_beside_a_lie_does_not_make_room_for_the_lie(
    train_tiny: Train, tmp_path: Path, is_before: bool
) -> None:
    def lie(event: EngineEvent) -> list[EngineEvent]:
        if not isinstance(event, LearnerUpdate) or event.learner != 1:
            return [event]
        # Of a round that is closed, or a second time: neither is an answer to what was asked.
        nonsense = replace(event, frames=nan_frames(), round=event.round - is_before)
        return [nonsense, flipped(event)] if is_before else [flipped(event), nonsense]

    def flip(event: EngineEvent) -> list[EngineEvent]:
        return [
            flipped(event) if isinstance(event, LearnerUpdate) and event.learner == 1 else event,
        ]

    changes = {
        "learners": 3,
        "codec": "fp32",
        "aggregation": AggregationConfig(rule="trimmed_mean", num_faulty=1),
    }
    with_nonsense = train_tiny(engine=WatchedEngine(lie), folder=tmp_path / "a", **changes)
    without = train_tiny(engine=WatchedEngine(flip), folder=tmp_path / "b", **changes)

    assert_same_model(with_nonsense, without)


def test_a_model_that_was_damaged_on_its_way_to_a_learner_is_sent_again(
    train_tiny: Train, tmp_path: Path
) -> None:
    num_updates = 0

    def damage(event: EngineEvent) -> list[EngineEvent]:
        nonlocal num_updates
        num_updates += isinstance(event, LearnerUpdate)
        if not isinstance(event, LearnerUpdate) or num_updates != 4:
            return [event]
        error = ChecksumError((), "changed on the way: its checksum is wrong")
        return [AttemptFailed(round=event.round, learner=event.learner, attempt=event.attempt, error=error)]

    trouble = train_tiny(engine=WatchedEngine(damage), folder=tmp_path / "trouble")

    assert_same_model(trouble, train_tiny(folder=tmp_path / "clean"))


class HangingEngine(InProcessEngine):
    """Learner 1 takes orders and never answers."""

    def start(self, order: Order) -> None:
        if order.learner != 1:
            super().start(order)


def test_the_clock_of_an_excluded_learner_stops(train_tiny: Train) -> None:
    observer = SilentObserver()

    train_tiny(
        task="Slow",
        quorum=1,
        grace_seconds=0.5,
        max_attempts=1,
        round_deadline_seconds=0.05,
        rounds=4,
        local_steps=2,
        engine=HangingEngine(),
        observer=observer,
    )

    assert sum("learner 1 took longer" in said for said in observer.notices) == 1
    assert sum("learner 1 takes no further part" in said for said in observer.notices) == 1

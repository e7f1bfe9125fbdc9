"""Which state machine coordinates a strategy."""

from collections.abc import Callable

from ayni.train.async_rounds import AsyncRounds
from ayni.train.checkpoint import Checkpoint
from ayni.train.config import TrainConfig
from ayni.train.rounds import Rounds


def make_rounds(
    config: TrainConfig,
    checkpoint: Checkpoint,
    *,
    steps_for: Callable[[int], int],
    has_time: Callable[[], bool],
) -> Rounds | AsyncRounds:
    """The state machine of a strategy, from the round after a checkpoint.

    `steps_for` says how many local steps to ask of a learner, `has_time` whether one that comes late can
    still end the round under way in time.
    """
    if config.strategy == "async":
        return AsyncRounds(
            num_learners=config.learners,
            num_rounds=config.rounds,
            steps_per_round=config.learners * config.local_steps,
            needed_updates=config.needed_updates,
            max_attempts=config.max_attempts,
            max_staleness=config.asynchronous.max_staleness,
            buffer_size=config.asynchronous.buffer_size,
            turns={int(learner): turn for learner, turn in checkpoint.extra.get("turns", {}).items()},
            round=checkpoint.round + 1,
            steps_done=checkpoint.steps_done,
            steps_for=steps_for,
        )
    return Rounds(
        num_learners=config.learners,
        num_rounds=config.rounds,
        needed_updates=config.needed_updates,
        max_attempts=config.max_attempts,
        is_gang=config.strategy == "sync",
        is_streaming=config.strategy == "streaming",
        round=checkpoint.round + 1,
        steps_for=steps_for,
        has_time=has_time,
        counts_refused=config.aggregation.rule != "mean",
    )

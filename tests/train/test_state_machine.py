from typing import Any

import pytest

from ayni.train.async_rounds import AsyncRounds
from ayni.train.checkpoint import Checkpoint
from ayni.train.config import TrainConfig
from ayni.train.events import LearnerJoined, RunRound
from ayni.train.rounds import Rounds
from ayni.train.state_machine import make_rounds

CALLBACKS: dict[str, Any] = {"steps_for": lambda _: 7, "has_time": lambda: True}


def first_orders(strategy: str) -> list[RunRound]:
    config = TrainConfig(strategy=strategy, learners=2, local_steps=7)  # type: ignore[arg-type]
    machine = make_rounds(config, Checkpoint(round=4, fingerprint=""), **CALLBACKS)
    commands = [command for learner in (0, 1) for command in machine.handle(LearnerJoined(learner=learner))]
    return [command for command in commands if isinstance(command, RunRound)]


@pytest.mark.parametrize("strategy", ["diloco", "sync", "streaming"])
def test_rounds_with_a_barrier_go_on_after_the_checkpoint(strategy: str) -> None:
    orders = first_orders(strategy)

    assert [(order.learner, order.round, order.num_steps) for order in orders] == [(0, 5, 7), (1, 5, 7)]
    assert [order.members for order in orders] == [(0, 1) if strategy == "sync" else ()] * 2


def test_without_a_barrier_everybody_has_turns_of_its_own() -> None:
    orders = first_orders("async")

    assert {order.learner for order in orders} == {0, 1}


def test_the_machine_fits_the_strategy() -> None:
    start = Checkpoint(round=0, fingerprint="")

    assert isinstance(make_rounds(TrainConfig(), start, **CALLBACKS), Rounds)
    assert isinstance(make_rounds(TrainConfig(strategy="async"), start, **CALLBACKS), AsyncRounds)

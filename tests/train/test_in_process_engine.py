from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayni.task import TaskReference
from ayni.train.codec import encode_chunk
from ayni.train.config import TrainConfig
from ayni.train.engine import (
    AttemptFailed,
    EngineEvent,
    Frame,
    LearnerUpdate,
    MergedPart,
    Model,
    Order,
    PlaceFound,
    Session,
)
from ayni.train.fragments import fragment_chunks
from ayni.train.held_base import BaseMissingError
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.layout import num_elements
from ayni.train.learner import make_replica
from ayni.train.named_arrays import make_manifest
from ayni.train.strategy_config import StreamingConfig

STEPS, BATCH = 4, 8


class MemoryStore:
    """Keeps frames where they are, and counts them."""

    def __init__(self) -> None:
        self.num_kept = 0

    def keep(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        self.num_kept += len(frames)
        return frames


class Site:
    """An open engine with a session of the tiny task."""

    def __init__(self, folder: Path, task: str = "Tiny", **changes: Any) -> None:
        settings: dict[str, Any] = {"learners": 2, "rounds": 3, "local_steps": STEPS, "batch_size": BATCH}
        self.config = TrainConfig(**{**settings, **changes})
        reference = TaskReference(module_path=Path(__file__).with_name("tiny_task.py"), object_name=task)
        self.replica = make_replica(reference.load(), self.config, seed=3)
        self.engine, self.store = InProcessEngine(), MemoryStore()
        session = Session(
            session_id="s",
            fingerprint="f",
            task=reference,
            config=self.config,
            seed=3,
            spill_folder=folder / "spill",
            untrained_sha256=self.replica.digest(),
        )
        self.engine.open(session, self.store)

    def start(self, learner: int, round_: int = 1, **changes: Any) -> None:
        settings: dict[str, Any] = {
            "attempt": 1,
            "num_steps": STEPS,
            "start": ((round_ - 1) * self.config.learners + learner) * STEPS * BATCH,
            "first_step": float((round_ - 1) * STEPS),
            "model": Model(version=0, kind="untrained" if round_ == 1 else "held"),
        }
        self.engine.start(Order(round=round_, learner=learner, **{**settings, **changes}))

    def wait(self) -> list[EngineEvent]:
        return self.engine.wait(0.0)


MakeSite = Callable[..., Site]


@pytest.fixture
def site(tmp_path: Path) -> MakeSite:
    return lambda *arguments, **changes: Site(tmp_path, *arguments, **changes)


def names_of(events: Sequence[EngineEvent]) -> list[tuple[int, int, int]]:
    updates = [event for event in events if isinstance(event, LearnerUpdate)]
    assert len(updates) == len(events)
    return [(update.round, update.learner, update.attempt) for update in updates]


def test_each_learner_has_a_place_and_answers_its_order(site: MakeSite) -> None:
    place = site()

    found = place.wait()
    place.start(0)
    place.start(1)
    updates = place.wait()

    assert found == [PlaceFound(learner=0), PlaceFound(learner=1)]
    assert names_of(updates) == [(1, 0, 1), (1, 1, 1)]
    assert place.store.num_kept == 2
    assert place.wait() == []


def test_a_newer_attempt_replaces_an_older_one(site: MakeSite) -> None:
    place = site()
    place.wait()

    place.start(0)
    place.start(0, attempt=2)

    assert names_of(place.wait()) == [(1, 0, 2)]


def test_the_random_numbers_of_the_caller_are_left_alone(site: MakeSite) -> None:
    place = site()
    place.wait()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)

    place.start(0)
    place.wait()

    assert torch.rand(1) == expected


def test_an_error_of_ours_becomes_an_event(site: MakeSite) -> None:
    place = site()
    place.wait()

    place.start(1, model=Model(version=4, kind="held"))
    (event,) = place.wait()

    assert isinstance(event, AttemptFailed)
    assert isinstance(event.error, BaseMissingError)
    assert (event.round, event.learner, event.attempt) == (1, 1, 1)


def test_a_gang_waits_until_all_its_members_are_there(site: MakeSite) -> None:
    place = site(strategy="sync", learners=3)
    place.wait()

    place.start(0, members=(0, 2))
    before = place.wait()
    place.start(2, members=(0, 2))
    updates = place.wait()

    assert before == []
    assert names_of(updates) == [(1, 0, 1), (1, 2, 1)]
    assert len({update.digest for update in updates if isinstance(update, LearnerUpdate)}) == 1


def test_a_streaming_learner_waits_for_its_part_while_others_work(site: MakeSite) -> None:
    streaming = StreamingConfig(fragments=2, overlap_steps=1)
    place = site("Plain", strategy="streaming", streaming=streaming)
    chunks = fragment_chunks(make_manifest(place.replica.arrays()), 2)[0]
    zeros = tuple(encode_chunk(np.zeros(num_elements(chunk), np.float32), chunk, "fp32") for chunk in chunks)
    part = MergedPart(round=1, version=1, kind="change", frames=zeros)
    place.wait()
    for learner in (0, 1):
        place.start(learner)
    place.wait()

    for learner in (0, 1):
        place.start(learner, 2)
    place.engine.send(1, part)
    first = place.wait()
    nothing = place.wait()
    place.engine.send(0, part)
    second = place.wait()

    assert names_of(first) == [(2, 1, 1)]
    assert nothing == []
    assert names_of(second) == [(2, 0, 1)]

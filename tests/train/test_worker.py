import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ayni.task import TaskFailedError, TaskReference
from ayni.train import worker
from ayni.train.codec import encode_chunk
from ayni.train.config import TrainConfig
from ayni.train.engine import LearnerUpdate, MergedPart, Model, Order, Session
from ayni.train.fragments import fragment_chunks
from ayni.train.inbox import AttemptStoppedError
from ayni.train.layout import make_chunks, num_elements, take_chunk
from ayni.train.learner import make_replica
from ayni.train.named_arrays import make_manifest
from ayni.train.packed_error import PackedError, unpack_error
from ayni.train.strategy_config import StreamingConfig


def session_of(folder: Path, task: str = "Plain", **changes: object) -> Session:
    settings = {"learners": 1, "rounds": 3, "local_steps": 3, "batch_size": 8, "strategy": "streaming"}
    config = TrainConfig(**{**settings, "streaming": StreamingConfig(fragments=2), **changes})  # type: ignore[arg-type]
    reference = TaskReference(module_path=Path(__file__).with_name("tiny_task.py"), object_name=task)
    return Session(
        session_id=folder.name,
        fingerprint="f",
        task=reference,
        config=config,
        seed=3,
        spill_folder=folder,
        untrained_sha256=make_replica(reference.load(), config, seed=3).digest(),
    )


def order(round_: int = 1, kind: str = "untrained") -> Order:
    model = Model(version=0, kind=kind)  # type: ignore[arg-type]
    return Order(round=round_, learner=0, attempt=1, num_steps=3, start=0, first_step=0.0, model=model)


def part_for(session: Session) -> tuple[MergedPart, list[np.ndarray]]:
    arrays = make_replica(session.task.load(), session.config, seed=3).arrays()
    chunks = fragment_chunks(make_manifest(arrays), 2)[0]
    frames = [encode_chunk(np.zeros(num_elements(chunk), np.float32), chunk, "fp32") for chunk in chunks]
    return MergedPart(round=1, version=1, kind="change", frames=()), frames


def test_frames_may_come_beside_the_order(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    arrays = make_replica(session.task.load(), session.config, seed=3).arrays()
    chunks = make_chunks(make_manifest(arrays))
    frames = [encode_chunk(take_chunk(arrays, chunk), chunk, "fp32") for chunk in chunks]

    built = worker.work(session, order(), None)
    sent = worker.work(session, order(kind="full"), None, frames)

    assert isinstance(built, LearnerUpdate)
    assert isinstance(sent, LearnerUpdate)
    assert all(np.array_equal(one, two) for one, two in zip(built.frames, sent.frames, strict=True))


def test_a_part_that_is_delivered_lets_the_learner_go_on(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    answers: list[object] = [worker.work(session, order(), None)]
    thread = threading.Thread(target=lambda: answers.append(worker.work(session, order(2, "held"), None)))
    thread.start()

    part, frames = part_for(session)
    worker.deliver(session.session_id, 0, part, frames)
    thread.join(timeout=30)

    assert [type(answer) for answer in answers] == [LearnerUpdate, LearnerUpdate]


def test_a_learner_that_waits_is_stopped_when_the_session_ends(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    worker.work(session, order(), None)
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(worker.work(session, order(2, "held"), None)))
    thread.start()

    while not worker._inbox.is_awaited:
        assert thread.is_alive()
        time.sleep(0.001)
    worker.forget()
    thread.join(timeout=30)

    (answer,) = answers
    assert isinstance(answer, PackedError)
    assert isinstance(unpack_error(answer), AttemptStoppedError)


def test_a_part_of_another_session_is_dropped(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    worker.prepare(session, 0)

    worker.deliver("an older one", 0, part_for(session)[0])

    assert not worker._inbox._parts


def test_errors_come_back_as_values(tmp_path: Path) -> None:
    session = session_of(tmp_path, "Raising", strategy="diloco")

    answer = worker.work(session, order(), None)

    assert isinstance(answer, PackedError)
    with pytest.raises(TaskFailedError, match="KeyError"):
        raise unpack_error(answer)


def test_a_worker_that_cannot_build_a_learner_says_why(tmp_path: Path) -> None:
    session = session_of(tmp_path)
    missing = replace(session, task=replace(session.task, object_name="Nobody"), session_id="another")

    packed = worker.prepare(missing, 0)

    assert packed is not None
    assert "has no 'Nobody'" in str(unpack_error(packed))

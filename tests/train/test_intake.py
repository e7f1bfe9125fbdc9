from pathlib import Path

import numpy as np
import pytest

from ayni.train.accepted import AcceptedUpdate
from ayni.train.codec import FrameError, encode_chunk
from ayni.train.config import TrainConfig
from ayni.train.engine import LearnerUpdate
from ayni.train.frame_store import SpillingStore
from ayni.train.intake import Intake, WrongExamplesError, to_accepted
from ayni.train.leases import Leases
from ayni.train.shared_model import SharedModel
from ayni.train.stream import Stream


@pytest.fixture
def house(tmp_path: Path) -> tuple[Intake, Leases, Stream]:
    model = SharedModel(TrainConfig(), {"w": np.zeros(6, np.float32)}, plain_names=frozenset())
    stream = Stream()
    leases = Leases(stream, batch_size=8)
    leases.take(learner=0, round_=1, num_steps=2)
    store = SpillingStore(tmp_path, budget_bytes=10**6)
    return Intake(model, leases, store, strategy="diloco"), leases, stream


def update(value: float = 1.0, *, start: int = 0, attempt: int = 1) -> LearnerUpdate:
    model = SharedModel(TrainConfig(), {"w": np.zeros(6, np.float32)}, plain_names=frozenset())
    (chunk,) = model.chunks_of(1)
    frames = (encode_chunk(np.full(6, value, np.float32), chunk, "fp32"),)
    return LearnerUpdate(
        round=1,
        learner=0,
        attempt=attempt,
        frames=frames,
        digest="",
        start=start,
        num_samples=16,
        loss=1.0,
        compute_seconds=1.0,
        exchanged_bytes=0,
        optimizer_state="new",
    )


def test_a_kept_update_is_taken_once_and_its_examples_are_used_up(
    house: tuple[Intake, Leases, Stream],
) -> None:
    intake, _, stream = house
    came = update(2.0)
    intake.keep(came, intake.look_at(came))

    updates, kept = intake.take([(0, 1)], round_=1)

    assert updates == [came]
    assert kept[0].lengths.trained == pytest.approx(6 * 4.0)
    assert stream.to_json() == {"committed": [[0, 16]]}
    with pytest.raises(KeyError):
        intake.take([(0, 1)], round_=1)


def test_an_update_from_other_examples_than_leased_is_refused(house: tuple[Intake, Leases, Stream]) -> None:
    intake, _, _ = house

    with pytest.raises(WrongExamplesError, match=r"16 examples from position 8 .* said 16 from position 0"):
        intake.look_at(update(start=8))


def test_a_damaged_update_is_refused(house: tuple[Intake, Leases, Stream]) -> None:
    intake, _, _ = house
    damaged = update()
    damaged.frames[0].flags.writeable = True
    damaged.frames[0][-1] ^= 255

    with pytest.raises(FrameError):
        intake.look_at(damaged)


def test_a_dropped_update_is_gone_and_its_lease_stays_for_the_next_attempt(
    house: tuple[Intake, Leases, Stream],
) -> None:
    intake, leases, _ = house
    came = update()
    intake.keep(came, intake.look_at(came))

    intake.drop(learner=0, round_=1)
    intake.drop(learner=0, round_=1)

    assert leases.find(learner=0, round_=1) == (0, 16)
    with pytest.raises(KeyError):
        intake.take([(0, 1)], round_=1)


def test_what_is_kept_of_a_merged_update_names_the_round_of_the_merge_and_the_examples() -> None:
    line = to_accepted(update(start=32, attempt=2), round_=3, num_examples=96)

    assert line == AcceptedUpdate(round=3, learner=0, attempt=2, num_examples=96, start=32, num_samples=16)

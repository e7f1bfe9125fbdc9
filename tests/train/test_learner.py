from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.task import TaskReference
from ayni.train.codec import decode_frame, encode_chunk
from ayni.train.config import TrainConfig
from ayni.train.engine import LearnerUpdate, MergedPart, Model, Order, Session
from ayni.train.fragments import fragment_chunks
from ayni.train.held_base import BaseMissingError
from ayni.train.layout import add_chunk_, make_chunks, take_chunk
from ayni.train.learner import Learner, make_replica
from ayni.train.local import NonFiniteLossError
from ayni.train.named_arrays import NamedArrays, make_manifest
from ayni.train.round_of_work import drive
from ayni.train.strategy_config import StreamingConfig
from ayni.train.sync import run_alone, run_together

STEPS, BATCH = 4, 8


class World:
    """A session with its untrained model, and orders that go with it."""

    def __init__(self, folder: Path, task: str = "Tiny", **changes: Any) -> None:
        settings: dict[str, Any] = {"learners": 2, "rounds": 3, "local_steps": STEPS, "batch_size": BATCH}
        self.config = TrainConfig(**{**settings, "codec": "fp32", **changes})
        self.reference = TaskReference(module_path=Path(__file__).with_name("tiny_task.py"), object_name=task)
        self.task = self.reference.load()
        replica = make_replica(self.task, self.config, seed=3)
        self.untrained = {name: array.copy() for name, array in replica.arrays().items()}
        self.chunks = make_chunks(make_manifest(self.untrained))
        self.session = Session(
            session_id="s",
            fingerprint="f",
            task=self.reference,
            config=self.config,
            seed=3,
            spill_folder=folder / "spill",
            untrained_sha256=replica.digest(),
        )

    def learner(self, learner: int = 0) -> Learner:
        return Learner(self.session, self.task, learner)

    def order(self, round_: int = 1, learner: int = 0, **changes: Any) -> Order:
        number = (round_ - 1) * self.config.learners + learner
        kind = "untrained" if round_ == 1 else "held"
        settings: dict[str, Any] = {
            "attempt": 1,
            "num_steps": STEPS,
            "start": number * STEPS * BATCH,
            "first_step": float((round_ - 1) * STEPS),
            "model": Model(version=0, kind=kind),
        }
        return Order(round=round_, learner=learner, **{**settings, **changes})

    def full(self, arrays: NamedArrays, version: int) -> Model:
        frames = [encode_chunk(take_chunk(arrays, chunk), chunk, "fp32") for chunk in self.chunks]
        return Model(version=version, kind="full", frames=tuple(frames))

    def values_of(self, update: LearnerUpdate) -> NamedArrays:
        values = {name: np.zeros_like(array) for name, array in self.untrained.items()}
        for frame, chunk in zip(update.frames, self.chunks, strict=True):
            add_chunk_(values, chunk, decode_frame(frame, chunk))
        return values


MakeWorld = Callable[..., World]


@pytest.fixture
def world(tmp_path: Path) -> MakeWorld:
    return lambda *arguments, **changes: World(tmp_path, *arguments, **changes)


def same(first: LearnerUpdate, second: LearnerUpdate) -> bool:
    return len(first.frames) == len(second.frames) and all(
        np.array_equal(one, other) for one, other in zip(first.frames, second.frames, strict=True)
    )


def test_an_update_is_base_minus_local_values(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()

    update = run_alone(learner.run_round(place.order()))

    local = learner._replica.arrays()
    for name, difference in place.values_of(update).items():
        assert np.array_equal(difference, place.untrained[name] - local[name])
    assert (update.start, update.num_samples, update.optimizer_state) == (0, STEPS * BATCH, "new")
    assert update.digest == ""
    assert update.compute_seconds > 0


def test_a_round_that_is_tried_again_gives_the_same_update(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    first = run_alone(learner.run_round(place.order()))

    again = run_alone(learner.run_round(place.order(attempt=2)))
    elsewhere = run_alone(place.learner().run_round(place.order(attempt=3)))

    assert same(first, again)
    assert same(first, elsewhere)


def test_a_learner_in_a_new_process_goes_on_from_what_it_spilled(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    run_alone(learner.run_round(place.order()))
    unbroken = run_alone(learner.run_round(place.order(2)))
    model = place.full(place.untrained, version=0)

    resumed = run_alone(place.learner().run_round(place.order(2, model=model)))

    assert (unbroken.optimizer_state, resumed.optimizer_state) == ("kept", "restored")
    assert same(unbroken, resumed)


def test_without_its_spill_a_learner_says_that_it_was_reset(world: MakeWorld, tmp_path: Path) -> None:
    place = world()
    run_alone(place.learner().run_round(place.order()))
    for path in (tmp_path / "spill").iterdir():
        path.unlink()

    update = run_alone(
        place.learner().run_round(place.order(2, model=place.full(place.untrained, version=0)))
    )

    assert update.optimizer_state == "reset"


def test_a_learner_that_sat_out_a_round_keeps_its_optimizer(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    run_alone(learner.run_round(place.order()))

    update = run_alone(learner.run_round(place.order(3)))

    assert update.optimizer_state == "kept"


def test_after_a_broken_round_the_state_comes_from_the_disk(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    run_alone(learner.run_round(place.order()))
    expected = run_alone(place.learner().run_round(place.order(2, model=place.full(place.untrained, 0))))
    broken = learner.run_round(place.order(2, members=(0, 1)))
    next(broken)
    broken.close()

    update = run_alone(learner.run_round(place.order(2, attempt=2)))

    assert update.optimizer_state == "restored"
    assert same(update, expected)


def test_the_base_follows_changes_and_an_unknown_one_is_asked_for(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    run_alone(learner.run_round(place.order()))
    change = {name: np.full_like(array, 0.5) for name, array in place.untrained.items()}
    model = replace(place.full(change, version=1), kind="change")

    run_alone(learner.run_round(place.order(2, model=model)))
    with pytest.raises(BaseMissingError, match="holds version 1 and was to start from version 3"):
        run_alone(learner.run_round(place.order(3, model=Model(version=3, kind="held"))))

    base = learner._base.arrays
    assert all(np.array_equal(base[name], array + change[name]) for name, array in place.untrained.items())


def test_a_change_that_was_taken_in_is_not_taken_twice(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    run_alone(learner.run_round(place.order()))
    change = {name: np.full_like(array, 0.5) for name, array in place.untrained.items()}
    order = place.order(2, model=replace(place.full(change, version=1), kind="change"))

    first = run_alone(learner.run_round(order))
    again = run_alone(learner.run_round(replace(order, attempt=2)))

    assert same(first, again)


def test_an_untrained_model_of_another_make_is_not_trusted(world: MakeWorld) -> None:
    place = world()
    place.session = replace(place.session, untrained_sha256="0" * 64)

    with pytest.raises(BaseMissingError):
        run_alone(place.learner().run_round(place.order()))


def test_a_damaged_frame_leaves_no_base(world: MakeWorld) -> None:
    place = world()
    learner = place.learner()
    model = place.full(place.untrained, version=1)
    model.frames[0][-1] ^= 1

    with pytest.raises(Exception, match="checksum"):
        run_alone(learner.run_round(place.order(2, model=model)))

    assert learner._base.version is None


def test_frames_that_others_hold_too_are_left_alone(world: MakeWorld) -> None:
    place = world()
    model = place.full(place.untrained, version=1)
    before = [frame.copy() for frame in model.frames]
    for frame in model.frames:
        frame.flags.writeable = False

    run_alone(place.learner().run_round(place.order(2, model=model)))

    assert all(np.array_equal(frame, old) for frame, old in zip(model.frames, before, strict=True))


def test_error_feedback_sends_later_what_was_lost(world: MakeWorld) -> None:
    place = world("Plain", codec="topk", topk_fraction=0.2)
    learner = place.learner()

    update = run_alone(learner.run_round(place.order()))

    sent, local = place.values_of(update), learner._replica.arrays()
    for name, lost in learner._state.residual.items():
        assert np.allclose(sent[name] + lost, place.untrained[name] - local[name], atol=1e-7)
    assert sum(np.count_nonzero(array) for array in sent.values()) < 30


def test_what_was_lost_from_a_dropped_update_is_forgotten(world: MakeWorld) -> None:
    place = world("Plain", codec="topk")
    kept, forgetful = place.learner(), place.learner()
    for learner in (kept, forgetful):
        run_alone(learner.run_round(place.order()))

    first = run_alone(kept.run_round(place.order(2)))
    second = run_alone(forgetful.run_round(place.order(2, keeps_residual=False)))

    assert not same(first, second)


def test_the_residual_survives_the_process(world: MakeWorld) -> None:
    place = world("Plain", codec="int2")
    learner = place.learner()
    run_alone(learner.run_round(place.order()))
    unbroken = run_alone(learner.run_round(place.order(2)))

    resumed = run_alone(
        place.learner().run_round(place.order(2, model=place.full(place.untrained, version=0)))
    )

    assert same(unbroken, resumed)


def test_schedule_and_number_of_steps_come_with_the_order(world: MakeWorld) -> None:
    place = world("Plain", schedule="cosine", rounds=100)
    late = place.order(first_step=399.0, num_steps=2, step_length=0.5)

    update = run_alone(place.learner().run_round(late))
    early = run_alone(place.learner().run_round(replace(late, first_step=0.0)))

    assert update.num_samples == 2 * BATCH
    largest = [max(np.abs(array).max() for array in place.values_of(u).values()) for u in (update, early)]
    assert largest[0] < largest[1] / 100


def test_members_of_a_gang_end_at_the_same_parameters_and_one_reports(world: MakeWorld) -> None:
    place = world(strategy="sync")
    orders = [place.order(learner=learner, members=(0, 1)) for learner in (0, 1)]

    updates = run_together([place.learner(order.learner).run_round(order) for order in orders])

    assert updates[0].digest == updates[1].digest != ""
    assert len(updates[0].frames) == 1
    assert len(updates[1].frames) == 0
    num_learning = 4 * 8 + 8 + 2 * 8 + 8 * 2 + 2
    assert updates[0].exchanged_bytes == 4 * (num_learning * STEPS + 2 * 8 + 2)


def test_a_gang_of_two_takes_the_steps_of_one_learner_with_both_batches(world: MakeWorld) -> None:
    pair, alone = world("Plain", strategy="sync"), world("Plain", batch_size=2 * BATCH)
    orders = [
        pair.order(learner=learner, members=(0, 1), num_steps=1, start=learner * BATCH) for learner in (0, 1)
    ]

    together = run_together([pair.learner(order.learner).run_round(order) for order in orders])
    single = run_alone(alone.learner().run_round(alone.order(num_steps=1)))

    expected = alone.values_of(single)
    for name, values in pair.values_of(together[0]).items():
        assert np.allclose(values, expected[name], atol=1e-6)


def test_a_member_that_lost_its_optimizer_gets_that_of_the_others(world: MakeWorld, tmp_path: Path) -> None:
    place = world("Plain", strategy="sync", learners=3)
    members = (0, 1, 2)
    learners = [place.learner(learner) for learner in members]
    orders = [place.order(learner=learner, members=members) for learner in members]
    run_together([learners[order.learner].run_round(order) for order in orders])
    for path in (tmp_path / "spill").iterdir():
        path.unlink()
    learners[0] = place.learner(0)
    model = place.full(place.untrained, version=1)
    orders = [place.order(2, learner=learner, members=members, model=model) for learner in members]

    updates = run_together([learners[order.learner].run_round(order) for order in orders])

    assert [update.optimizer_state for update in updates] == ["restored", "kept", "kept"]
    assert len({update.digest for update in updates}) == 1
    moments = [learner._replica.optimizer_arrays() for learner in learners]
    assert all(np.array_equal(moments[0][name], moments[1][name]) for name in moments[0])
    assert moments[0]["0.step"] == 2 * STEPS


def test_a_loss_that_explodes_names_round_learner_and_step(world: MakeWorld) -> None:
    place = world("Exploding")

    with pytest.raises(NonFiniteLossError, match="round 1, learner 0, step 1"):
        run_alone(place.learner().run_round(place.order()))


STREAMING = StreamingConfig(fragments=2, overlap_steps=1, mixing=0.25)


class Stream:
    """One learner of a streaming session beside a coordinator that takes each update whole."""

    def __init__(self, place: World) -> None:
        self.place = place
        self.theta = {name: array.copy() for name, array in place.untrained.items()}
        self.chunks = fragment_chunks(make_manifest(self.theta), STREAMING.fragments)
        self.parts: dict[int, MergedPart] = {}
        self.updates: list[LearnerUpdate] = []

    def run(self, learner: Learner, round_: int, **changes: Any) -> LearnerUpdate:
        order = self.place.order(round_, **{"model": self._model(round_), **changes})
        update = drive(
            learner.run_round(order),
            average=lambda tensors: None,
            await_part=lambda awaited: self.parts[awaited],
        )
        self.updates.append(update)
        return update

    def merge(self, update: LearnerUpdate) -> None:
        frames = []
        for frame, chunk in zip(update.frames, self.chunks[(update.round - 1) % 2], strict=True):
            change_E = -0.5 * decode_frame(frame, chunk)
            add_chunk_(self.theta, chunk, change_E)
            frames.append(encode_chunk(change_E, chunk, "fp32"))
        self.parts[update.round] = MergedPart(
            round=update.round, version=update.round, kind="change", frames=tuple(frames)
        )

    def _model(self, round_: int) -> Model:
        return Model(version=max(0, round_ - 2), kind="untrained" if round_ == 1 else "held")


def test_streaming_sends_one_fragment_and_goes_on_with_its_own_values(world: MakeWorld) -> None:
    place = world("Plain", strategy="streaming", streaming=STREAMING)
    stream, learner = Stream(place), place.learner()

    first = stream.run(learner, 1)
    local = {name: array.copy() for name, array in learner._replica.arrays().items()}
    stream.merge(first)
    work = learner.run_round(place.order(2))
    next(work)
    one_step_later = {name: array.copy() for name, array in learner._replica.arrays().items()}

    assert len(first.frames) == len(stream.chunks[0]) == 1
    assert all(np.abs(one_step_later[name] - local[name]).max() < 0.01 for name in local)


def test_the_merged_part_is_mixed_into_local_values_and_replaces_the_base(world: MakeWorld) -> None:
    place = world("Plain", strategy="streaming", streaming=STREAMING)
    stream, learner = Stream(place), place.learner()
    stream.merge(stream.run(learner, 1))
    work = learner.run_round(place.order(2, num_steps=1))
    next(work)
    local = {name: array.copy() for name, array in learner._replica.arrays().items()}

    with pytest.raises(StopIteration):
        work.send(stream.parts[1])

    after = learner._replica.arrays()
    sent = {piece.name for chunk in stream.chunks[0] for piece in chunk}
    for name, own in local.items():
        mixed = 0.25 * own + 0.75 * stream.theta[name] if name in sent else own
        assert np.allclose(after[name], mixed, atol=1e-6)
        assert np.array_equal(learner._base.arrays[name], stream.theta[name])


def test_a_resumed_stream_equals_an_unbroken_one(world: MakeWorld) -> None:
    place = world(strategy="streaming", streaming=STREAMING)
    stream, learner = Stream(place), place.learner()
    for round_ in (1, 2):
        stream.merge(stream.run(learner, round_))
    theta = {name: array.copy() for name, array in stream.theta.items()}

    unbroken = stream.run(learner, 3)
    resumed = stream.run(place.learner(), 3, attempt=2, model=place.full(theta, version=2))

    assert resumed.optimizer_state == "restored"
    assert same(unbroken, resumed)


def test_a_streaming_learner_without_a_past_starts_from_the_whole_model(world: MakeWorld) -> None:
    place = world("Plain", strategy="streaming", streaming=STREAMING)
    stream = Stream(place)

    update = stream.run(place.learner(), 3, model=place.full(stream.theta, version=2))

    assert update.optimizer_state == "reset"


def test_a_learner_that_sat_out_a_round_of_a_stream_starts_from_the_model_of_the_others(
    world: MakeWorld,
) -> None:
    place = world("Plain", strategy="streaming", streaming=STREAMING)
    stream, learner = Stream(place), place.learner()
    stream.run(learner, 1)
    others = {name: array + 1 for name, array in place.untrained.items()}

    work = learner.run_round(place.order(3, model=place.full(others, version=2), num_steps=1))
    with pytest.raises(StopIteration) as stop:
        next(work)

    assert stop.value.value.optimizer_state == "kept"
    local = learner._replica.arrays()
    assert all(np.abs(local[name] - array).max() < 0.1 for name, array in others.items())


def test_half_precision_models_learn(world: MakeWorld) -> None:
    place = world("Half")

    learner = place.learner()
    update = run_alone(learner.run_round(place.order()))
    again = run_alone(learner.run_round(place.order(2)))

    assert place.untrained["0.weight"].dtype == np.float32
    assert any(np.abs(array).max() > 0 for array in place.values_of(update).values())
    assert again.optimizer_state == "kept"


def test_frozen_parameters_do_not_travel(world: MakeWorld) -> None:
    place = world("HalfFrozen")

    update = run_alone(place.learner().run_round(place.order()))

    assert set(place.untrained) == {"2.weight", "2.bias"}
    assert len(update.frames) == 1

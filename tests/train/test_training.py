import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from ayni.errors import UserError
from ayni.files import read_json_lines
from ayni.task import TaskFailedError, TaskReference
from ayni.train.accepted import check_samples, read_accepted
from ayni.train.codec import make_frame
from ayni.train.config import TrainConfig
from ayni.train.engine import (
    AttemptFailed,
    EngineEvent,
    FrameStore,
    LearnersLostError,
    LearnerUpdate,
    MergedPart,
    Order,
    PlaceFound,
    PlaceLost,
    Session,
)
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.layout import make_chunks, num_elements
from ayni.train.learner import build_model, make_replica
from ayni.train.local import (
    LossShapeError,
    NonFiniteLossError,
    apply_gradients,
    collate,
    compute_gradients,
)
from ayni.train.named_arrays import ChangedModelError, make_manifest
from ayni.train.result import RoundProgress, SilentObserver, TrainResult
from ayni.train.strategy_config import AggregationConfig, StreamingConfig
from ayni.train.stream import EmptyDatasetError, TooFewExamplesError, sample_order
from ayni.train.training import ChangedTrainingError

Train = Callable[..., TrainResult]


class StopAfter:
    """Raises, as a limit or Ctrl-C would, after a round."""

    def __init__(self, round_: int) -> None:
        self._round = round_

    def round_finished(self, progress: RoundProgress) -> None:
        if progress.round == self._round:
            raise KeyboardInterrupt

    def noticed(self, message: str) -> None:
        pass


class FlakyEngine:
    """An engine in this process, and a script of what happens to the n-th update instead of its arrival."""

    def __init__(self, script: dict[int, str]) -> None:
        self._script = script
        self._inner = InProcessEngine()
        self._num_updates = 0
        self._late: list[EngineEvent] = []

    def open(self, session: Session, store: FrameStore) -> None:
        self._inner.open(session, store)

    def start(self, order: Order) -> None:
        self._inner.start(order)

    def send(self, learner: int, part: MergedPart) -> None:
        self._inner.send(learner, part)

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        found = [event for happened in self._inner.wait(timeout_seconds) for event in self._befall(happened)]
        late, self._late = self._late, []
        return found or late

    def _befall(self, happened: EngineEvent) -> list[EngineEvent]:
        if not isinstance(happened, LearnerUpdate):
            return [happened]
        self._num_updates += 1
        learner = happened.learner
        names = {"round": happened.round, "learner": learner, "attempt": happened.attempt}
        match self._script.get(self._num_updates):
            case "lost":
                return [PlaceLost(learner=learner, reason="killed"), PlaceFound(learner=learner)]
            case "failed":
                return [AttemptFailed(**names, error=RuntimeError("connection closed"))]
            case "twice":
                return [happened, replace(happened, frames=list(happened.frames))]
            case "late":
                self._late.append(happened)
                return [AttemptFailed(**names, error=RuntimeError("given up"))]
        return [happened]


def parameters(result: TrainResult) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(result.model_path)


def assert_same_model(one: TrainResult, other: TrainResult) -> None:
    a, b = parameters(one), parameters(other)
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


# Every way to train that the state machine, the codecs and the learners must agree on.
WAYS: dict[str, dict[str, object]] = {
    "diloco": {},
    "sync": {"strategy": "sync"},
    "streaming": {"strategy": "streaming", "streaming": StreamingConfig(fragments=2)},
    "int8 both ways": {"download_codec": "int8"},
    "2 bit with error feedback": {"codec": "int2", "download_codec": "bf16"},
    "top-k": {"codec": "topk", "topk_fraction": 0.3},
    "streaming, 4 bit": {
        "strategy": "streaming",
        "streaming": StreamingConfig(fragments=3, overlap_steps=0, mixing=0.0),
        "codec": "e3m0",
        "download_codec": "e3m0",
    },
    "rda": {"merge": "rda"},
    "checkpoint every 2": {"checkpoint_every": 2},
}


@pytest.mark.parametrize("way", [*WAYS, "async"])
def test_a_task_is_learned(train_tiny: Train, tmp_path: Path, way: str) -> None:
    observer = SilentObserver()
    changes = WAYS.get(way, {"strategy": "async", "outer_learning_rate": 1.0})

    result = train_tiny(rounds=6, learning_rate=0.02, observer=observer, **changes)

    assert result.metrics["accuracy"] >= 0.7
    assert result.samples == 2 * 6 * 4 * 8
    assert result.num_parameters == 74
    assert [progress.round for progress in observer.rounds] == [1, 2, 3, 4, 5, 6]
    assert observer.notices == []
    assert check_samples(tmp_path / "train") == []
    assert result.curve == read_json_lines(tmp_path / "train" / "rounds.jsonl")


def test_the_file_is_the_whole_state_dict(
    train_tiny: Train, task_reference: Callable[..., TaskReference]
) -> None:
    result = train_tiny()

    model = task_reference().load().build_model()
    model.load_state_dict(parameters(result), strict=True)

    assert Path(result.model_path).name == "model.safetensors"


def test_equal_seeds_give_equal_bits_and_other_seeds_others(train_tiny: Train, tmp_path: Path) -> None:
    one = train_tiny(folder=tmp_path / "one")
    two = train_tiny(folder=tmp_path / "two")
    other = train_tiny(folder=tmp_path / "other", seed=4)

    assert_same_model(one, two)
    assert not torch.equal(parameters(one)["0.weight"], parameters(other)["0.weight"])


def test_gradient_averaging_is_one_process_with_all_batches(
    train_tiny: Train, task_reference: Callable[..., TaskReference]
) -> None:
    """Oracle: the mean of two batches' gradients is the gradient of the two batches put together."""
    together = train_tiny(strategy="sync", task="Plain", rounds=1, gradient_clip=None)

    task = task_reference("Plain").load()
    dataset = task.dataset("train")
    model = build_model(task, seed=3)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    streams = [sample_order(seed=3, num_examples=96, start=start, num_samples=32) for start in (0, 32)]
    for step in range(4):
        samples = [sample for stream in streams for sample in stream[8 * step : 8 * step + 8]]
        compute_gradients(model, optimizer, collate([dataset[s] for s in samples]), task.loss, where="")
        rate = 1e-3 * (1 + math.cos(math.pi * step / 4)) / 2
        apply_gradients(optimizer, learning_rate=rate, gradient_clip=None)

    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(parameters(together)[name], tensor, rtol=1e-5, atol=1e-7)


# Each way is stopped in the middle, and three of them at every round.
STOPS = [*((way, 2) for way in WAYS), *((way, round_) for way in list(WAYS)[:3] for round_ in (1, 3))]


@pytest.mark.parametrize(("way", "round_"), STOPS)
def test_a_stopped_training_goes_on_to_the_same_bits(
    train_tiny: Train, tmp_path: Path, way: str, round_: int
) -> None:
    unbroken = train_tiny(rounds=4, folder=tmp_path / "unbroken", **WAYS[way])
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train_tiny(rounds=4, folder=folder, observer=StopAfter(round_), **WAYS[way])
    observer = SilentObserver()

    resumed = train_tiny(rounds=4, folder=folder, observer=observer, **WAYS[way])

    assert_same_model(resumed, unbroken)
    assert resumed.metrics == unbroken.metrics
    assert resumed.samples == unbroken.samples
    assert resumed.num_optimizer_resets == 0
    # The next round was on its way when the training was stopped.
    assert resumed.num_lost_updates >= 2
    assert [line["round"] for line in resumed.curve] == [1, 2, 3, 4]
    assert check_samples(folder) == []


def test_a_finished_training_is_not_repeated(train_tiny: Train) -> None:
    first = train_tiny()
    observer = SilentObserver()

    second = train_tiny(observer=observer, engine=None)

    assert second == first
    assert observer.rounds == []


def test_a_lost_optimizer_state_is_said_and_the_training_goes_on(train_tiny: Train, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder=folder, observer=StopAfter(1))
    for path in (folder / "spill").glob("learner-0001-*"):
        path.unlink()
    observer = SilentObserver()

    result = train_tiny(folder=folder, observer=observer)

    assert result.num_optimizer_resets == 1
    assert any("learner 1 began round 2 with a new optimizer" in notice for notice in observer.notices)


def test_a_damaged_checkpoint_costs_one_round_and_no_sample(train_tiny: Train, tmp_path: Path) -> None:
    unbroken = train_tiny(rounds=4, folder=tmp_path / "unbroken")
    folder = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        train_tiny(rounds=4, folder=folder, observer=StopAfter(3))
    newest = max((folder / "checkpoints").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1])
    observer = SilentObserver()

    resumed = train_tiny(rounds=4, folder=folder, observer=observer)

    assert_same_model(resumed, unbroken)
    assert check_samples(folder) == []
    assert "round-000003 is damaged" in observer.notices[0]


def test_lines_that_a_crash_kept_back_are_mended(train_tiny: Train, tmp_path: Path) -> None:
    folder = tmp_path / "train"
    unbroken = train_tiny(folder=tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder=folder, observer=StopAfter(2))
    for name in ("accepted.jsonl", "rounds.jsonl"):
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join(lines[:-1]) + lines[-1][:10])

    resumed = train_tiny(folder=folder)

    assert_same_model(resumed, unbroken)
    assert len(read_accepted(folder)) == 6
    assert [line["round"] for line in resumed.curve] == [1, 2, 3]
    assert check_samples(folder) == []


# Each way loses a learner, and four of them meet everything.
TROUBLES = [
    *((way, "lost") for way in WAYS),
    *((way, trouble) for way in list(WAYS)[:4] for trouble in ("failed", "twice", "late")),
]


@pytest.mark.parametrize(("way", "trouble"), TROUBLES)
def test_trouble_with_a_learner_does_not_change_the_model(
    train_tiny: Train, tmp_path: Path, trouble: str, way: str
) -> None:
    unbroken = train_tiny(folder=tmp_path / "unbroken", **WAYS[way])
    observer = SilentObserver()
    folder = tmp_path / "troubled"

    engine = FlakyEngine({1: trouble, 4: trouble})
    result = train_tiny(folder=folder, engine=engine, observer=observer, **WAYS[way])

    assert_same_model(result, unbroken)
    assert check_samples(folder) == []
    gang = 2 if way == "sync" else 1
    assert result.num_lost_updates == (0 if trouble == "twice" else 2 * gang)
    assert (len(observer.notices) > 0) == (trouble != "twice")


class InterruptedEngine(InProcessEngine):
    """Ctrl-C while the first round is on its way."""

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        if any(isinstance(happened, LearnerUpdate) for happened in super().wait(timeout_seconds)):
            raise KeyboardInterrupt
        return [PlaceFound(learner=0), PlaceFound(learner=1)]


def test_attempts_that_ended_before_the_first_checkpoint_are_counted_as_lost(
    train_tiny: Train, tmp_path: Path
) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_tiny(engine=InterruptedEngine())

    result = train_tiny()

    assert result.num_lost_updates == 2 * 2
    assert len(read_json_lines(tmp_path / "train" / "started.jsonl")) == 2 * 2 + 2 * 3


def test_a_metric_that_is_undefined_is_a_gap_in_the_curve_and_is_said(train_tiny: Train) -> None:
    observer = SilentObserver()

    result = train_tiny(task="HalfUndefined", observer=observer)

    assert list(result.metrics) == ["accuracy"]
    assert "round 1: f1 is nan, and is left out" in observer.notices


def test_a_learner_that_always_fails_ends_the_training_with_the_reason(train_tiny: Train) -> None:
    engine = FlakyEngine(dict.fromkeys(range(1, 50), "failed"))

    with pytest.raises(LearnersLostError, match="in 2 attempts; the last time: connection closed"):
        train_tiny(engine=engine, max_attempts=2)


@pytest.mark.parametrize(
    ("task", "error"),
    [
        ("Empty", EmptyDatasetError),
        ("Exploding", NonFiniteLossError),
        ("Raising", TaskFailedError),
        ("Vector", LossShapeError),
        ("BadMetrics", TaskFailedError),
    ],
)
def test_the_tasks_own_defects_are_the_users_errors(
    train_tiny: Train, task: str, error: type[UserError]
) -> None:
    with pytest.raises(error):
        train_tiny(task=task)


def test_a_loss_that_is_nan_names_round_learner_and_step(train_tiny: Train) -> None:
    with pytest.raises(NonFiniteLossError, match="round 1, learner 0, step 1"):
        train_tiny(task="Exploding")


def test_too_few_examples_are_refused(train_tiny: Train) -> None:
    with pytest.raises(TooFewExamplesError, match="96 training examples"):
        train_tiny(batch_size=64)


def test_a_changed_model_is_not_resumed(train_tiny: Train) -> None:
    train_tiny()

    with pytest.raises(ChangedModelError, match=r"0\.weight"):
        train_tiny(task="Wider")


def test_a_changed_configuration_is_not_resumed_but_its_pace_may_change(train_tiny: Train) -> None:
    train_tiny()

    train_tiny(round_deadline_seconds=None, max_attempts=9)
    with pytest.raises(ChangedTrainingError, match="another seed"):
        train_tiny(learning_rate=0.5)


def test_the_callers_random_numbers_are_left_alone(train_tiny: Train) -> None:
    torch.manual_seed(5)
    np.random.seed(5)
    expected = torch.rand(2), np.random.rand()
    torch.manual_seed(5)
    np.random.seed(5)

    train_tiny()

    assert torch.equal(torch.rand(2), expected[0])
    assert np.random.rand() == expected[1]


def test_bytes_are_counted_as_they_travel(train_tiny: Train, tmp_path: Path) -> None:
    exact = train_tiny(codec="fp32", folder=tmp_path / "exact")
    small = train_tiny(codec="int8", download_codec="int8", folder=tmp_path / "small")

    travelling = (74 + 16) * 4  # parameters, and the two float buffers of the BatchNorm
    # The first model is built by the learners themselves; frames add their headers.
    assert 3 * 2 * travelling < exact.bytes_up < 3 * 2 * (travelling + 400)
    assert 2 * 2 * travelling < exact.bytes_down < 2 * 2 * (travelling + 400)
    assert exact.bytes_sent == exact.bytes_up + exact.bytes_down
    assert exact.bytes_up - small.bytes_up > 3 * 2 * travelling / 2
    assert exact.bytes_down - small.bytes_down > 2 * 2 * travelling / 2


class LyingEngine(InProcessEngine):
    """Learner 1 sends nonsense instead of what it learned."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind

    def wait(self, timeout_seconds: float) -> list[EngineEvent]:
        return [self._changed(happened) for happened in super().wait(timeout_seconds)]

    def _changed(self, happened: EngineEvent) -> EngineEvent:
        if not isinstance(happened, LearnerUpdate) or happened.learner != 1:
            return happened
        match self._kind:
            case "nan":
                return replace(happened, frames=_nan_frames())
            case "truncated":
                return replace(happened, frames=[frame[:-1] for frame in happened.frames])
            case "too few":
                return replace(happened, frames=[])
            case _:
                return replace(happened, start=happened.start + 8)


def _nan_frames() -> list[np.ndarray]:
    task = TaskReference(module_path=Path(__file__).with_name("tiny_task.py"), object_name="Tiny").load()
    replica = make_replica(task, TrainConfig(), seed=3)
    chunks = make_chunks(make_manifest(replica.arrays()))
    return [make_frame([np.full(num_elements(chunk), np.nan, np.float32)], chunk, "fp32") for chunk in chunks]


@pytest.mark.parametrize("kind", ["nan", "truncated", "too few", "other examples"])
def test_a_learner_that_sends_nonsense_is_left_out_and_changes_nothing(
    train_tiny: Train, tmp_path: Path, kind: str
) -> None:
    observer = SilentObserver()

    result = train_tiny(
        learners=3, quorum=2, grace_seconds=0.0, engine=LyingEngine(kind), observer=observer, codec="fp32"
    )

    assert result.metrics["accuracy"] > 0.5
    assert all(torch.isfinite(tensor.float()).all() for tensor in parameters(result).values())
    assert {update.learner for update in read_accepted(tmp_path / "train")} == {0, 2}
    assert any("of learner 1 in round 1 was refused" in notice for notice in observer.notices)
    assert check_samples(tmp_path / "train") == []


def test_a_robust_rule_reckons_with_a_refused_update_and_needs_no_quorum(
    train_tiny: Train, tmp_path: Path
) -> None:
    rule = AggregationConfig(rule="multi_krum", num_faulty=1)

    result = train_tiny(learners=5, batch_size=4, engine=LyingEngine("nan"), aggregation=rule)

    assert result.num_updates == 4 * 3
    assert {update.learner for update in read_accepted(tmp_path / "train")} == {0, 2, 3, 4}


def test_nonsense_without_a_quorum_ends_the_training_with_the_reason(train_tiny: Train) -> None:
    with pytest.raises(LearnersLostError, match=r"in 2 attempts; the last time: .*value nan"):
        train_tiny(engine=LyingEngine("nan"), max_attempts=2)


@pytest.mark.parametrize(
    "rule", ["trimmed_mean", "median", "krum", "multi_krum", "geometric_median", "centered_clip"]
)
def test_every_rule_trains_and_resumes(train_tiny: Train, tmp_path: Path, rule: str) -> None:
    changes = {"learners": 5, "batch_size": 4, "aggregation": AggregationConfig(rule=rule, num_faulty=1)}
    unbroken = train_tiny(folder=tmp_path / "unbroken", **changes)
    with pytest.raises(KeyboardInterrupt):
        train_tiny(folder=tmp_path / "broken", observer=StopAfter(2), **changes)

    resumed = train_tiny(folder=tmp_path / "broken", **changes)

    assert_same_model(resumed, unbroken)


def test_a_checkpoint_names_what_it_added(train_tiny: Train, tmp_path: Path) -> None:
    train_tiny()

    newest = max((tmp_path / "train" / "checkpoints").glob("*.json"))
    state = json.loads(newest.read_text())

    assert state["round"] == 3
    assert [update["learner"] for update in state["last_updates"]] == [0, 1]

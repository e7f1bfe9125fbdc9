"""Keras on TensorFlow. The same tests pass on torch: KERAS_BACKEND=torch."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import nn

from ayni.task import TaskFailedError, TaskReference
from ayni.train.config import TrainConfig
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.initial import InitialWeightsError
from ayni.train.learner import make_replica
from ayni.train.local import LossShapeError, NonFiniteLossError
from ayni.train.named_arrays import ChangedModelError
from ayni.train.result import SilentObserver, TrainResult
from ayni.train.strategy_config import AdapterConfig, StreamingConfig
from ayni.train.torch_replica import TorchReplica
from ayni.train.training import train

if TYPE_CHECKING:
    from ayni.train.keras_replica import KerasReplica

pytestmark = pytest.mark.keras
TASK = Path(__file__).with_name("keras_task.py")
SMALL: dict[str, Any] = {"learners": 2, "rounds": 2, "local_steps": 3, "batch_size": 8}


def task(name: str) -> TaskReference:
    return TaskReference(module_path=TASK, object_name=name)


def replica(name: str = "TinyKeras", *, init_path: Path | None = None, **changes: Any) -> "KerasReplica":
    config = TrainConfig(**{**SMALL, **changes})
    return make_replica(task(name).load(), config, seed=3, init_path=init_path)  # type: ignore[return-value]


def steps(found: Any, name: str = "TinyKeras", count: int = 3, *, seed: int = 5) -> list[float]:
    examples = task(name).load().dataset("train")
    found.begin_round(seed)
    batches = [found.batch(examples[8 * step :][:8]) for step in range(count)]
    return [found.step(batch, learning_rate=0.01, where="a test") for batch in batches]


def copies(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in arrays.items()}


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_a_step_is_the_one_that_torch_takes() -> None:
    keras_replica = replica("Plain", gradient_clip=0.1, weight_decay=0.1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    kernel_0, bias_0, kernel_1, bias_1 = keras_replica.arrays().values()
    values = [kernel_0.T, bias_0, kernel_1.T, bias_1]
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), values, strict=True):
            parameter.copy_(torch.from_numpy(value.copy()))

    class InTorch:
        def loss(self, model: Any, batch: Any) -> torch.Tensor:
            return nn.functional.cross_entropy(model(batch[0]), batch[1])

    config = TrainConfig(**SMALL, gradient_clip=0.1, weight_decay=0.1)
    torch_replica = TorchReplica(InTorch(), model, config, seed=3)  # type: ignore[arg-type]

    losses = steps(keras_replica, "Plain", count=6), steps(torch_replica, "Plain", count=6)

    # Keras adds epsilon before the moments are corrected for their start from zero, torch after it.
    np.testing.assert_allclose(*losses, rtol=1e-4)
    for of_keras, of_torch in zip(
        keras_replica.arrays().values(), torch_replica.arrays().values(), strict=True
    ):
        np.testing.assert_allclose(of_keras, of_torch.T, atol=3e-4)


def test_every_process_gives_the_same_names_and_weights() -> None:
    first, second = replica(), replica()

    assert first.digest() == second.digest()
    assert list(first.arrays()) == [
        "000.dense.kernel",
        "001.batch_normalization.gamma",
        "002.batch_normalization.beta",
        "003.batch_normalization.moving_mean",
        "004.batch_normalization.moving_variance",
        "005.dense.kernel",
        "006.dense.bias",
    ]
    assert first.buffer_names == {name for name in first.arrays() if "moving" in name}
    assert first.num_parameters == 4 * 8 + 8 + 8 + 8 * 2 + 2


def test_frozen_weights_and_integers_do_not_travel() -> None:
    assert [name[4:] for name in replica("HalfFrozen").arrays()] == ["dense.kernel", "dense.bias"]
    assert replica("HalfFrozen").num_parameters == replica().num_parameters


def test_of_an_adapted_layer_only_the_adapter_travels() -> None:
    shapes = {name[4:]: array.shape for name, array in replica("Adapted").arrays().items()}

    assert (shapes["dense.lora_kernel_a"], shapes["dense.lora_kernel_b"]) == ((4, 2), (2, 8))
    assert shapes["dense.kernel"] == (8, 2)
    assert replica("Adapted").buffer_names == frozenset()


def test_tensorflow_takes_as_many_threads_as_torch() -> None:
    pytest.importorskip("tensorflow")
    # In a process of its own: TensorFlow takes the number with its first operation, whose-ever that is.
    program = (
        "import torch, tensorflow;"
        "torch.set_num_threads(1);"
        "from ayni.train.keras_building import limit_threads;"
        "limit_threads();"
        "print('threads', tensorflow.config.threading.get_intra_op_parallelism_threads())"
    )

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    # Its own choice would be 0, which is all cores.
    assert found.stdout.splitlines()[-1] == "threads 1"


def test_a_weight_that_is_used_twice_travels_once() -> None:
    assert len(replica("Tied").arrays()) == 4


def test_arrays_that_were_set_are_copied() -> None:
    found = replica("Plain")
    arrays = copies(found.arrays())
    given = copies(arrays)

    found.set_arrays(given)
    for array in given.values():
        array.fill(7)
    steps(found, "Plain", 1)
    found.set_arrays(arrays)

    assert_same(found.arrays(), arrays)


def test_a_round_that_is_tried_again_computes_the_same() -> None:
    found = replica()
    base = copies(found.arrays())
    first = steps(found), copies(found.arrays())

    found.set_arrays(base)
    found.new_optimizer()
    second = steps(found), found.arrays()

    assert first[0] == second[0]
    assert_same(first[1], second[1])
    found.set_arrays(base)
    assert steps(found, seed=6) != first[0]


def test_an_optimizer_goes_on_where_another_one_stopped() -> None:
    first, second = replica(), replica()
    steps(first)
    second.set_arrays(first.arrays())

    assert second.set_optimizer_arrays(copies(first.optimizer_arrays()))

    assert steps(first) == steps(second)
    assert_same(first.arrays(), second.arrays())


def test_the_optimizer_of_another_model_is_refused() -> None:
    found, other = replica(), replica("Plain")
    steps(found)
    before = copies(found.optimizer_arrays())

    assert not found.set_optimizer_arrays(other.optimizer_arrays())

    assert_same(found.optimizer_arrays(), before)


@pytest.mark.parametrize("change", ["name", "shape"])
def test_arrays_of_another_model_are_refused(change: str) -> None:
    name = "nobody" if change == "name" else "000.dense.kernel"

    with pytest.raises(ChangedModelError, match=name):
        replica("Plain").set_arrays({name: np.zeros((3, 3), np.float32)})


def test_the_loss_knows_whether_the_model_trains() -> None:
    found = replica()
    before = copies(found.arrays())
    examples = task("TinyKeras").load().dataset("validation")
    found.begin_round(1)

    metrics, loss = found.evaluate(examples), found.mean_loss(examples)

    assert 0 <= metrics["accuracy"] <= 1
    assert 0 < loss < 5
    assert_same(found.arrays(), before)  # running means did not move
    steps(found, count=1)
    assert (found.arrays()["003.batch_normalization.moving_mean"] != 0).any()


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("Vector", LossShapeError, r"\(8, 2\).*keras.ops.mean"),
        ("Constant", LossShapeError, "does not depend"),
        ("Raising", TaskFailedError, r"KeyError: 'label' \(keras_task.py, line"),
        ("Exploding", NonFiniteLossError, "nan in a test"),
    ],
)
def test_what_is_wrong_with_a_loss_is_said(name: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        steps(replica(name), name, 1)


def test_metrics_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(TaskFailedError, match="evaluate"):
        replica("BadMetrics").evaluate(task("Plain").load().dataset("validation"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"strategy": "sync"}, "train.strategy sync .* diloco"),
        ({"adapter": AdapterConfig()}, "train.adapter .* enable_lora"),
        ({"device": "cuda"}, "train.device cuda .* auto"),
    ],
)
def test_what_keras_cannot_do_is_refused_with_a_remedy(changes: dict[str, Any], says: str) -> None:
    from ayni.train.keras_replica import UnsupportedByKerasError

    with pytest.raises(UnsupportedByKerasError, match=says):
        replica(**changes)


def test_other_threads_that_draw_do_not_change_the_first_weights() -> None:
    before, is_over = replica().digest(), threading.Event()

    def draw() -> None:
        while not is_over.is_set():
            random.random()

    drawing = threading.Thread(target=draw)
    drawing.start()
    try:
        assert {replica().digest() for _ in range(3)} == {before}
    finally:
        is_over.set()
        drawing.join()


def test_a_saved_model_can_be_used_without_ayni(tmp_path: Path) -> None:
    found = replica()
    steps(found)
    inputs = np.ones((2, 4), np.float32)

    found.save(tmp_path / "model.safetensors")
    import keras

    model = task("TinyKeras").load().build_model()
    model(inputs)
    weights = load_file(tmp_path / "model.safetensors")
    model.set_weights([weights[name] for name in sorted(weights)])

    answers = [keras.ops.convert_to_numpy(each(inputs)) for each in (model, found.model)]
    np.testing.assert_array_equal(*answers)


def test_training_starts_from_the_weights_that_fit(tmp_path: Path) -> None:
    kernel = np.full((4, 8), 0.5, np.float32)
    save_file({"000.dense.kernel": kernel, "head": kernel}, tmp_path / "first.safetensors")

    found = replica(init_path=tmp_path / "first.safetensors")

    assert_same({"kernel": found.arrays()["000.dense.kernel"]}, {"kernel": kernel})


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_file({"head": np.zeros(3, np.float32)}, tmp_path / "first.safetensors")

    with pytest.raises(InitialWeightsError, match=r"1 arrays, and none fits .* 000\.dense\.kernel"):
        replica(init_path=tmp_path / "first.safetensors")


def trained(folder: Path, **changes: Any) -> TrainResult:
    return train(
        task("TinyKeras"),
        TrainConfig(**{**SMALL, **changes}),
        seed=3,
        folder=folder,
        spill_folder=folder / "spill",
        engine=InProcessEngine(),
        observer=SilentObserver(),
    )


@pytest.mark.parametrize("strategy", ["diloco", "streaming", "async"])
def test_learners_train_a_keras_model_together(strategy: str, tmp_path: Path) -> None:
    result = trained(tmp_path, strategy=strategy, streaming=StreamingConfig(fragments=2))

    assert result.num_parameters == replica().num_parameters
    assert 0 <= result.metrics["accuracy"] <= 1
    assert len(load_file(result.model_path)) == 7


@pytest.mark.slow
def test_the_same_holds_on_the_backend_torch() -> None:
    command = [sys.executable, "-m", "pytest", str(Path(__file__)), "-m", "keras and not slow"]
    environment = {**os.environ, "KERAS_BACKEND": "torch"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-3000:]

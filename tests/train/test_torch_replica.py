from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from ayni.files import NotWritableError
from ayni.task import TaskFailedError
from ayni.train.config import TrainConfig
from ayni.train.replica import Replica
from ayni.train.torch_replica import TorchReplica


class TiedTask:
    """Tied weights, a counter, a frozen layer and half precision."""

    def build_model(self) -> nn.Module:
        torch.manual_seed(0)
        model = nn.Module()
        model.embedding = nn.Embedding(6, 4)
        model.norm = nn.BatchNorm1d(4)
        model.frozen = nn.Linear(4, 4).requires_grad_(False)
        model.head = nn.Linear(4, 6, bias=False)
        model.head.weight = model.embedding.weight
        model.narrow = nn.Parameter(torch.ones(3, dtype=torch.bfloat16))
        return model

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        hidden = model.frozen(model.norm(model.embedding(batch)))
        return nn.functional.cross_entropy(model.head(hidden), batch) + model.narrow.float().square().sum()

    def evaluate(self, model: Any, batches: Any) -> dict[str, float]:
        return {"loss": float(torch.stack([self.loss(model, batch) for batch in batches]).mean())}


def replica_of(**changes: Any) -> TorchReplica:
    task: Any = TiedTask()
    return TorchReplica(task, task.build_model(), TrainConfig(**changes), seed=1)


def batch_of(replica: Replica) -> Any:
    return replica.batch([0, 1, 2, 3])


def test_it_fulfils_the_port() -> None:
    replica: Replica = replica_of()

    assert set(replica.arrays()) == {
        "embedding.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "narrow"
    }  # fmt: skip
    assert replica.buffer_names == {"norm.running_mean", "norm.running_var"}
    assert replica.num_parameters == 24 + 8 + 20 + 3


def test_an_optimizer_that_goes_on_from_its_arrays_takes_the_same_step() -> None:
    one, other = replica_of(), replica_of()
    one.step(batch_of(one), learning_rate=0.1, where="here")
    arrays = {name: array.copy() for name, array in one.optimizer_arrays().items()}

    fits = other.set_optimizer_arrays(arrays)
    other.set_arrays(one.arrays())
    for replica in (one, other):
        replica.step(batch_of(replica), learning_rate=0.1, where="here")

    assert fits
    assert all(np.array_equal(array, other.arrays()[name]) for name, array in one.arrays().items())


def test_optimizer_arrays_of_another_model_are_not_taken() -> None:
    replica = replica_of()
    replica.step(batch_of(replica), learning_rate=0.1, where="here")

    assert not replica.set_optimizer_arrays({"0.exp_avg": np.zeros((9, 9), np.float32)})
    assert replica.optimizer_arrays()["0.step"] == 1


def test_a_round_begins_with_the_counters_as_built_and_with_known_random_numbers() -> None:
    replica = replica_of()
    replica.begin_round(5)
    drawn = torch.rand(3)
    replica.step(batch_of(replica), learning_rate=0.1, where="here")
    counted = int(replica.model.norm.num_batches_tracked)

    replica.begin_round(5)

    assert counted == 1
    assert int(replica.model.norm.num_batches_tracked) == 0
    assert torch.equal(torch.rand(3), drawn)


def test_the_file_holds_the_whole_model_with_its_own_dtypes(tmp_path: Path) -> None:
    replica = replica_of()

    replica.save(tmp_path / "folder" / "model.safetensors")

    state = safetensors.torch.load_file(tmp_path / "folder" / "model.safetensors")
    twin = TiedTask().build_model()
    twin.load_state_dict(state, strict=True)
    assert state["narrow"].dtype == torch.bfloat16
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["model.safetensors"]


def test_a_file_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").mkdir()

    with pytest.raises(NotWritableError, match=r"model\.safetensors"):
        replica_of().save(tmp_path / "model.safetensors")
    assert len(list(tmp_path.iterdir())) == 1


def test_examples_that_make_no_batch_are_the_tasks_error() -> None:
    with pytest.raises(TaskFailedError, match="dataset"):
        replica_of().batch([torch.zeros(2), torch.zeros(3)])


def test_metrics_are_taken_without_the_callers_random_numbers() -> None:
    replica = replica_of()
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)

    metrics = replica.evaluate([0, 1, 2])

    assert list(metrics) == ["loss"]
    assert torch.equal(torch.rand(1), expected)


def test_the_digest_covers_frozen_weights_too() -> None:
    one, other = replica_of(), replica_of()
    same = one.digest() == other.digest()

    with torch.no_grad():
        other.model.frozen.bias[0] += 1e-6

    assert same
    assert one.digest() != other.digest()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_arrays_and_optimizer_leave_the_device_and_return(tmp_path: Path) -> None:
    replica, twin = replica_of(device="cuda"), replica_of(device="cuda")
    replica.step(batch_of(replica), learning_rate=0.1, where="here")

    twin.set_arrays(replica.arrays())
    fits = twin.set_optimizer_arrays(replica.optimizer_arrays())
    twin.save(tmp_path / "model.safetensors")

    assert fits
    assert twin.model.norm.weight.device.type == "cuda"
    assert all(np.array_equal(array, twin.arrays()[name]) for name, array in replica.arrays().items())


def test_a_tied_embedding_is_an_embedding_once() -> None:
    assert replica_of().embedding_names == {"embedding.weight"}

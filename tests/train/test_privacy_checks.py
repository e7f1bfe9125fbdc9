"""What breaks the guarantee is refused, by name where it is a layer and by experiment where it is not."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ayni.task import Task, TaskReference
from ayni.train.learner import build_model
from ayni.train.privacy_accounting import PrivacyTargetError

pytest.importorskip("opacus")

from ayni.train.privacy_checks import UnsafeLayerError, check_examples_apart, check_layers
from ayni.train.private_gradients import NotPerExampleError

TASKS = Path(__file__).with_name("private_tasks.py")


def load(name: str) -> Task:
    return TaskReference(module_path=TASKS, object_name=name).load()


def check(name: str) -> None:
    task = load(name)
    model = build_model(task, seed=0)
    check_examples_apart(task, model, task.dataset("train"), device="cpu", seed=1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.BatchNorm2d(4), r"1 \(BatchNorm2d\).*use nn.GroupNorm"),
        (nn.BatchNorm1d(4, affine=False), r"1 \(BatchNorm1d\)"),
        (nn.SyncBatchNorm(4), "SyncBatchNorm"),
        (nn.InstanceNorm2d(4, affine=True, track_running_stats=True), "track_running_stats=False"),
        (nn.LSTM(4, 4), "opacus.layers.DPLSTM"),
        (nn.MultiheadAttention(4, 2), "opacus.layers.DPMultiheadAttention"),
    ],
)
def test_layers_that_break_the_guarantee_are_named_with_a_remedy(layer: nn.Module, message: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), layer, nn.Linear(4, 2))

    with pytest.raises(UnsafeLayerError, match=message) as caught:
        check_layers(model)

    assert [name for name, _, _ in caught.value.layers] == ["1"]


def test_a_layer_with_parameters_and_buffers_of_its_own_is_named() -> None:
    with pytest.raises(UnsafeLayerError, match=r"the model \(_WithBuffer\)"):
        check_layers(load("WithBuffer").build_model())


def test_layers_that_keep_examples_apart_pass() -> None:
    check_layers(nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.InstanceNorm2d(4)))


@pytest.mark.parametrize("name", ["Plain", "Apart", "HalfFrozen"])
def test_random_augmentation_of_single_examples_and_dropout_pass(name: str) -> None:
    check(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Mixed", "changed the gradient of 0.weight for those that stayed"),
        ("Contrastive", "for those that stayed"),
        ("HandMade", "changed the gradient of linear.weight"),
        ("Frozen", "for those that stayed"),
        ("Following", "the buffer mean follows the data"),
        ("Tied", "first.weight by example do not add up"),
        ("Flattened", "saw 6 examples in a batch of 3"),
    ],
)
def test_whatever_mixes_examples_is_found_by_experiment(name: str, message: str) -> None:
    with pytest.raises(NotPerExampleError, match=message):
        check(name)


def test_too_few_examples_are_refused_and_random_generators_left_alone() -> None:
    task = load("Plain")
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)

    with pytest.raises(PrivacyTargetError, match="more than 3"):
        check_examples_apart(task, task.build_model(), task.dataset("train")[:3], device="cpu", seed=0)

    torch.manual_seed(1)
    check("Plain")
    assert torch.equal(torch.rand(1), expected)

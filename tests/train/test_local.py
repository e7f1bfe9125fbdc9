import math
from typing import NamedTuple

import pytest
import torch
from torch import nn

from ayni.task import TaskFailedError
from ayni.train.local import (
    LossShapeError,
    NonFiniteLossError,
    NoSuchDeviceError,
    apply_gradients,
    batches,
    compute_gradients,
    make_optimizer,
    one_thread,
    resolve_device,
    run_steps,
    to_device,
)


def mean_square(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = model(batch).square().mean()
    return result


def test_batches_keep_order_and_the_last_may_be_smaller() -> None:
    dataset = [(torch.full((2,), float(i)), i) for i in range(5)]

    labels = [batch[1].tolist() for batch in batches(dataset, 2)]
    chosen = [batch[1].tolist() for batch in batches(dataset, 2, indices=[4, 0, 2])]

    assert labels == [[0, 1], [2, 3], [4]]
    assert chosen == [[4, 0], [2]]


def test_steps_lower_the_loss() -> None:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    optimizer = make_optimizer(model, learning_rate=0.1, weight_decay=0.0)

    losses = run_steps(model, optimizer, [torch.ones(4, 3)] * 20, mean_square, learning_rate_at=lambda _: 0.1)

    assert losses[-1] < losses[0]


def test_a_long_gradient_is_clipped_to_the_norm() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = torch.cat([p.detach().flatten() for p in model.parameters()])
    compute_gradients(model, optimizer, 1e3 * torch.ones(1, 3), mean_square, where="here")

    apply_gradients(optimizer, learning_rate=0.5, gradient_clip=2.0)

    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert math.isclose(float((after - before).norm()), 1.0, rel_tol=1e-4)


def test_a_loss_that_is_not_finite_names_the_place_and_a_lower_rate() -> None:
    model = nn.Linear(3, 1)
    optimizer = make_optimizer(model, learning_rate=0.01, weight_decay=0.0)

    with pytest.raises(
        NonFiniteLossError, match=r"nan in round 3, learner 1, step 2, at a learning rate of 0\.01"
    ):
        compute_gradients(
            model,
            optimizer,
            torch.full((1, 3), float("nan")),
            mean_square,
            where="round 3, learner 1, step 2",
        )


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda model, batch: model(batch), "expected a scalar: return loss.mean"),
        (lambda model, batch: 1.0, "returned float"),
        (lambda model, batch: model(batch).mean().detach(), "does not depend on the parameters"),
    ],
)
def test_a_loss_of_the_wrong_form_is_explained(loss: object, message: str) -> None:
    model = nn.Linear(3, 1)
    optimizer = make_optimizer(model, learning_rate=0.01, weight_decay=0.0)

    with pytest.raises(LossShapeError, match=message):
        compute_gradients(model, optimizer, torch.ones(2, 3), loss, where="here")  # type: ignore[arg-type]


def test_an_error_in_the_task_keeps_its_name() -> None:
    model = nn.Linear(3, 1)
    optimizer = make_optimizer(model, learning_rate=0.01, weight_decay=0.0)

    with pytest.raises(TaskFailedError, match="loss raised ZeroDivisionError"):
        compute_gradients(model, optimizer, None, lambda m, b: 1 / 0, where="here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_an_absent_device_is_refused_and_auto_falls_back_to_what_is_there() -> None:
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in ("cpu", "mps")
    with pytest.raises(NoSuchDeviceError, match="device: auto"):
        resolve_device("cuda")


class Pair(NamedTuple):
    image: torch.Tensor
    names: list[str]


def test_moving_a_batch_keeps_its_form() -> None:
    batch = {"pair": Pair(torch.ones(2), ["a", "b"]), "rest": [torch.ones(1), 3]}

    moved = to_device(batch, torch.device("meta"))

    assert moved["pair"].image.device.type == "meta"
    assert moved["pair"].names == ["a", "b"]
    assert moved["rest"][1] == 3


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()

    with one_thread():
        inside = torch.get_num_threads()

    assert (inside, torch.get_num_threads()) == (1, before)

import numpy as np
import pytest
import torch

from ayni.train.diloco import OuterState, mean_update, outer_step


def test_the_outer_step_is_torch_sgd_with_nesterov_momentum() -> None:
    rng = np.random.default_rng(0)
    state = OuterState({"w": rng.normal(size=(3, 2))})
    oracle = torch.nn.Parameter(torch.from_numpy(state.parameters["w"].copy()))
    sgd = torch.optim.SGD([oracle], lr=0.7, momentum=0.9, nesterov=True)

    for _ in range(5):
        delta = rng.normal(size=(3, 2))
        state = outer_step(state, {"w": delta}, learning_rate=0.7, momentum=0.9)
        oracle.grad = torch.from_numpy(delta)
        sgd.step()

    np.testing.assert_allclose(state.parameters["w"], oracle.detach().numpy(), rtol=1e-12)


def test_without_momentum_and_with_rate_one_the_result_is_the_mean_of_the_learners() -> None:
    base = np.array([1.0, 2.0])
    locals_ = [np.array([0.0, 4.0]), np.array([3.0, 1.0])]
    updates = [{"w": base - local} for local in locals_]

    state = outer_step(OuterState({"w": base}), mean_update(updates, [1, 3]), learning_rate=1.0, momentum=0.0)

    np.testing.assert_allclose(state.parameters["w"], locals_[0] / 4 + locals_[1] * 3 / 4)


def test_buffers_are_averaged_without_momentum() -> None:
    state = OuterState({"variance": np.array([1.0])})

    for _ in range(3):
        delta = {"variance": state.parameters["variance"] - np.array([0.1])}
        state = outer_step(state, delta, learning_rate=0.7, momentum=0.9, plain_names=frozenset({"variance"}))

    np.testing.assert_allclose(state.parameters["variance"], [0.1])
    assert state.momentum == {}


def test_what_the_update_does_not_name_stays_and_the_old_state_is_untouched() -> None:
    before = OuterState({"w": np.array([1.0]), "frozen": np.array([5.0])})

    after = outer_step(before, {"w": np.array([0.5])}, learning_rate=1.0, momentum=0.9)

    assert after.parameters["frozen"] is before.parameters["frozen"]
    assert before.parameters["w"] == 1.0


def test_updates_without_examples_cannot_be_averaged() -> None:
    with pytest.raises(ValueError, match="cannot average"):
        mean_update([{"w": np.zeros(1)}], [0])

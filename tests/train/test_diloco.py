import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.diloco import Nesterov, nesterov_step_, plain_step_
from ayni.train.layout import Chunk, make_chunks, take_chunk
from ayni.train.named_arrays import NamedArrays, make_manifest


def random_arrays(seed: int) -> NamedArrays:
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"w": (7, 5), "scale": (), "b": (3,)}
    return {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}


def chunks_of(arrays: NamedArrays) -> tuple[Chunk, ...]:
    return make_chunks(make_manifest(arrays), max_elements=8)


@pytest.mark.parametrize("size", [1, 7, 2**15, 2**15 + 1, 100_000])
def test_the_outer_step_is_torch_sgd_with_nesterov_momentum(size: int) -> None:
    rng = np.random.default_rng(0)
    theta, momentum = rng.normal(size=size), np.zeros(size)
    oracle = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    sgd = torch.optim.SGD([oracle], lr=0.7, momentum=0.9, nesterov=True)

    for _ in range(4):
        delta = rng.normal(size=size)
        nesterov_step_(theta, momentum, delta, learning_rate=0.7, momentum=0.9)
        oracle.grad = torch.from_numpy(delta)
        sgd.step()

    np.testing.assert_allclose(theta, oracle.detach().numpy(), rtol=1e-10, atol=1e-12)


@given(rate=st.floats(0.1, 1), size=st.sampled_from([1, 40_000]))
def test_the_plain_step_is_gradient_descent(rate: float, size: int) -> None:
    theta, delta = np.linspace(-1, 1, size), np.linspace(3, 5, size)
    expected = theta - rate * delta

    plain_step_(theta, delta, learning_rate=rate)

    np.testing.assert_allclose(theta, expected)


def test_chunks_one_by_one_are_the_whole_model_at_once() -> None:
    whole, pieces = random_arrays(0), random_arrays(0)
    momenta = {name: np.zeros_like(array) for name, array in whole.items()}
    outer = Nesterov(learning_rate=0.7, momentum=0.9)

    for seed in (1, 2, 3):
        update = random_arrays(seed)
        for name in whole:
            flat = (array.reshape(-1) for array in (whole[name], momenta[name], update[name]))
            nesterov_step_(*flat, learning_rate=0.7, momentum=0.9)
        outer.begin()
        for chunk in chunks_of(pieces):
            outer.apply_(pieces, chunk, take_chunk(update, chunk))
        assert outer.end()

    for name in whole:
        np.testing.assert_allclose(pieces[name], whole[name], rtol=1e-6)
        np.testing.assert_allclose(outer.groups["momentum"][name], momenta[name], rtol=1e-6)


def test_without_momentum_and_with_rate_one_the_result_is_the_mean_of_the_learners() -> None:
    base, mean = random_arrays(0), random_arrays(1)
    update = {name: base[name] - mean[name] for name in base}
    outer = Nesterov(learning_rate=1.0, momentum=0.0)

    for chunk in chunks_of(base):
        outer.apply_(base, chunk, take_chunk(update, chunk))

    for name in base:
        np.testing.assert_allclose(base[name], mean[name], atol=1e-6)
    assert outer.groups == {"momentum": {}}


def test_buffers_are_averaged_without_momentum() -> None:
    arrays: NamedArrays = {"w": np.ones(2, "float32"), "variance": np.ones(2, "float32")}
    outer = Nesterov(learning_rate=0.7, momentum=0.9, plain_names=frozenset({"variance"}))
    (chunk,) = make_chunks(make_manifest(arrays))

    for _ in range(3):
        update = {"w": np.ones(2, "float32"), "variance": arrays["variance"] - np.float32(0.1)}
        outer.apply_(arrays, chunk, take_chunk(update, chunk))

    np.testing.assert_allclose(arrays["variance"], [0.1, 0.1], rtol=1e-6)
    assert list(outer.groups["momentum"]) == ["w"]


def test_a_fragment_moves_nothing_else() -> None:
    arrays, before = random_arrays(0), random_arrays(0)
    outer = Nesterov(learning_rate=0.7, momentum=0.9)

    for chunk in chunks_of({"w": arrays["w"]}):
        outer.apply_(arrays, chunk, take_chunk(before, chunk))

    np.testing.assert_array_equal(arrays["b"], before["b"])
    assert (arrays["w"] != before["w"]).all()


def test_an_update_that_cannot_be_written_to_is_fine() -> None:
    arrays, update = random_arrays(0), random_arrays(1)
    for array in update.values():
        array.flags.writeable = False
    outer = Nesterov(learning_rate=0.7, momentum=0.9)

    for chunk in chunks_of(arrays):
        outer.apply_(arrays, chunk, take_chunk(update, chunk))

    np.testing.assert_array_equal(update["w"], random_arrays(1)["w"])


def test_the_momentum_of_a_checkpoint_is_gone_on_with() -> None:
    unbroken, broken = random_arrays(0), random_arrays(0)
    first, second = Nesterov(learning_rate=0.7, momentum=0.9), Nesterov(learning_rate=0.7, momentum=0.9)

    for seed in (1, 2, 3):
        update = random_arrays(seed)
        for chunk in chunks_of(unbroken):
            first.apply_(unbroken, chunk, take_chunk(update, chunk))
            second.apply_(broken, chunk, take_chunk(update, chunk))
        state, groups = second.to_json(), second.groups
        second = Nesterov(learning_rate=0.7, momentum=0.9)
        second.load(state, groups)

    np.testing.assert_array_equal(unbroken["w"], broken["w"])

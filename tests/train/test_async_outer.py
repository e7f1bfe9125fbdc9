from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ayni.train.async_outer import DelayedNesterov, FedBuff
from ayni.train.layout import Chunk, make_chunks
from ayni.train.named_arrays import NamedArrays, make_manifest

SIZE = 5


def one_chunk(arrays: NamedArrays) -> Chunk:
    (chunk,) = make_chunks(make_manifest(arrays))
    return chunk


def push(
    outer: DelayedNesterov | FedBuff, arrays: NamedArrays, g: NDArray[np.float64], staleness: int = 0
) -> bool:
    outer.begin(staleness=staleness)
    outer.apply_(arrays, one_chunk(arrays), g)
    return outer.end()


def updates(count: int) -> list[NDArray[np.float64]]:
    return list(np.random.default_rng(0).normal(size=(count, SIZE)))


def delayed_nesterov_of_the_paper(
    theta: NDArray[np.float64], gs: list[NDArray[np.float64]], *, eta: float, beta: float, n: int
) -> NDArray[np.float64]:
    """The lines of the algorithm, with buffer and momentum apart."""
    momentum, buffer = np.zeros(SIZE), np.zeros(SIZE)
    for number, g in enumerate(gs, start=1):
        buffer = buffer + g
        if number % n == 0:
            momentum = beta * momentum + buffer / n
            theta = theta - eta * (g / n + beta * momentum)
            buffer = np.zeros(SIZE)
        else:
            theta = theta - eta * g / n
    return theta


@given(
    beta=st.sampled_from([0.0, 0.5, 0.9]),
    n=st.integers(1, 5),
    count=st.integers(1, 12),
    eta=st.floats(0.1, 1),
)
def test_delayed_nesterov_is_that_of_the_paper(beta: float, n: int, count: int, eta: float) -> None:
    arrays: NamedArrays = {"w": np.ones(SIZE)}
    outer = DelayedNesterov(learning_rate=eta, momentum=beta, buffer_size=n)

    changed = [push(outer, arrays, g) for g in updates(count)]

    expected = delayed_nesterov_of_the_paper(np.ones(SIZE), updates(count), eta=eta, beta=beta, n=n)
    np.testing.assert_allclose(arrays["w"], expected, rtol=1e-9, atol=1e-12)
    assert all(changed)


def test_without_momentum_no_state_is_kept() -> None:
    arrays: NamedArrays = {"w": np.ones(SIZE)}
    outer = DelayedNesterov(learning_rate=0.5, momentum=0.0, buffer_size=2)

    push(outer, arrays, np.full(SIZE, 4.0))

    np.testing.assert_allclose(arrays["w"], 1 - 0.5 * 4 / 2)
    assert outer.groups == {"momentum": {}}


def test_one_learner_with_a_buffer_of_one_is_nesterov() -> None:
    theta, momentum = np.ones(SIZE), np.zeros(SIZE)
    arrays: NamedArrays = {"w": np.ones(SIZE)}
    outer = DelayedNesterov(learning_rate=0.7, momentum=0.9, buffer_size=1)

    for g in updates(6):
        momentum = 0.9 * momentum + g
        theta = theta - 0.7 * (g + 0.9 * momentum)
        push(outer, arrays, g)

    np.testing.assert_allclose(arrays["w"], theta)


@given(stale=st.lists(st.integers(0, 8), min_size=1, max_size=9), size=st.integers(1, 4))
def test_fedbuff_steps_over_the_weighted_mean_when_its_buffer_is_full(stale: list[int], size: int) -> None:
    arrays: NamedArrays = {"w": np.zeros(SIZE)}
    outer = FedBuff(learning_rate=0.7, buffer_size=size)
    gs = updates(len(stale))

    changed = [push(outer, arrays, g, staleness) for g, staleness in zip(gs, stale, strict=True)]

    num_full = len(gs) // size
    weighted = [g / np.sqrt(1 + tau) for g, tau in zip(gs, stale, strict=True)][: num_full * size]
    np.testing.assert_allclose(arrays["w"], -0.7 / size * sum(weighted, np.zeros(SIZE)), atol=1e-12)
    assert changed == [(number + 1) % size == 0 for number in range(len(gs))]


def test_a_negative_staleness_is_refused() -> None:
    with pytest.raises(ValueError, match="staleness must be at least 0, not -1"):
        FedBuff(learning_rate=0.7, buffer_size=2).begin(staleness=-1)


METHODS: list[Callable[..., DelayedNesterov | FedBuff]] = [
    lambda **options: DelayedNesterov(learning_rate=0.7, momentum=0.5, buffer_size=3, **options),
    lambda **options: FedBuff(learning_rate=0.7, buffer_size=3, **options),
]


@pytest.mark.parametrize("make", METHODS)
def test_a_buffer_goes_on_in_the_middle_after_a_restart(
    make: Callable[..., DelayedNesterov | FedBuff],
) -> None:
    unbroken: NamedArrays = {"w": np.ones(SIZE)}
    broken: NamedArrays = {"w": np.ones(SIZE)}
    first, second = make(), make()

    for g in updates(8):
        push(first, unbroken, g, staleness=2)
        push(second, broken, g, staleness=2)
        state, groups = second.to_json(), second.groups
        second = make()
        second.load(state, groups)

    np.testing.assert_array_equal(unbroken["w"], broken["w"])


@pytest.mark.parametrize("make", METHODS)
def test_buffers_follow_the_mean_of_the_learners(make: Callable[..., DelayedNesterov | FedBuff]) -> None:
    arrays: NamedArrays = {"w": np.ones(1), "variance": np.array([4.0])}
    outer = make(plain_names=frozenset({"variance"}))
    base = arrays["variance"].copy()

    for local in (1.0, 2.0, 3.0):
        push(outer, arrays, np.array([0.0, base[0] - local]))

    np.testing.assert_allclose(arrays["variance"], [2.0])


@pytest.mark.parametrize("make", METHODS)
def test_float32_stays_float32_and_the_update_is_only_read(
    make: Callable[..., DelayedNesterov | FedBuff],
) -> None:
    arrays: NamedArrays = {"w": np.ones(SIZE, "float32")}
    outer = make()
    g = np.ones(SIZE, "float32")
    g.flags.writeable = False

    for _ in range(3):
        outer.begin()
        outer.apply_(arrays, one_chunk(arrays), g)

    assert arrays["w"].dtype == np.float32
    assert all(array.dtype == np.float32 for group in outer.groups.values() for array in group.values())

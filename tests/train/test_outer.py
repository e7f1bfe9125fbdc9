import numpy as np
import pytest

from ayni.train.config import TrainConfig
from ayni.train.layout import make_chunks
from ayni.train.named_arrays import NamedArrays, make_manifest
from ayni.train.outer import OuterMethod, make_outer
from ayni.train.strategy_config import AsyncConfig


def values_after(outer: OuterMethod, num_merges: int) -> list[float]:
    """The parameter and the buffer, which begin at 1, after merges that are all 1."""
    arrays: NamedArrays = {"w": np.ones(1), "running": np.ones(1)}
    (chunk,) = make_chunks(make_manifest(arrays))
    for _ in range(num_merges):
        outer.begin()
        outer.apply_(arrays, chunk, np.ones(2))
        outer.end()
    return [float(arrays["w"][0]), float(arrays["running"][0])]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"strategy": "diloco"}, [1 - 0.7 * (1 + 0.9) - 0.7 * (1 + 0.9 * 1.9), -1]),
        ({"strategy": "streaming", "outer_momentum": 0.0}, [1 - 0.7 * 2, -1]),
        # The learners of a gang end at the new model: neither rate nor momentum touches it.
        ({"strategy": "sync"}, [-1, -1]),
        ({"strategy": "async"}, [1 - 0.7 * 0.5 - 0.7 * (0.5 + 0.5), 0]),
        ({"strategy": "async", "asynchronous": AsyncConfig(method="plain")}, [1 - 0.7, 0]),
        ({"strategy": "async", "asynchronous": AsyncConfig(method="fedbuff")}, [1 - 0.7, 0]),
        (
            {"strategy": "async", "asynchronous": AsyncConfig(method="plain", buffer_size=1)},
            [1 - 2 * 0.7, -1],
        ),
    ],
)
def test_each_strategy_has_its_outer_method(options: dict[str, object], expected: list[float]) -> None:
    config = TrainConfig(learners=2, **options)  # type: ignore[arg-type]

    outer = make_outer(config, plain_names=frozenset({"running"}))

    np.testing.assert_allclose(values_after(outer, 2), expected, atol=1e-12)

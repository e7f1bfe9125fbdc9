"""Errors at the 75 settings: counted as a loop would, the same images for every model."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ayni.data.corruptions.errors import CorruptionErrors, measure_errors
from ayni.data.corruptions.kinds import KINDS, SEVERITIES, CorruptionInputError, corrupt
from ayni.data.records import Records


def make_records(num: int = 40, shape: tuple[int, ...] = (8, 8), white: float = 1.0) -> Records:
    rng = np.random.default_rng(0)
    inputs = (rng.random((num, *shape)) * white).astype(np.float32)
    return Records(inputs=inputs, labels=(inputs.reshape(num, -1).mean(1) > white / 2).astype(np.int64))


def is_bright(inputs: NDArray[Any]) -> NDArray[Any]:
    found: NDArray[Any] = (inputs.reshape(len(inputs), -1).mean(1) > 0.5).astype(np.int64)
    return found


def test_errors_are_those_of_a_loop_over_the_settings() -> None:
    records = make_records()

    found = measure_errors({"bright": is_bright}, records, seed=7)[0]

    assert found.clean_error == 0
    for kind in KINDS:
        for severity in SEVERITIES:
            shown = corrupt(torch.from_numpy(records.inputs), kind=kind, severity=severity, seed=7).numpy()
            expected = float((is_bright(shown) != records.labels).mean())
            assert found.errors[kind][severity - 1] == expected
    assert found.mean_error == pytest.approx(np.mean([found.errors[kind] for kind in KINDS]))


def test_all_models_see_the_same_images_and_may_answer_with_scores() -> None:
    seen: dict[str, list[NDArray[Any]]] = {"one": [], "two": []}

    def watching(name: str) -> Any:
        def classify(inputs: NDArray[Any]) -> NDArray[Any]:
            seen[name].append(inputs)
            scores: NDArray[Any] = np.eye(2)[is_bright(inputs)]
            return scores

        return classify

    found = measure_errors({name: watching(name) for name in seen}, make_records(), seed=0)

    assert len(seen["one"]) == 76
    assert all(np.array_equal(a, b) for a, b in zip(seen["one"], seen["two"], strict=True))
    assert found[0].errors == found[1].errors


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (3, 8, 10), (8, 10, 3), (8, 8, 1)])
def test_models_get_inputs_in_the_layout_and_range_of_the_task(shape: tuple[int, ...]) -> None:
    records = make_records(12, shape, white=16.0)
    shapes, highest = set(), 0.0

    def classify(inputs: NDArray[Any]) -> NDArray[Any]:
        nonlocal highest
        shapes.add(inputs.shape)
        highest = max(highest, float(inputs.max()))
        return np.zeros(len(inputs), dtype=np.int64)

    measure_errors({"zero": classify}, records, seed=0, value_range=(0.0, 16.0))

    assert shapes == {(12, *shape)}
    assert 15 < highest <= 16


@pytest.mark.parametrize(
    ("records", "value_range", "message"),
    [
        (make_records(12, (64,)), (0.0, 1.0), "expected an image"),
        (make_records(12, (5, 8, 8)), (0.0, 1.0), "expected an image"),
        (make_records(12, (8, 8), white=16.0), (0.0, 1.0), r"value_range = \(black, white\)"),
        (make_records(12), (1.0, 0.0), "black below white"),
    ],
)
def test_what_is_no_image_or_has_another_range_is_refused(
    records: Records, value_range: tuple[float, float], message: str
) -> None:
    with pytest.raises(CorruptionInputError, match=message):
        measure_errors({"bright": is_bright}, records, seed=0, value_range=value_range)


def test_progress_reaches_one() -> None:
    told: list[float] = []

    measure_errors({"bright": is_bright}, make_records(300), seed=0, advanced=told.append)

    assert told == [0.5, 1.0]


def test_errors_survive_json() -> None:
    found = measure_errors({"bright": is_bright}, make_records(12), seed=0)[0]

    assert CorruptionErrors.from_json(found.to_json()) == found

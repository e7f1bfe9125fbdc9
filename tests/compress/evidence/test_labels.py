"""What a task says about its examples."""

from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ayni.compress.evidence.labels import UnusableSlicesError, class_names, label_of, task_slices
from ayni.task import TaskFailedError

IMAGE = torch.zeros(3)


class Labelled(NamedTuple):
    label: Any
    image: Any


class Unnamed(NamedTuple):
    image: Any
    kind: Any


def with_slices(found: Any) -> Any:
    return type("Sliced", (), {"slices": lambda _self, _split: found})()


@pytest.mark.parametrize(
    "example",
    [
        (IMAGE, 2),
        [IMAGE, torch.tensor(2)],
        (IMAGE, torch.zeros(3), np.int64(2)),
        (IMAGE, np.array([2], dtype=np.uint8)),
        {"image": IMAGE, "label": torch.tensor([2])},
        OrderedDict(labels=2, image=IMAGE),
        {"x": IMAGE, "y": 2},
        Labelled(2, IMAGE),
        Unnamed(IMAGE, 2),
    ],
)
def test_a_label_is_found_in_each_form_of_an_example(example: Any) -> None:
    assert label_of(example) == 2


def test_true_and_false_are_two_classes() -> None:
    assert [label_of((IMAGE, value)) for value in (False, True, torch.tensor(True))] == [0, 1, 1]


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ((IMAGE, 0.5), "a number of type float64"),
        ((IMAGE, np.float32(1)), "a number of type float32"),
        ((IMAGE, torch.tensor(1.0)), "a number of type float32"),
        ((IMAGE, torch.tensor(1, dtype=torch.bfloat16)), "a number of type bfloat16"),
        ((IMAGE, torch.arange(12)), "holds 12 numbers"),
        ((IMAGE, np.zeros(0, dtype=np.int64)), "holds 0 numbers"),
        ((IMAGE, "cat"), "a label is a str"),
        ((IMAGE, None), "a label is a NoneType"),
        (IMAGE, "an example is a Tensor without a label"),
        ((IMAGE,), "an example is a tuple without a label"),
        ({"image": IMAGE, "kind": 2}, "holds image, kind, and nothing called label, labels, y"),
        ({}, "holds nothing"),
    ],
)
def test_what_is_no_class_is_said_in_words(example: Any, reason: str) -> None:
    found = label_of(example)

    assert isinstance(found, str)
    assert reason in found


def test_names_count_when_there_is_one_for_each_class() -> None:
    task: Any = type("Named", (), {"labels": lambda _: ["cat", "dog"]})()

    assert class_names(task, 2) == ("cat", "dog")
    assert class_names(task, 3) is None
    assert class_names(object(), 2) is None  # type: ignore[arg-type]


def test_what_the_task_raises_names_the_method() -> None:
    def fail(*_arguments: Any) -> Any:
        raise KeyError("gone")

    task: Any = type("Failing", (), {"labels": fail, "slices": fail})()

    with pytest.raises(TaskFailedError, match="labels raised KeyError"):
        class_names(task, 2)
    with pytest.raises(TaskFailedError, match="slices raised KeyError"):
        task_slices(task, "test", num_examples=2)


@pytest.mark.parametrize(
    "values",
    [
        [1, 0, 1],
        (True, False, True),
        np.array([1, 0, 1], dtype=np.uint8),
        torch.tensor([True, False, True]),
    ],
)
def test_a_slice_is_a_mask_of_whole_numbers_or_truths(values: Any) -> None:
    found = task_slices(with_slices({"dark": values}), "test", num_examples=3)

    assert {name: mask.tolist() for name, mask in found.items()} == {"dark": [True, False, True]}


def test_a_task_without_slices_has_none() -> None:
    assert task_slices(object(), "test", num_examples=3) == {}  # type: ignore[arg-type]
    assert task_slices(with_slices({"dark": []}), "test", num_examples=0)["dark"].shape == (0,)


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([1, 0, 1], "for the test split it is a list"),
        (None, "it is a NoneType"),
        ({7: [1, 0, 1]}, "the name 7 is no text"),
        ({"fine": [0, 0, 0], "dark": [1, 0]}, "slice 'dark' has 2 values, and the split has 3 examples"),
        ({"dark": [0, 2, 1]}, "slice 'dark' has 2 at place 1"),
        ({"dark": [0, 1, -1]}, "slice 'dark' has -1 at place 2"),
        ({"dark": [0.0, 1.0, 1.0]}, "slice 'dark' has 0.0 at place 0"),
        ({"dark": ["a", "b", "c"]}, "slice 'dark' has 'a' at place 0"),
        ({"dark": [None, 0, 1]}, "slice 'dark' has None at place 0"),
        ({"dark": {0, 2}}, "slice 'dark' is a set"),
        ({"dark": [[1], [0], [1]]}, r"slice 'dark' is a list of the shape \(3, 1\)"),
        ({"dark": [[1], [0, 1], 1]}, "slice 'dark' is no list of values"),
        ({"dark": torch.zeros(3, dtype=torch.bfloat16)}, "slice 'dark' is no list of values"),
    ],
)
def test_slices_that_do_not_fit_are_refused_by_name(found: Any, reason: str) -> None:
    with pytest.raises(UnusableSlicesError, match=reason):
        task_slices(with_slices(found), "test", num_examples=3)

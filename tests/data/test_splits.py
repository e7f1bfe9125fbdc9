"""Inputs that occur in two splits are found, whatever they are made of."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ayni.data.splits import SplitCheck, check_splits, fingerprint
from ayni.task import TaskFailedError


class WithSplits:
    def __init__(self, **splits: list[Any]) -> None:
        self.splits = splits

    def dataset(self, split: str) -> list[Any]:
        return self.splits[split]


def check(**splits: list[Any]) -> SplitCheck:
    return check_splits(WithSplits(**splits))  # type: ignore[arg-type]


def test_an_input_in_two_splits_is_a_leak_even_with_another_label() -> None:
    leaked = torch.tensor([1.0, 2.0])

    found = check(
        train=[(leaked, 0), (torch.zeros(2), 0)],
        validation=[(torch.ones(2), 0)],
        test=[(leaked.clone(), 1), (leaked.clone(), 1)],
    )

    assert found.has_leak
    assert found.num_shared == {"train-validation": 0, "train-test": 2, "validation-test": 0}
    assert found.num_repeated == {"train": 0, "validation": 0, "test": 1}


def test_clean_splits_have_no_leak() -> None:
    found = check(train=[("a", 0)], validation=[("b", 0)], test=[("c", 0)])

    assert not found.has_leak
    assert found.num_examples == {"train": 1, "validation": 1, "test": 1}


def test_a_bounded_look_says_how_many_it_looked_at() -> None:
    task: Any = WithSplits(train=[1, 2, 3], validation=[4], test=[3])

    found = check_splits(task, max_examples=2)

    assert found.num_looked_at == {"train": 2, "validation": 1, "test": 1}
    assert not found.has_leak


def test_a_dataset_that_raises_is_the_tasks_failure() -> None:
    with pytest.raises(TaskFailedError, match="validation"):
        check(train=[1])


def test_json_gives_the_same_check_back() -> None:
    found = check(train=[1], validation=[2], test=[1])

    assert SplitCheck.from_json(found.to_json()) == found


def test_tensors_and_arrays_of_equal_values_have_one_fingerprint() -> None:
    assert fingerprint(torch.arange(3)) == fingerprint(np.arange(3))
    assert fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1})


nested = st.recursive(
    st.integers() | st.text() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(nested, nested)
def test_values_that_differ_have_fingerprints_that_differ(one: Any, other: Any) -> None:
    assert (fingerprint(one) == fingerprint(other)) == (repr_of(one) == repr_of(other))


def repr_of(value: Any) -> str:
    """The value with dictionaries in one order; 1, 1.0 and True stay apart."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{key!r}:{repr_of(value[key])}" for key in sorted(value)) + "}"
    return "[" + ",".join(map(repr_of, value)) + "]" if isinstance(value, list) else repr(value)

"""Examples as arrays: what is taken, and what is refused by its row."""

from typing import Any

import numpy as np
import pytest
import torch

from ayni.data.records import Records, RecordsError, records_of


def make(inputs: Any, labels: Any) -> Records:
    return Records(inputs=np.array(inputs, dtype=np.float32), labels=np.array(labels, dtype=np.int64))


def test_pairs_of_tensors_become_arrays() -> None:
    records = records_of([(torch.full((1, 2, 2), 0.5), 3), (torch.zeros(1, 2, 2), torch.tensor(0))])

    assert records.inputs.shape == (2, 1, 2, 2)
    assert records.labels.tolist() == [3, 0]
    assert (len(records), records.num_classes) == (2, 4)


def test_rows_are_chosen_by_number_and_by_mask_and_joined_again() -> None:
    records = make([[0], [1], [2]], [0, 1, 2])

    assert records.subset([2, 0]).labels.tolist() == [2, 0]
    both = records.subset(records.labels > 1).joined(records.subset([0]))

    assert both.inputs.tolist() == [[2], [0]]


@pytest.mark.parametrize(
    ("inputs", "labels", "message"),
    [
        (np.zeros((0, 2)), [], "no examples"),
        ([[0.0], [np.nan], [np.inf]], [0, 0, 0], r"2 of 3 .* first at row 1"),
        ([[0.0], [0.0]], [0, -1], r"row 1 is -1"),
        ([[0.0], [0.0]], [0], "do not fit"),
        ([0.0, 0.0], [0, 1], "do not fit"),
    ],
)
def test_what_cannot_be_used_is_refused(inputs: Any, labels: Any, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        make(inputs, labels)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ([], "no examples"),
        ([(np.zeros(2), 0), (np.zeros(3), 0)], r"Row 1 has the shape \(3,\)"),
        ([(np.zeros(2), 0), np.zeros(2)], "Row 1 is not a pair"),
        ([(np.zeros(2), 0.5)], "label of row 0"),
        ([("words", 0)], "Row 0 holds something that is no array"),
    ],
)
def test_examples_of_other_kinds_are_refused_by_their_row(dataset: Any, message: str) -> None:
    with pytest.raises(RecordsError, match=message):
        records_of(dataset)


def test_choosing_no_row_and_joining_other_shapes_is_refused() -> None:
    with pytest.raises(RecordsError, match="No example is left"):
        make([[0]], [0]).subset([])
    with pytest.raises(RecordsError, match="cannot be joined"):
        make([[0]], [0]).joined(make([[0, 1]], [0]))


def test_whole_numbers_are_no_inputs() -> None:
    with pytest.raises(RecordsError, match="expected float32 and int64"):
        Records(inputs=np.zeros((1, 1)), labels=np.zeros(1, dtype=np.int64))  # type: ignore[arg-type]

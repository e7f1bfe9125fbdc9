"""A call of a model, whatever its form."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from ayni.compress.inputs import ModelInputs, one_by_one


class Pair(NamedTuple):
    words: Any
    lengths: Any


def test_batches_are_taken_apart_in_their_order() -> None:
    ids, mask = torch.arange(6).reshape(3, 2), torch.ones(3, 2)
    batches = [ModelInputs((ids,), {"mask": mask}), ModelInputs((ids[:1] + 6,), {"mask": mask[:1]})]

    examples = one_by_one(batches)

    assert [example.args[0].tolist() for example in examples] == [[[0, 1]], [[2, 3]], [[4, 5]], [[6, 7]]]
    assert all(example.kwargs["mask"].shape == (1, 2) for example in examples)


def test_what_examples_share_is_in_each_of_them() -> None:
    table, scalar = torch.eye(4), torch.tensor(0.5)
    batch = ModelInputs((scalar, torch.zeros(3, 2)), {"table": table, "flag": True, "cache": None})

    examples = one_by_one([batch])

    assert len(examples) == 3
    for example in examples:
        assert example.args[0] is scalar
        assert example.args[1].shape == (1, 2)
        assert example.kwargs == {"table": table, "flag": True, "cache": None}


def test_tensors_inside_containers_are_cut_too() -> None:
    values = torch.arange(2)
    batch = ModelInputs((values,), {"pair": Pair(values, [values]), "more": {"deep": (values, "text")}})

    second = one_by_one([batch])[1]

    assert isinstance(second.kwargs["pair"], Pair)
    assert second.kwargs["pair"] == Pair(torch.tensor([1]), [torch.tensor([1])])
    assert second.kwargs["more"] == {"deep": (torch.tensor([1]), "text")}


@pytest.mark.parametrize("batch", [ModelInputs(), ModelInputs((torch.tensor(1.0),)), ModelInputs(("text",))])
def test_a_call_without_rows_has_no_examples(batch: ModelInputs) -> None:
    assert batch.num_examples == 0
    assert one_by_one([batch]) == []


def test_a_graph_is_fed_by_place_and_by_name() -> None:
    batch = ModelInputs((torch.zeros(1), None, torch.ones(1)), {"mask": torch.full((1,), 2.0), "flag": True})

    arrays = batch.arrays_for(["ids", "types", "mask"])

    assert {name: array.tolist() for name, array in arrays.items()} == {
        "ids": [0.0],
        "types": [1.0],
        "mask": [2.0],
    }
    assert all(isinstance(array, np.ndarray) for array in arrays.values())

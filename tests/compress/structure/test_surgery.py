"""Exchange of parts, and comparing answers."""

import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.surgery import answers, difference_between, replace_everywhere


def test_a_module_is_replaced_in_every_place() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, nn.Sequential(shared), nn.ReLU())
    new = nn.Identity()

    replace_everywhere(model, shared, new)

    assert model[0] is new and model[1][0] is new


def test_rounding_is_no_difference_and_anything_larger_is() -> None:
    wanted = {"y": torch.tensor([1.0, -100.0])}

    assert difference_between({"y": torch.tensor([1.05, -100.0])}, wanted) is None
    assert "0.2" in (difference_between({"y": torch.tensor([1.2, -100.0])}, wanted) or "")


def test_shapes_missing_tensors_and_places_that_are_not_finite_count() -> None:
    wanted = {"y": torch.tensor([1.0, float("-inf")])}

    assert difference_between({"y": torch.tensor([1.0, float("-inf")])}, wanted) is None
    assert "not finite" in (difference_between({"y": torch.tensor([1.0, 0.0])}, wanted) or "")
    assert "shape" in (difference_between({"y": torch.zeros(3)}, wanted) or "")
    assert "shape" in (difference_between({}, wanted) or "")
    assert difference_between({"y": torch.zeros(0)}, {"y": torch.zeros(0)}) is None


def test_integers_and_all_zeros_are_compared_exactly() -> None:
    assert difference_between({"y": torch.tensor([0, 1])}, {"y": torch.tensor([0, 0])}) is not None
    assert difference_between({"y": torch.tensor([True])}, {"y": torch.tensor([True])}) is None


def test_answers_are_those_of_evaluation_and_the_model_keeps_its_mode() -> None:
    model = nn.Dropout(0.5).train()

    found = answers(model, ModelInputs((torch.ones(4),)))

    assert found["output"].tolist() == [1.0] * 4 and model.training

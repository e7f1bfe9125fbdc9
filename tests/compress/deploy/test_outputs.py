"""Answers of models as named tensors."""

import copy
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from ayni.compress.deploy.outputs import (
    NamedOutputs,
    NoTensorOutputError,
    named_tensors,
    output_form,
    rebuilt,
    stated_form,
    with_float32,
)

Y, Z = torch.ones(2, 3), torch.zeros(2)
Pair = namedtuple("Pair", ["left", "right"])


@dataclass
class Answer:
    logits: torch.Tensor
    loss: Any = None


@pytest.mark.parametrize(
    ("output", "form", "names"),
    [
        (Y, "tensor", ["output"]),
        ((Y, Z), "tuple", ["output", "output_1"]),
        ([Y], "tuple", ["output"]),
        ({"logits": Y, "loss": None}, "named", ["logits"]),
        (OrderedDict(logits=Y, states=(Y, Z)), "named", ["logits", "states_0", "states_1"]),
        (Pair(Y, Z), "named", ["left", "right"]),
        (Answer(Y), "named", ["logits"]),
    ],
)
def test_every_form_has_names_in_order(output: Any, form: str, names: list[str]) -> None:
    assert output_form(output) == form
    assert list(named_tensors(output)) == names


@pytest.mark.parametrize("output", [None, 3.0, {}, {"loss": None}, (), "text"])
def test_an_answer_without_tensors_is_refused(output: Any) -> None:
    with pytest.raises(NoTensorOutputError, match="no tensor"):
        named_tensors(output)


def test_a_named_answer_is_read_by_name_by_attribute_and_by_place() -> None:
    outputs = rebuilt("named", {"logits": Y, "states": Z})

    assert outputs.logits is outputs["logits"] is outputs[0] is Y
    assert dict(outputs) == {"logits": Y, "states": Z}
    assert outputs.get("loss") is None
    with pytest.raises(AttributeError, match="only logits, states"):
        _ = outputs.loss
    assert copy.copy(outputs).states is Z


def test_the_form_of_a_file_of_another_origin_is_guessed_from_its_outputs() -> None:
    assert [stated_form("", 1), stated_form("", 2)] == ["tensor", "tuple"]
    assert [stated_form("tuple", 1), stated_form("named", 1)] == ["tuple", "named"]


def test_only_16_bit_floats_are_widened_and_caches_are_kept() -> None:
    cache = object()

    widened = with_float32({"logits": Y.bfloat16(), "ids": torch.ones(2, dtype=torch.long), "cache": cache})

    assert isinstance(widened, NamedOutputs)
    assert (widened.logits.dtype, widened.ids.dtype) == (torch.float32, torch.long)
    assert widened.cache is cache
    assert with_float32((Y.half(), Z.double()))[1].dtype == torch.float64

import numpy as np
import pytest
import torch
from torch import nn

from ayni.train.named_arrays import (
    ChangedModelError,
    buffer_names,
    check_manifest,
    digest_of,
    digest_of_model,
    get_arrays,
    make_manifest,
    num_bytes,
    set_arrays,
)


class Tied(nn.Module):
    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3, dtype=dtype)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 5, bias=False, dtype=dtype)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.ones(2), persistent=False)


def test_float_parameters_and_buffers_travel_and_tied_weights_once() -> None:
    model = Tied()

    names = set(get_arrays(model))

    assert names == {
        "embedding.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"
    }  # fmt: skip
    assert buffer_names(model) == {"norm.running_mean", "norm.running_var"}


def test_arrays_set_into_another_model_make_it_equal() -> None:
    source, target = Tied(), Tied()

    set_arrays(target, get_arrays(source))

    assert torch.equal(target.head.weight, source.head.weight)
    assert target.head.weight is target.embedding.weight


def test_half_precision_travels_as_float32_and_returns_unchanged() -> None:
    source, target = Tied(torch.bfloat16), Tied(torch.bfloat16)

    arrays = get_arrays(source)
    set_arrays(target, arrays)

    assert arrays["embedding.weight"].dtype == "float32"
    assert torch.equal(target.embedding.weight, source.embedding.weight)


def test_arrays_are_copies() -> None:
    model = Tied()
    arrays = get_arrays(model)

    arrays["norm.bias"][:] = 7

    assert model.norm.bias.abs().sum() == 0


def test_another_shape_is_refused_by_name() -> None:
    expected = make_manifest(get_arrays(nn.Linear(2, 3)))
    found = make_manifest(get_arrays(nn.Linear(2, 4)))

    with pytest.raises(ChangedModelError, match=r"weight is \[\[4, 2\], 'float32'\], expected \[\[3, 2\]"):
        check_manifest(expected, found)


def test_bytes_are_counted_without_headers() -> None:
    assert num_bytes(get_arrays(nn.Linear(2, 3))) == (6 + 3) * 4


def test_frozen_parameters_stay_where_they_are() -> None:
    model = Tied()
    model.norm.requires_grad_(False)

    assert "norm.weight" not in get_arrays(model)
    assert "norm.running_mean" in get_arrays(model)


def test_some_arrays_alone_can_be_set_and_unknown_ones_are_refused() -> None:
    model = Tied()

    set_arrays(model, {"norm.bias": np.full(3, 7.0, np.float32)})

    assert model.norm.bias.tolist() == [7.0, 7.0, 7.0]
    with pytest.raises(ChangedModelError, match="nonsense is unknown"):
        set_arrays(model, {"nonsense": np.zeros(3, np.float32)})


def test_a_view_follows_the_model() -> None:
    model = Tied()
    array = get_arrays(model, copy=False)["norm.bias"]

    with torch.no_grad():
        model.norm.bias.fill_(5.0)

    assert array.tolist() == [5.0, 5.0, 5.0]


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.embedding.weight.data.mul_(1.0001),
        lambda model: model.norm.num_batches_tracked.add_(1),
        lambda model: model.norm.half(),
    ],
)
def test_the_digest_of_a_model_changes_with_any_weight_counter_or_dtype(change: object) -> None:
    torch.manual_seed(0)
    one = Tied()
    torch.manual_seed(0)
    other = Tied()
    before = digest_of_model(one)

    change(other)  # type: ignore[operator]

    assert digest_of_model(one) == before
    assert digest_of_model(other) != before


def test_a_digest_knows_names_shapes_and_dtypes_and_no_order() -> None:
    a, b = np.zeros((2, 3), np.float32), np.array(1.0, np.float32)
    expected = digest_of({"a": a, "b": b})

    assert digest_of({"b": b, "a": a}) == expected
    assert digest_of({"a": a.T, "b": b}) != expected
    assert digest_of({"a": b, "b": a}) != expected
    assert digest_of({"a": a.astype(np.float64), "b": b}) != expected

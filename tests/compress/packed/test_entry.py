"""One tensor in a packed file. Hostile entries are in test_packed_file."""

import json
import math

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ayni.compress.packed.entry import DTYPES, encode_plain, entry_from_json, entry_to_json

VALUES = [0.0, -0.0, 1.0, 0.5, 65504.0, 65536.0, 0.1, 1e-8, 3e38, float("nan"), float("inf"), -float("inf")]


# Moving bfloat16 about by its value changes the bits of this NaN.
@example(dtype="bfloat16", values=[math.nan], zeros=2000)
@given(
    dtype=st.sampled_from(["float64", "float32", "float16", "bfloat16"]),
    values=st.lists(st.sampled_from(VALUES), max_size=12),
    zeros=st.sampled_from([0, 2000]),
)
@settings(deadline=None)
def test_floats_come_back_bit_for_bit_in_whatever_type_they_were_stored(
    dtype: str, values: list[float], zeros: int
) -> None:
    tensor = torch.cat([torch.tensor(values, dtype=torch.float64), torch.zeros(zeros)]).to(DTYPES[dtype])

    entry, parts = encode_plain(tensor)
    entry.check(parts)

    again = entry_from_json(json.loads(json.dumps(entry_to_json(entry))))
    assert again == entry
    back = again.decode(parts)
    assert back.dtype == tensor.dtype
    assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))
    assert {name: (part.dtype, tuple(part.shape)) for name, part in parts.items()} == again.parts()


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        ([1.0, 0.5], "float16"),
        ([1.0, 2.0**100], "bfloat16"),
        ([0.1], "float32"),
        ([1e-8], "float32"),
        ([float("inf"), -0.0], "float16"),
    ],
)
def test_floats_take_the_narrowest_type_that_loses_nothing(values: list[float], stored: str) -> None:
    assert encode_plain(torch.tensor(values))[0].stored == stored


def test_few_zeros_and_small_tensors_are_stored_dense() -> None:
    assert encode_plain(torch.zeros(20))[0].num_kept is None
    assert encode_plain(torch.full((4000,), 0.1))[0].num_kept is None
    assert encode_plain(torch.zeros(4000))[0].num_kept == 0


@pytest.mark.parametrize("data", [None, [], "plain", {}, {"kind": ["plain"]}, {"kind": "plain"}])
def test_what_is_no_entry_is_refused(data: object) -> None:
    with pytest.raises(ValueError, match=r"kinds|shape"):
        entry_from_json(data)

"""Codes of few bits in bytes."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ayni.compress.packed.packing import (
    is_nonzero_bitwise,
    is_sparse_smaller,
    pack_codes,
    pack_sparse,
    packed_bytes,
    unpack_codes,
    unpack_sparse,
)


@given(bits=st.integers(1, 8), data=st.data())
def test_codes_come_back_and_take_no_bit_more(bits: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), max_size=40))
    codes = torch.tensor(values, dtype=torch.uint8)

    packed = pack_codes(codes, bits)

    assert packed.numel() == packed_bytes(len(values), bits) == -(-len(values) * bits // 8)
    assert unpack_codes(packed, bits=bits, num_codes=len(values)).tolist() == values


def test_the_stream_by_hand() -> None:
    assert pack_codes(torch.tensor([1, 2, 3]), 4).tolist() == [0x21, 0x03]
    # 101 010 011: lowest bits first, 0b11_010_101 and then 0b0.
    assert pack_codes(torch.tensor([5, 2, 3]), 3).tolist() == [0b11010101, 0b0]


@given(st.lists(st.booleans(), max_size=40))
def test_masks_are_those_of_numpy(values: list[bool]) -> None:
    packed = pack_codes(torch.tensor(values, dtype=torch.bool), 1)

    assert packed.tolist() == np.packbits(np.array(values, bool), bitorder="little").tolist()


def test_eight_bits_are_not_copied() -> None:
    codes = torch.arange(256).to(torch.uint8)

    packed = pack_codes(codes, 8)

    assert packed.data_ptr() == codes.data_ptr()
    assert unpack_codes(packed, bits=8, num_codes=256).data_ptr() == codes.data_ptr()


def test_codes_that_do_not_lie_side_by_side_are_packed_in_row_order() -> None:
    codes = torch.arange(6).reshape(2, 3).t()

    packed = pack_codes(codes, 4)

    assert unpack_codes(packed, bits=4, num_codes=6).tolist() == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize("codes", [[0, 4], [-1]])
def test_codes_that_do_not_fit_are_refused(codes: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit into 2 bits"):
        pack_codes(torch.tensor(codes), 2)


@pytest.mark.parametrize("bits", [0, 9, -1])
def test_bits_out_of_range_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="1 to 8 bits"):
        pack_codes(torch.tensor([0]), bits)
    with pytest.raises(ValueError, match="1 to 8 bits"):
        unpack_codes(torch.zeros(1, dtype=torch.uint8), bits=bits, num_codes=1)


def test_bytes_of_another_length_or_type_are_refused() -> None:
    with pytest.raises(ValueError, match="are not the 2 bytes"):
        unpack_codes(torch.zeros(3, dtype=torch.uint8), bits=4, num_codes=4)
    with pytest.raises(ValueError, match="float32"):
        unpack_codes(torch.zeros(2), bits=4, num_codes=4)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, float("nan")]), min_size=1, max_size=30))
def test_sparse_values_come_back_bit_for_bit(values: list[float]) -> None:
    tensor = torch.tensor(values)

    mask, kept = pack_sparse(tensor, is_nonzero_bitwise(tensor))

    again = unpack_sparse(mask, kept, torch.zeros(len(values)))
    assert torch.equal(again.view(torch.int32), tensor.view(torch.int32))


def test_a_mask_that_does_not_go_with_its_values_is_refused() -> None:
    mask, kept = pack_sparse(torch.tensor([0.0, 1.0, 2.0]), torch.tensor([False, True, True]))

    with pytest.raises(ValueError, match="2 bits set does not go with 1 values"):
        unpack_sparse(mask, kept[:1], torch.zeros(3))


def test_sparse_pays_from_the_share_of_zeros_that_the_mask_costs() -> None:
    assert [is_sparse_smaller(8000, zeros, 8) for zeros in (1000, 1001)] == [False, True]
    assert [is_sparse_smaller(8000, zeros, 4) for zeros in (2000, 2002)] == [False, True]
    assert [is_sparse_smaller(8000, zeros, 32) for zeros in (250, 251)] == [False, True]
    assert not is_sparse_smaller(8000, 1001, 8, overhead_bytes=1)


def test_zeros_in_any_shape_and_type_are_told_from_negative_zeros() -> None:
    values = torch.tensor([[0.0, -0.0], [1.0, 0.0]], dtype=torch.bfloat16)

    assert is_nonzero_bitwise(values).tolist() == [[False, True], [True, False]]
    assert is_nonzero_bitwise(torch.tensor(0)).item() is False
    assert is_nonzero_bitwise(torch.zeros(0, 3)).shape == (0, 3)

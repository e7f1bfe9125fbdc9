"""Codes of few bits side by side in bytes, and zeros as one bit each: how small weights become small files.

    packed      one stream of bits, lowest first: code k lies in the bits [b k, b k + b). Eight codes fill b
                bytes; the last bytes are filled up with zeros. Codes of 8 bits are the bytes themselves.
    sparse      a mask of one bit a value, and only the values where the bit is set, in order

The stream knows no rows and no alignment, so that 3 bits cost 3 bits. It is that of numpy's `packbits` with
bitorder="little", for 1 bit.

What pays is counted and never assumed: the mask costs one bit a value, so that it is smaller only where more
than 1 / b of the values are zeros (an eighth of int8, a quarter of int4, 1 / 32 of float32).

Cost: O(n) time; besides the result one byte of working memory a code.

Not covered: entropy coding (Huffman, as in Han et al., "Deep Compression", ICLR 2016, section 4,
arXiv:1510.00149), and arithmetic on packed codes.
"""

import torch

_CODES_IN_A_WORD = 8


def packed_bytes(num_codes: int, bits: int) -> int:
    """Bytes of so many codes."""
    return (num_codes * bits + 7) // 8


def pack_codes(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """The bytes of integer codes below 2^bits, uint8 of one dimension, in row order.

    8 bits that are contiguous are not copied: the result shares their memory.

    Raises:
        ValueError: bits outside 1 to 8, or a code that does not fit into them.
    """
    _check_bits(bits)
    flat = codes.reshape(-1)
    if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < 1 << bits:
        raise ValueError(f"codes from {int(flat.min())} to {int(flat.max())} do not fit into {bits} bits")
    flat = flat.to(torch.uint8)
    if bits == 8:
        return flat
    num_words = -(-flat.numel() // _CODES_IN_A_WORD)
    filled = torch.nn.functional.pad(flat, (0, num_words * _CODES_IN_A_WORD - flat.numel()))
    words = torch.zeros(num_words, dtype=torch.int64, device=codes.device)
    for position in range(_CODES_IN_A_WORD):
        words |= filled[position::_CODES_IN_A_WORD].long() << (bits * position)
    bytes_of_words = torch.stack([words >> (8 * position) & 255 for position in range(bits)], dim=1)
    return bytes_of_words.to(torch.uint8).reshape(-1)[: packed_bytes(flat.numel(), bits)].contiguous()


def unpack_codes(packed: torch.Tensor, *, bits: int, num_codes: int) -> torch.Tensor:
    """The codes that `pack_codes` packed, uint8 of one dimension. 8 bits share the memory of `packed`.

    Raises:
        ValueError: bits outside 1 to 8, or not as many bytes as the codes take.
    """
    _check_bits(bits)
    flat = packed.reshape(-1)
    if packed.dtype != torch.uint8 or flat.numel() != packed_bytes(num_codes, bits):
        raise ValueError(
            f"{flat.numel()} values of {packed.dtype} are not the {packed_bytes(num_codes, bits)} bytes of "
            f"{num_codes} codes of {bits} bits"
        )
    if bits == 8:
        return flat
    num_words = -(-num_codes // _CODES_IN_A_WORD)
    filled = torch.nn.functional.pad(flat, (0, num_words * bits - flat.numel()))
    words = torch.zeros(num_words, dtype=torch.int64, device=packed.device)
    for position in range(bits):
        words |= filled[position::bits].long() << (8 * position)
    codes = torch.empty(num_words, _CODES_IN_A_WORD, dtype=torch.uint8, device=packed.device)
    for position in range(_CODES_IN_A_WORD):
        codes[:, position] = (words >> (bits * position)) & ((1 << bits) - 1)
    return codes.reshape(-1)[:num_codes]


def is_sparse_smaller(num_values: int, num_zeros: int, bits: int, *, overhead_bytes: int = 0) -> bool:
    """Whether mask, remaining values and what a mask costs besides take fewer bytes than all values do.

    One bit a value pays where more than 1 / bits of them are zero: 3 % at 32 bits, 12.5 % at 8, 25 % at 4.
    """
    sparse = packed_bytes(num_values, 1) + packed_bytes(num_values - num_zeros, bits)
    return sparse + overhead_bytes < packed_bytes(num_values, bits)


def pack_sparse(values: torch.Tensor, is_kept: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask of one bit a value, and the values where `is_kept`, both of one dimension."""
    flat = is_kept.reshape(-1)
    return pack_codes(flat, 1), _as_integers(values.reshape(-1))[flat].view(values.dtype)


def unpack_sparse(mask: torch.Tensor, kept: torch.Tensor, fill: torch.Tensor) -> torch.Tensor:
    """`fill` (of one dimension) with the kept values at their places; `fill` is written to.

    Raises:
        ValueError: the mask has another length than `fill`, or another number of bits set than values.
    """
    is_kept = unpack_codes(mask, bits=1, num_codes=fill.numel()).bool()
    num_kept = int(is_kept.sum())
    if num_kept != kept.numel():
        raise ValueError(f"a mask with {num_kept} bits set does not go with {kept.numel()} values")
    _as_integers(fill)[is_kept] = _as_integers(kept)
    return fill


def is_nonzero_bitwise(values: torch.Tensor) -> torch.Tensor:
    """Where a value has any bit set; true for -0.0, which a stored zero would turn into +0.0."""
    width = values.element_size()
    as_bytes = values.contiguous().reshape(-1).view(torch.uint8).reshape(-1, width)
    return as_bytes.ne(0).any(dim=1).reshape(values.shape)


def _as_integers(values: torch.Tensor) -> torch.Tensor:
    """The same memory as integers: moving half-precision floats about may change the bits of a NaN."""
    if not values.is_floating_point():
        return values
    integers = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return values.view(integers[values.element_size()])


def _check_bits(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"codes have 1 to 8 bits, not {bits}")

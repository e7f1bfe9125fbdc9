"""Files are cut where hf-xet cuts them."""

import hashlib
import random
from itertools import pairwise

import pytest

pytest.importorskip("numpy")
pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hub.xet.xet_files import RAMP_LENGTHS, STREAM_LENGTHS, ZEROS_LENGTHS, ramp, stream

from ayni.hub.xet import chunks


def lengths(content: bytes) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in pairwise([0, *chunks.cut(content)]))


def byte_by_byte(content: bytes) -> tuple[int, ...]:
    """The rule as the specification tells it: the oracle."""
    table = [int(each) for each in chunks._table()]
    found, start, state = [], 0, 0
    for place, byte in enumerate(content):
        state = ((state << 1) + table[byte]) % (1 << 64)
        size = place + 1 - start
        if size == 131072 or (size >= 8192 and state >> 48 == 0):
            found.append(size)
            start, state = place + 1, 0
    return (*found, len(content) - start) if start < len(content) else tuple(found)


def test_the_constants_are_those_of_the_specification() -> None:
    packed = b"".join(int(each).to_bytes(8, "little") for each in chunks._table())

    assert len(packed) == 2048
    expected = "e1d3936666d7ae7a977c958e9afcc75f90aaca758ce5fbe4ece61dffefe1912c"
    assert hashlib.sha256(packed).hexdigest() == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ()),
        (b"hello", (5,)),
        (bytes(200_000), ZEROS_LENGTHS),
        (ramp(), RAMP_LENGTHS),
        (stream()[:1048576], STREAM_LENGTHS),
    ],
    ids=["empty", "hello", "zeros", "ramp", "stream"],
)
def test_files_of_the_vectors_are_cut_as_hf_xet_cuts_them(content: bytes, expected: tuple[int, ...]) -> None:
    assert lengths(content) == expected


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 400_000), st.integers(1, 256))
def test_cuts_are_those_of_the_rule_byte_by_byte(num_bytes: int, alphabet: int) -> None:
    content = bytes(random.Random(alphabet).choices(range(alphabet), k=num_bytes))

    assert lengths(content) == byte_by_byte(content)


def test_bytes_put_in_before_change_the_chunks_around_them_only() -> None:
    content = random.Random(3).randbytes(3_000_000)
    changed = content[:1_000_000] + b"new" + content[1_000_000:]

    before, after = (
        {content[a:b] for a, b in pairwise([0, *chunks.cut(content)])} for content in (content, changed)
    )

    assert len(after - before) <= 3

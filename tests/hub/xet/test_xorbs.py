import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import lz4.frame as lz4_frame
from hypothesis import given
from hypothesis import strategies as st
from tests.hub.xet.xet_files import RAMP_LENGTHS, STREAM_LENGTHS, cut, make_xorb, ramp, stream

from ayni.hub.xet.hashes import chunk_hash, to_text
from ayni.hub.xet.xorbs import (
    CHUNKS_AT_MOST,
    GROUPED_LZ4,
    LZ4,
    NO_COMPRESSION,
    ChunkFormatError,
    XorbFormatError,
    XorbIndex,
    XorbReader,
    XorbTooLargeError,
    pack,
    unpack,
    unpack_records,
)

HELLO = bytes.fromhex("0005000000050000") + b"hello"


def read(body: bytes, piece_bytes: int = 1 << 20) -> XorbIndex:
    reader = XorbReader()
    for start in range(0, len(body), piece_bytes):
        reader.feed(body[start : start + piece_bytes])
    return reader.finish()


def record(stored: bytes, scheme: int, length: int, version: int = 0) -> bytes:
    return (
        bytes([version, *len(stored).to_bytes(3, "little"), scheme, *length.to_bytes(3, "little")]) + stored
    )


def test_a_xorb_of_hello_is_read_as_hf_xet_writes_it() -> None:
    index = read(HELLO)

    assert index.chunk_hashes == chunk_hash(b"hello") == index.xorb_hash
    assert (index.record_ends, index.unpacked_ends) == ((13,), (5,))
    assert pack(b"hello") == HELLO


def test_the_stream_of_the_vectors_makes_the_xorb_that_hf_xet_sends() -> None:
    xorb = make_xorb(cut(stream()[:1048576], STREAM_LENGTHS))

    assert len(xorb.body) == 1048696
    assert to_text(xorb.name) == "9146554a0616aed79b2d6450fc676d4e3432bad6779d1d0c8a34169f93c8f922"
    assert (
        to_text(xorb.index.hashes(8, 9)) == "72bbc923706de0ed9185ed95f633f959e83668e75d15a883220d7aaa6ebc338b"
    )


@pytest.mark.parametrize("piece_bytes", [1, 7, 8, 9, 1000, 1 << 20])
def test_it_does_not_matter_in_which_pieces_a_xorb_arrives(piece_bytes: int) -> None:
    body = pack(bytes(3000)) + pack(b"hello") + pack(ramp()[:1001], GROUPED_LZ4)

    reader = XorbReader()
    kept = [reader.feed(body[at : at + piece_bytes]) for at in range(0, len(body), piece_bytes)]

    assert reader.finish() == read(body)
    assert b"".join(kept) == body


def test_an_index_comes_back_from_its_bytes() -> None:
    index = make_xorb(cut(ramp(), RAMP_LENGTHS), GROUPED_LZ4).index

    again = XorbIndex.from_bytes(index.to_bytes())

    assert again == index
    assert len(index.to_bytes()) == 40 * index.num_chunks
    assert again.num_unpacked(1, 3) == 20012 + 131072
    assert again.record_start(0) == 0 and again.record_start(2) == index.record_ends[1]


@given(st.binary(min_size=1, max_size=3000), st.sampled_from([NO_COMPRESSION, LZ4, GROUPED_LZ4]))
def test_what_is_packed_is_unpacked(content: bytes, scheme: int) -> None:
    content = content * 3

    packed = pack(content, scheme)

    assert b"".join(unpack_records(memoryview(packed))) == content
    assert read(packed).chunk_hashes == chunk_hash(content)


@pytest.mark.parametrize(
    ("content", "grouped"), [(b"abcdefghij", b"aeibfjcgdh"), (b"ABCDEFGHIJK", b"AEIBFJCGKDH")]
)
def test_bytes_are_taken_out_of_their_four_groups(content: bytes, grouped: bytes) -> None:
    frame = lz4_frame.compress(grouped)

    assert bytes(unpack(memoryview(frame), GROUPED_LZ4, len(content))) == content


def test_a_footer_of_older_writers_is_not_read_and_not_kept() -> None:
    reader = XorbReader()

    kept = [reader.feed(piece) for piece in (HELLO + b"XETB", b"LOB" + b"junk" * 50, bytes(1000))]

    assert reader.finish() == read(HELLO)
    assert b"".join(kept) == HELLO


@pytest.mark.parametrize("piece_bytes", [1, 3, 13, 15, 1000])
def test_a_footer_is_found_in_whatever_pieces_it_comes(piece_bytes: int) -> None:
    body = HELLO + b"XETBLOB" + bytes(range(100))
    reader = XorbReader()
    kept = [reader.feed(body[at : at + piece_bytes]) for at in range(0, len(body), piece_bytes)]

    assert reader.finish() == read(HELLO)
    assert b"".join(kept) == HELLO


@pytest.mark.parametrize("piece_bytes", [1, 5, 1000])
def test_what_only_begins_like_a_footer_is_refused(piece_bytes: int) -> None:
    with pytest.raises(XorbFormatError):
        read(HELLO + b"XETBLXX" + bytes(100), piece_bytes)


def test_a_footer_without_end_is_refused() -> None:
    reader = XorbReader()
    reader.feed(HELLO + b"XETBLOB")

    with pytest.raises(XorbTooLargeError):
        for _ in range(20):
            reader.feed(bytes(1 << 17))


ZEROS = lz4_frame.compress(bytes(1000))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        HELLO[:-1],
        HELLO + b"\0",
        HELLO + b"XETBLO",
        record(b"hello", NO_COMPRESSION, 5, version=1),
        record(b"hello", 3, 5),
        record(b"hello", 99, 5),
        record(b"hello", NO_COMPRESSION, 6),
        record(b"", NO_COMPRESSION, 0),
        record(b"hello", LZ4, 0),
        record(b"hello", LZ4, 131073),
        record(b"hello", LZ4, 5),
        record(ZEROS, LZ4, 999),
        record(ZEROS, LZ4, 1001),
        record(ZEROS + b"x", LZ4, 1000),
        record(ZEROS + ZEROS, LZ4, 1000),
        record(ZEROS[:-1], LZ4, 1000),
        record(lz4_frame.compress(bytes(1 << 24)), LZ4, 131072),
        record(b"\x50\x2a\x4d\x18\x00\x00\x00\x00" + ZEROS, LZ4, 1000),
        record(bytes(131073), NO_COMPRESSION, 131073),
    ],
)
def test_what_is_no_xorb_is_refused(body: bytes) -> None:
    with pytest.raises(XorbFormatError):
        read(body)


def test_a_xorb_may_have_8192_chunks_and_no_more() -> None:
    assert read(pack(b"a") * CHUNKS_AT_MOST).num_chunks == CHUNKS_AT_MOST

    with pytest.raises(XorbTooLargeError, match="8192"):
        read(pack(b"a") * (CHUNKS_AT_MOST + 1))


def test_a_xorb_may_have_64_mib_of_content_and_no_more() -> None:
    largest = pack(bytes(131072)) * 512
    assert read(largest).unpacked_bytes == 1 << 26

    with pytest.raises(XorbTooLargeError, match="67108864"):
        read(largest + pack(b"a"))


def test_records_that_were_overwritten_on_the_disk_are_noticed() -> None:
    packed = pack(bytes(5000))

    for damaged in (packed[:-1], packed[:4] + b"\x09" + packed[5:], packed[:8] + b"\xff" + packed[9:]):
        with pytest.raises(ChunkFormatError):
            unpack_records(memoryview(damaged))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for candidate in (body, HELLO + body, bytes([0, 9, 0, 0, 1, 9, 0, 0]) + body):
        try:
            read(candidate)
        except XorbFormatError:
            continue

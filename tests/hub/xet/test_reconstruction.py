"""Ranges of files are found in the chunks of their xorbs."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

from hypothesis import given
from hypothesis import strategies as st
from tests.hub.xet.xet_files import claim_of, make_xorb

from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.reconstruction import RangeNotSatisfiableError, Stretch, reconstruction, stretches
from ayni.hub.xet.xorbs import XorbIndex

CHUNKS = [bytes([number]) * (10 + number) for number in range(6)]
FIRST, SECOND = make_xorb(CHUNKS[:4]), make_xorb(CHUNKS[4:])
INDEXES = {each.name: each.index for each in (FIRST, SECOND)}
RUNS = ((FIRST, 1, 4), (SECOND, 0, 1), (FIRST, 0, 2), (SECOND, 0, 2))
CONTENT = b"".join([*CHUNKS[1:4], CHUNKS[4], *CHUNKS[0:2], *CHUNKS[4:6]])
TERMS = claim_of(CONTENT, *RUNS).terms


def index_of(xorb: bytes) -> XorbIndex:
    return INDEXES[xorb]


def link_to(xorb: bytes, first: int, last: int) -> str:
    return f"{to_text(xorb)[:4]}:{first}-{last}"


def content_of(stretch: Stretch) -> bytes:
    chunks = CHUNKS[:4] if stretch.xorb == FIRST.name else CHUNKS[4:]
    content = b"".join(chunks[stretch.start : stretch.stop])
    return content[stretch.skip_bytes : stretch.skip_bytes + stretch.num_bytes]


@given(st.integers(0, len(CONTENT)), st.integers(0, len(CONTENT) + 20))
def test_stretches_give_exactly_the_range_and_no_chunk_outside_it(start: int, stop: int) -> None:
    found = stretches(TERMS, start, stop, index_of)

    assert b"".join(map(content_of, found)) == CONTENT[start:stop]
    for each in found:
        places = index_of(each.xorb)
        assert each.skip_bytes < places.num_unpacked(each.start, each.start + 1)
        whole = places.num_unpacked(each.start, each.stop)
        assert whole - each.skip_bytes - each.num_bytes < places.num_unpacked(each.stop - 1, each.stop)


def test_a_whole_file_is_answered_with_its_terms_and_each_xorb_once() -> None:
    answer = reconstruction(TERMS, (0, len(CONTENT)), index_of, link_to, version=2)

    first, second = to_text(FIRST.name), to_text(SECOND.name)
    assert answer["offset_into_first_range"] == 0
    assert [each["hash"] for each in answer["terms"]] == [first, second, first, second]
    assert [each["unpacked_length"] for each in answer["terms"]] == [36, 14, 21, 29]
    assert answer["terms"][0]["range"] == {"start": 1, "end": 4}
    last = len(FIRST.body) - 1
    assert answer["xorbs"][first] == [
        {
            "url": link_to(FIRST.name, 0, last),
            "ranges": [{"chunks": {"start": 0, "end": 4}, "bytes": {"start": 0, "end": last}}],
        }
    ]
    assert len(answer["xorbs"][second]) == 1


def test_a_range_within_a_file_leaves_out_chunks_and_says_what_to_skip() -> None:
    # Byte 12 is the second of chunk 2: the file begins with chunk 1, of 11 bytes.
    answer = reconstruction(TERMS, (12, 13), index_of, link_to, version=1)

    name, ends = to_text(FIRST.name), FIRST.index.record_ends
    assert answer["offset_into_first_range"] == 1
    assert answer["terms"] == [{"hash": name, "unpacked_length": 12, "range": {"start": 2, "end": 3}}]
    place = {"start": ends[1], "end": ends[2] - 1}
    assert answer["fetch_info"] == {
        name: [
            {"range": {"start": 2, "end": 3}, "url": link_to(FIRST.name, *place.values()), "url_range": place}
        ]
    }


def test_runs_of_chunks_that_do_not_touch_are_entries_of_their_own() -> None:
    terms = claim_of(CHUNKS[0] + CHUNKS[3], (FIRST, 0, 1), (FIRST, 3, 4)).terms

    answer = reconstruction(terms, (0, 100), index_of, link_to, version=1)

    runs = [each["range"] for each in answer["fetch_info"][to_text(FIRST.name)]]
    assert runs == [{"start": 0, "end": 1}, {"start": 3, "end": 4}]


def test_a_range_behind_the_end_is_refused_and_one_over_the_end_is_cut() -> None:
    with pytest.raises(RangeNotSatisfiableError):
        reconstruction(TERMS, (len(CONTENT), len(CONTENT) + 1), index_of, link_to, version=2)

    answer = reconstruction(TERMS, (len(CONTENT) - 1, 10**12), index_of, link_to, version=2)
    assert len(answer["terms"]) == 1

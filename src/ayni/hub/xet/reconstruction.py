"""Which chunks of which xorbs make a range of a file, as values and as the protocol's JSON.

A range is a list of stretches: chunks [start, stop) of one xorb, of whose content the first bytes may have to
be left out. The JSON offers each client the bytes of whole records, once for each run of chunks of a xorb.

Not covered: reading the bytes (`contents.py`), and who may.

Source: Xet protocol specification 1.1.0, pages "CAS API" and "Download protocol".
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from ayni.errors import UserError
from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.shards import Term
from ayni.hub.xet.xorbs import XorbIndex

IndexOf = Callable[[bytes], XorbIndex]
LinkTo = Callable[[bytes, int, int], str]
"""(xorb, first byte, last byte) -> the URL where these bytes, the last included, may be read."""


class RangeNotSatisfiableError(UserError):
    """A range begins behind the end of its file."""

    def __init__(self, *, start: int, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        super().__init__(f"The range begins at byte {start} of a file of {size_bytes} bytes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The bytes [skip_bytes, skip_bytes + num_bytes) of the content of chunks [start, stop) of a xorb."""

    xorb: bytes
    start: int
    stop: int
    skip_bytes: int
    num_bytes: int


def stretches(terms: Sequence[Term], start: int, stop: int, index_of: IndexOf) -> list[Stretch]:
    """What makes the bytes [start, stop) of the file of these terms, in order.

    Whole chunks outside the range are left out. Only the first and the last term's index is looked at.
    """
    ends = list(accumulate(term.num_bytes for term in terms))
    stop = min(stop, ends[-1] if ends else 0)
    found, at = [], start
    number = bisect_right(ends, start)
    while at < stop:
        term, term_start = terms[number], ends[number] - terms[number].num_bytes
        taken = min(stop, ends[number]) - at
        found.append(_part_of(term, at - term_start, at - term_start + taken, index_of))
        at += taken
        number += 1
    return found


def reconstruction(
    terms: Sequence[Term],
    byte_range: tuple[int, int],
    index_of: IndexOf,
    link_to: LinkTo,
    *,
    version: Literal[1, 2],
) -> dict[str, Any]:
    """The protocol's answer for the bytes [start, stop) of a file.

    Raises:
        RangeNotSatisfiableError: it begins behind the end of the file.
    """
    start, stop = byte_range
    size_bytes = sum(term.num_bytes for term in terms)
    if start >= size_bytes > 0:
        raise RangeNotSatisfiableError(start=start, size_bytes=size_bytes)
    wanted = stretches(terms, start, stop, index_of)
    answer: dict[str, Any] = {
        "offset_into_first_range": wanted[0].skip_bytes if wanted else 0,
        "terms": [
            {
                "hash": to_text(each.xorb),
                "unpacked_length": index_of(each.xorb).num_unpacked(each.start, each.stop),
                "range": {"start": each.start, "end": each.stop},
            }
            for each in wanted
        ],
    }
    entry, key = (_entry_1, "fetch_info") if version == 1 else (_entry_2, "xorbs")
    answer[key] = {
        to_text(xorb): [entry(xorb, run, index_of(xorb), link_to) for run in runs]
        for xorb, runs in _runs_of_chunks(wanted).items()
    }
    return answer


def _part_of(term: Term, start: int, stop: int, index_of: IndexOf) -> Stretch:
    """The bytes [start, stop) of a term."""
    if start == 0 and stop == term.num_bytes:
        return Stretch(xorb=term.xorb, start=term.start, stop=term.stop, skip_bytes=0, num_bytes=stop)
    ends = index_of(term.xorb).unpacked_ends
    term_start = ends[term.start - 1] if term.start else 0
    first = bisect_right(ends, term_start + start)
    last = bisect_right(ends, term_start + stop - 1)
    first_start = ends[first - 1] if first else 0
    return Stretch(
        xorb=term.xorb,
        start=first,
        stop=last + 1,
        skip_bytes=term_start + start - first_start,
        num_bytes=stop - start,
    )


def _runs_of_chunks(wanted: Sequence[Stretch]) -> dict[bytes, list[tuple[int, int]]]:
    """Runs of chunks for each xorb; those that touch or overlap are one."""
    by_xorb: dict[bytes, list[tuple[int, int]]] = {}
    for each in wanted:
        by_xorb.setdefault(each.xorb, []).append((each.start, each.stop))
    return {xorb: _merged(sorted(runs)) for xorb, runs in by_xorb.items()}


def _merged(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged = [runs[0]]
    for start, stop in runs[1:]:
        if start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _entry_1(xorb: bytes, run: tuple[int, int], index: XorbIndex, link_to: LinkTo) -> dict[str, Any]:
    first, last = _bytes_of(run, index)
    return {
        "range": {"start": run[0], "end": run[1]},
        "url": link_to(xorb, first, last),
        "url_range": {"start": first, "end": last},
    }


def _entry_2(xorb: bytes, run: tuple[int, int], index: XorbIndex, link_to: LinkTo) -> dict[str, Any]:
    # One range an entry: several would have to be answered as multipart/byteranges.
    first, last = _bytes_of(run, index)
    chunks, place = {"start": run[0], "end": run[1]}, {"start": first, "end": last}
    return {"url": link_to(xorb, first, last), "ranges": [{"chunks": chunks, "bytes": place}]}


def _bytes_of(run: tuple[int, int], index: XorbIndex) -> tuple[int, int]:
    return index.record_start(run[0]), index.record_start(run[1]) - 1

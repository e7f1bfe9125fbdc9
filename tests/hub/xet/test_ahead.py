"""What was hashed ahead is the digest of the first terms of a file, whatever was guessed."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import hashlib
import random
from dataclasses import replace
from pathlib import Path

from tests.hub.stored_files import object_at
from tests.hub.xet.xet_files import claim_of, make_xorb
from tests.hub.xet.xet_store import WHEN, Shelf, shelf

from ayni.hub.xet.ahead import DigestsAhead
from ayni.hub.xet.hashes import is_eligible
from ayni.hub.xet.register import FalseClaimError
from ayni.hub.xet.shards import Term, write_upload

__all__ = ["shelf"]

CONTENTS = [[f"{number}-{part}".encode() * 99 for part in range(3)] for number in range(5)]
XORBS = [make_xorb(chunks) for chunks in CONTENTS]
WHOLE = [xorb.term(0, 3) for xorb in XORBS]
SESSION = (1, "ada", "one")


def sha256_of(terms: list[Term]) -> str:
    chunks = {xorb.name: chunks for xorb, chunks in zip(XORBS, CONTENTS, strict=True)}
    return hashlib.sha256(
        b"".join(b"".join(chunks[term.xorb][term.start : term.stop]) for term in terms)
    ).hexdigest()


@pytest.fixture
def stored(shelf: Shelf) -> Shelf:
    for xorb in XORBS:
        shelf.receive(shelf.ada(), xorb)
    return shelf


def send(ahead: DigestsAhead, order: list[int], ends: list[int] | None = None) -> None:
    for number in order:
        ahead.expect(SESSION, XORBS[number].name)
    for number in order if ends is None else ends:
        ahead.came(SESSION, XORBS[number].name)


def test_a_file_of_whole_xorbs_in_the_order_of_their_beginning_is_hashed_when_they_are_there(
    stored: Shelf,
) -> None:
    send(stored.xet.ahead, [0, 1, 2, 3, 4], ends=[1, 0, 4, 2, 3])

    digest, num_terms = stored.xet.ahead.behind(SESSION, WHOLE)

    assert num_terms == 5
    assert digest.hexdigest() == sha256_of(WHOLE)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ([*WHOLE[:2], XORBS[2].term(0, 2)], 2),
        ([WHOLE[0], XORBS[1].term(1, 3)], 1),
        ([WHOLE[0], *WHOLE], 1),
        (WHOLE[1:], 0),
        ([], 0),
    ],
)
def test_only_what_a_file_begins_with_counts(stored: Shelf, terms: list[Term], expected: int) -> None:
    send(stored.xet.ahead, [0, 1, 2, 3])

    digest, num_terms = stored.xet.ahead.behind(SESSION, terms)

    assert num_terms == expected
    assert digest.hexdigest() == sha256_of(terms[:expected])


def test_in_any_order_of_coming_what_counts_is_the_digest_of_what_it_says(stored: Shelf) -> None:
    rng = random.Random(0)
    for _ in range(100):
        ahead = DigestsAhead(stored.xet.chunks)
        order = rng.choices(range(5), k=rng.randrange(8))
        ends = rng.sample(order, rng.randrange(len(order) + 1))
        terms = rng.choices(WHOLE, k=2) if rng.random() < 0.3 else WHOLE[: rng.randrange(6)]
        for number in order:
            ahead.expect(SESSION, XORBS[number].name)
            if rng.random() < 0.05:
                ahead.asked(SESSION, rng.randbytes(32), is_known=rng.random() < 0.5)
        send(ahead, [], ends)

        for _ in range(2):
            digest, num_terms = ahead.behind(SESSION, terms)

            assert digest.hexdigest() == sha256_of(terms[:num_terms])


def test_guessing_ends_with_a_second_file_or_chunks_that_are_known(stored: Shelf) -> None:
    first, second = XORBS[0].index.hashes(0, 1), XORBS[1].index.hashes(0, 1)
    assert not is_eligible(first) and not is_eligible(second)

    def hashed(*asked: tuple[bytes, bool]) -> int:
        ahead = DigestsAhead(stored.xet.chunks)
        for chunk, is_known in asked:
            ahead.asked(SESSION, chunk, is_known=is_known)
        send(ahead, [0, 1])
        return ahead.behind(SESSION, WHOLE[:2])[1]

    assert hashed((first, False), (first, False)) == 2
    assert hashed((first, False), (second, False)) == 0
    assert hashed((first, True)) == 0


def test_a_xorb_that_cannot_be_read_ends_guessing(stored: Shelf, tmp_path: Path) -> None:
    known = stored.xet.chunks.find(XORBS[1].name)
    assert known is not None
    damaged = object_at(tmp_path / "xorbs", known.object_name)
    damaged.write_bytes(damaged.read_bytes()[:20])

    send(stored.xet.ahead, [0, 1, 2])
    digest, num_terms = stored.xet.ahead.behind(SESSION, WHOLE)

    assert num_terms == 1
    assert digest.hexdigest() == sha256_of(WHOLE[:1])


def test_sessions_know_nothing_of_each_other(stored: Shelf) -> None:
    send(stored.xet.ahead, [0, 1])

    assert stored.xet.ahead.behind((2, "ada", "one"), WHOLE)[1] == 0
    assert stored.xet.ahead.behind((1, "ben", "one"), WHOLE)[1] == 0


def test_a_false_digest_is_found_out_of_what_was_hashed_ahead_too(stored: Shelf) -> None:
    send(stored.xet.ahead, [0, 1])
    content = b"".join(b"".join(chunks) for chunks in CONTENTS[:2])
    claim = claim_of(content, (XORBS[0], 0, 3), (XORBS[1], 0, 3))
    false = write_upload([replace(claim, sha256="0" * 64)], [])

    with pytest.raises(FalseClaimError):
        stored.xet.register(stored.ada(), false, when=WHEN, session=SESSION)

    assert stored.xet.register(stored.ada(), write_upload([claim], []), when=WHEN, session=SESSION) is True

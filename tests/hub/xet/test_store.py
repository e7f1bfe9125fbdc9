"""Answers about chunks name only what the caller may read, and hide all other hashes."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

from datetime import timedelta

from tests.hub.xet.xet_files import Xorb, claim_of, make_xorb
from tests.hub.xet.xet_store import WHEN, Shelf, shelf

from ayni.hub.xet.hashes import keyed
from ayni.hub.xet.store import UnknownChunkError, UnknownFileError
from ayni.hub.xet.tokens import XetGrant, answer_key

__all__ = ["shelf"]

FIRST, SECOND = make_xorb([b"head", b"body"]), make_xorb([b"tail", b"end"])
CLAIM = claim_of(b"headbodytail", (FIRST, 0, 2), (SECOND, 0, 1))
HEAD = FIRST.index.hashes(0, 1)


def upload(shelf: Shelf, grant: XetGrant) -> None:
    for xorb in (FIRST, SECOND):
        shelf.receive(grant, xorb)
    shelf.register(grant, CLAIM)


def names(shelf: Shelf, grant: XetGrant, answer: bytes, xorb: Xorb) -> bool:
    key = answer_key(b"s" * 32, grant, now=WHEN).key
    return xorb.name in answer and keyed(key, xorb.index.hashes(0, 1)) in answer


def test_the_first_chunk_of_a_file_leads_to_all_xorbs_of_the_file(shelf: Shelf) -> None:
    upload(shelf, shelf.ada())

    answer = shelf.xet.answer(shelf.ben(), HEAD, now=WHEN)

    assert names(shelf, shelf.ben(), answer, FIRST)
    assert names(shelf, shelf.ben(), answer, SECOND)
    assert HEAD not in answer


def test_chunks_of_a_private_repository_are_not_found_by_others(shelf: Shelf) -> None:
    upload(shelf, shelf.ada(shelf.secret))

    with pytest.raises(UnknownChunkError):
        shelf.xet.answer(shelf.ben(), HEAD, now=WHEN)

    assert names(shelf, shelf.ada(), shelf.xet.answer(shelf.ada(), HEAD, now=WHEN), FIRST)


def test_other_xorbs_of_a_file_are_named_only_where_they_may_be_read_too(shelf: Shelf) -> None:
    shelf.receive(shelf.ben(), FIRST)
    upload(shelf, shelf.ada(shelf.secret))

    answer = shelf.xet.answer(shelf.ben(), HEAD, now=WHEN)

    assert FIRST.name in answer
    assert SECOND.name not in answer


def test_a_chunk_in_the_middle_of_a_file_is_not_told_of(shelf: Shelf) -> None:
    upload(shelf, shelf.ada())

    with pytest.raises(UnknownChunkError):
        shelf.xet.answer(shelf.ada(), FIRST.index.hashes(1, 2), now=WHEN)


def test_answers_are_keyed_by_member_repository_and_day(shelf: Shelf) -> None:
    secret, day = b"s" * 32, timedelta(days=1)
    keys = {
        answer_key(secret, shelf.ada(), now=WHEN).key,
        answer_key(secret, shelf.ada(shelf.secret), now=WHEN).key,
        answer_key(secret, shelf.ben(), now=WHEN).key,
        answer_key(secret, shelf.ada(), now=WHEN + day).key,
        answer_key(b"t" * 32, shelf.ada(), now=WHEN).key,
    }

    assert len(keys) == 5
    same = answer_key(secret, shelf.ada(), now=WHEN + timedelta(minutes=1))
    assert same == answer_key(secret, shelf.ada(), now=WHEN)
    assert same.begins_at <= WHEN < same.ends_at == same.begins_at + day


def test_a_file_is_reconstructed_only_for_a_repository_that_has_it(shelf: Shelf) -> None:
    upload(shelf, shelf.ada(shelf.secret))

    answer = shelf.xet.reconstruction(
        shelf.ada(shelf.secret), CLAIM.file_hash, None, lambda *at: str(at), version=2
    )
    assert len(answer["terms"]) == 2
    for grant in (shelf.ben(), shelf.ada()):
        with pytest.raises(UnknownFileError):
            shelf.xet.reconstruction(grant, CLAIM.file_hash, None, lambda *at: str(at), version=2)

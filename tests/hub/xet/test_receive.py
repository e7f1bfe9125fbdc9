"""Xorbs are known when they are what their name says, and leave nothing when they are not."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import os
import random
from datetime import timedelta

from tests.hub.xet.xet_files import make_xorb, ramp
from tests.hub.xet.xet_store import WHEN, Shelf, shelf

from ayni.hub.xet import garbage, index
from ayni.hub.xet.receive import XorbFreedError, XorbMismatchError
from ayni.hub.xet.repacking import SMALL_BYTES
from ayni.hub.xet.xorbs import GROUPED_LZ4, LZ4, NO_COMPRESSION, XorbFormatError

__all__ = ["shelf"]

ZEROS = make_xorb([bytes(5000), b"hello"])
PLAIN = make_xorb([bytes(5000), b"hello"], NO_COMPRESSION)


def test_a_xorb_is_stored_once_and_known_with_its_chunks(shelf: Shelf) -> None:
    assert shelf.receive(shelf.ada(), ZEROS) is True
    assert shelf.receive(shelf.ada(), ZEROS) is False

    known = shelf.xet.chunks.find(ZEROS.name)
    assert known.index == ZEROS.index
    assert b"".join(shelf.xet.chunks.read_records(ZEROS.name, 0, len(ZEROS.body))) == ZEROS.body
    assert list(shelf.xet.xorbs.list()) == [known.object_name]


def test_of_two_forms_of_one_xorb_the_first_stays(shelf: Shelf) -> None:
    assert ZEROS.name == PLAIN.name and ZEROS.body != PLAIN.body
    first = shelf.xet.upload(shelf.ada(), ZEROS.name)
    second = shelf.xet.upload(shelf.ben(), PLAIN.name)
    with first, second:
        first.write(ZEROS.body)
        second.write(PLAIN.body)

        assert first.finish(when=WHEN) is True
        assert second.finish(when=WHEN) is False

    assert shelf.xet.chunks.index_of(ZEROS.name) == ZEROS.index
    assert len(list(shelf.xet.xorbs.list())) == 1


def test_a_small_xorb_is_packed_more_tightly_and_read_as_it_was(shelf: Shelf) -> None:
    few_letters = bytes(random.Random(0).choices(b"abcdefgh", k=100_000))
    chunks = [bytes(5000), few_letters, b"hello"]
    sent = make_xorb(chunks, GROUPED_LZ4)
    upload = shelf.xet.upload(shelf.ada(), sent.name, announced_bytes=len(sent.body))
    with upload:
        upload.write(sent.body[:70_000])
        upload.write(sent.body[70_000:])
        upload.finish(when=WHEN)

    known = shelf.xet.chunks.find(sent.name)
    shelf.xet.chunks.check(sent.name)
    assert known.index.stored_bytes < len(sent.body)
    assert known.index.chunk_hashes == sent.index.chunk_hashes
    (read,) = shelf.xet.chunks.read_unchecked(sent.name, 0, 3)
    assert [bytes(each) for each in read] == chunks


def test_a_xorb_that_is_larger_than_it_was_said_to_be_is_stored_as_it_came(shelf: Shelf) -> None:
    chunks = [ramp()[:131_072], *(os.urandom(131_072) for _ in range(SMALL_BYTES // 131_072))]
    sent = make_xorb(chunks, GROUPED_LZ4)
    upload = shelf.xet.upload(shelf.ada(), sent.name, announced_bytes=1000)
    with upload:
        for start in range(0, len(sent.body), 1 << 20):
            upload.write(sent.body[start : start + (1 << 20)])
        upload.finish(when=WHEN)

    assert shelf.xet.chunks.index_of(sent.name) == sent.index
    shelf.xet.chunks.check(sent.name)


def test_a_xorb_under_another_name_leaves_nothing(shelf: Shelf) -> None:
    upload = shelf.xet.upload(shelf.ada(), make_xorb([b"other"]).name)
    with upload, pytest.raises(XorbMismatchError):
        upload.write(ZEROS.body)
        upload.finish(when=WHEN)

    assert list(shelf.xet.xorbs.list()) == []
    with shelf.xet.database.reading() as connection:
        assert index.stored_xorbs(connection, [ZEROS.name]) == set()


@pytest.mark.parametrize("body", [b"", ZEROS.body[:-1], ZEROS.body + b"x", b"\x09" + ZEROS.body])
def test_what_is_no_xorb_leaves_nothing(shelf: Shelf, body: bytes) -> None:
    upload = shelf.xet.upload(shelf.ada(), ZEROS.name)
    with upload, pytest.raises(XorbFormatError):
        upload.write(body)
        upload.finish(when=WHEN)

    assert list(shelf.xet.xorbs.list()) == []


def test_a_name_that_is_known_gives_no_use_of_its_xorb_without_its_content(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(shelf.secret), ZEROS)

    upload = shelf.xet.upload(shelf.ben(), ZEROS.name)
    with upload, pytest.raises(XorbMismatchError):
        upload.write(make_xorb([b"guess"]).body)
        upload.finish(when=WHEN)

    with shelf.xet.database.reading() as connection:
        holder = index.Holder(repository_id=shelf.other.id, user="ben")
        from ayni.hub.permissions import readable

        may = readable(shelf.ben().caller)
        assert index.usable_xorbs(connection, [ZEROS.name], holder, readable=may) == set()


def test_a_xorb_that_is_freed_while_it_comes_again_is_asked_for_once_more(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), ZEROS)
    upload = shelf.xet.upload(shelf.ada(), ZEROS.name)
    with upload:
        upload.write(ZEROS.body)
        later = WHEN + timedelta(days=1)
        garbage.free_xorbs(shelf.xet.database, shelf.xet.xorbs, shelf.xet.chunks, before=later)

        with pytest.raises(XorbFreedError):
            upload.finish(when=WHEN)


def test_chunks_that_clients_ask_for_are_found(shelf: Shelf) -> None:
    eligible = make_xorb([b"a", b"196", b"b"], LZ4)
    shelf.receive(shelf.ada(), eligible)

    with shelf.xet.database.reading() as connection:
        assert index.xorbs_with(connection, eligible.index.hashes(1, 2)) == [eligible.name]
        assert index.xorbs_with(connection, eligible.index.hashes(0, 1)) == []

"""What no repository has is freed after its time, and nothing else."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import hashlib
import io
from datetime import timedelta

from tests.hub.xet.xet_files import claim_of, make_xorb
from tests.hub.xet.xet_store import WHEN, Shelf, shelf

from ayni.hub.tables import repository_objects_table
from ayni.hub.uploads import received_table
from ayni.hub.xet import garbage, index

__all__ = ["shelf"]

KEPT, LEFT = make_xorb([b"kept"]), make_xorb([b"left"])
LATER = WHEN + timedelta(days=1)


def free(shelf: Shelf, before: object = LATER) -> tuple[int, int]:
    with shelf.xet.database.transaction() as connection:
        num_files = garbage.free_files(connection, before=before)  # type: ignore[arg-type]
    store = shelf.xet
    return num_files, garbage.free_xorbs(store.database, store.xorbs, store.chunks, before=before)  # type: ignore[arg-type]


def test_a_file_that_is_in_a_repository_stays_and_one_that_is_in_none_goes(shelf: Shelf) -> None:
    claims = []
    for xorb, content in ((KEPT, b"kept"), (LEFT, b"left")):
        shelf.receive(shelf.ada(), xorb)
        claims.append(claim_of(content, (xorb, 0, 1)))
    shelf.register(shelf.ada(), *claims)
    assert free(shelf) == (0, 0), "both were received a moment ago"
    with shelf.xet.database.transaction() as connection:
        connection.execute(received_table.delete())
        kept = {"repository_id": shelf.public.id, "sha256": claims[0].sha256, "size_bytes": 4}
        connection.execute(repository_objects_table.insert().values(kept))

    assert free(shelf, before=WHEN) == (0, 0), "neither is old enough"
    assert free(shelf) == (1, len(LEFT.body))

    contents = shelf.xet.contents(shelf.objects)
    assert b"".join(contents.read(claims[0].sha256)) == b"kept"
    assert not contents.has(hashlib.sha256(b"left").hexdigest())
    with shelf.xet.database.reading() as connection:
        assert index.stored_xorbs(connection, [KEPT.name, LEFT.name]) == {KEPT.name}


def test_a_xorb_that_was_freed_can_come_again(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), LEFT)
    free(shelf)

    assert shelf.receive(shelf.ada(), LEFT) is True
    assert shelf.register(shelf.ada(), claim_of(b"left", (LEFT, 0, 1))) is True


def test_bytes_that_a_crash_left_without_a_row_are_found(shelf: Shelf) -> None:
    shelf.receive(shelf.ada(), KEPT)
    left = shelf.xet.xorbs.put(io.BytesIO(b"half"))

    with shelf.xet.database.reading() as connection:
        assert list(garbage.unnamed_objects(connection, shelf.xet.xorbs)) == [left]

"""What was uploaded by chunks is read as any other object; what was damaged is not read at all."""

import pytest

pytest.importorskip("blake3")
pytest.importorskip("lz4.frame")

import hashlib
import io
import random
from dataclasses import replace
from pathlib import Path

from tests.hub.stored_files import files_in, object_at
from tests.hub.xet.xet_files import STREAM_LENGTHS, claim_of, cut, make_xorb, stream
from tests.hub.xet.xet_store import Shelf, shelf

from ayni.hub.encryption import EncryptedObjects
from ayni.hub.master_keys import LocalMasterKeys
from ayni.hub.xet.chunk_reader import DamagedXorbError
from ayni.hub.xet.contents import XetContents
from ayni.hub.xet.store import XetStore
from ayni.objects import MissingObjectError

__all__ = ["shelf"]

CHUNKS = cut(stream()[:1048576], STREAM_LENGTHS)
XORB, OTHER = make_xorb(CHUNKS), make_xorb([bytes(100_000), b"end"])
CONTENT = stream()[:1048576] + bytes(100_000) + b"".join(CHUNKS[3:14]) + b"end"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def contents(shelf: Shelf) -> XetContents:
    for xorb in (XORB, OTHER):
        shelf.receive(shelf.ada(), xorb)
    shelf.register(shelf.ada(), claim_of(CONTENT, (XORB, 0, 15), (OTHER, 0, 1), (XORB, 3, 14), (OTHER, 1, 2)))
    return shelf.xet.contents(shelf.objects)


def test_any_range_is_read(contents: XetContents) -> None:
    rng = random.Random(7)
    assert b"".join(contents.read(SHA256)) == CONTENT
    for _ in range(50):
        start, stop = sorted(rng.randrange(len(CONTENT) + 1) for _ in range(2))
        assert b"".join(contents.read(SHA256, start, stop)) == CONTENT[start:stop]
    assert contents.size(SHA256) == len(CONTENT) and contents.has(SHA256)


def test_pieces_are_about_a_mebibyte(contents: XetContents) -> None:
    assert max(map(len, contents.read(SHA256))) <= 1 << 20


def test_a_file_is_read_and_sought_like_any_other(contents: XetContents) -> None:
    with contents.open(SHA256) as file:
        assert file.read(10) == CONTENT[:10]
        assert file.read() == CONTENT[10:]
        assert file.seek(-5, io.SEEK_END) == len(CONTENT) - 5
        assert file.read(100) == CONTENT[-5:]
        file.seek(0)
        assert file.read() == CONTENT
        with pytest.raises(ValueError, match="before"):
            file.seek(-1)


def test_objects_that_are_not_made_of_chunks_are_read_from_the_store(contents: XetContents) -> None:
    sha256 = contents.put(io.BytesIO(b"whole"))

    assert b"".join(contents.read(sha256, 1)) == b"hole"
    assert contents.open(sha256).read() == b"whole"
    assert list(contents.list()) == [sha256]
    assert contents.delete(sha256) and not contents.has(sha256)


def test_what_is_not_stored_is_missing(contents: XetContents) -> None:
    assert contents.size("0" * 64) is None
    for ask in (contents.open, contents.read):
        with pytest.raises(MissingObjectError):
            ask("0" * 64)


@pytest.mark.parametrize("offset", [0, 3, 5, 8, 500_000])
def test_a_byte_that_was_changed_on_the_disk_breaks_the_reading_off(
    shelf: Shelf, contents: XetContents, tmp_path: Path, offset: int
) -> None:
    sha256 = shelf.xet.chunks.find(XORB.name).object_name
    stored = object_at(tmp_path / "xorbs", sha256)
    damaged = bytearray(stored.read_bytes())
    damaged[offset] ^= 0x41
    stored.write_bytes(damaged)

    shelf.xet.chunks.check(OTHER.name)
    with pytest.raises(DamagedXorbError):
        shelf.xet.chunks.check(XORB.name)
    read = bytearray()
    with pytest.raises(DamagedXorbError):
        for piece in contents.read(SHA256):
            read += piece

    assert CONTENT.startswith(bytes(read))


def test_a_xorb_that_was_cut_breaks_the_reading_off(
    shelf: Shelf, contents: XetContents, tmp_path: Path
) -> None:
    sha256 = shelf.xet.chunks.find(XORB.name).object_name
    stored = object_at(tmp_path / "xorbs", sha256)
    stored.write_bytes(stored.read_bytes()[:900_000])

    with pytest.raises(DamagedXorbError, match="900000 bytes"):
        shelf.xet.chunks.check(XORB.name)
    with pytest.raises(DamagedXorbError):
        b"".join(contents.read(SHA256))


def test_a_xorb_that_is_not_known_is_damage(shelf: Shelf) -> None:
    with pytest.raises(DamagedXorbError, match="database"):
        shelf.xet.chunks.find(b"\x01" * 32)


def test_xorbs_may_be_encrypted_where_they_are_kept(shelf: Shelf, tmp_path: Path) -> None:
    sealed = EncryptedObjects(str(tmp_path / "sealed"), LocalMasterKeys([b"k" * 32]))
    hidden = replace(shelf, xet=XetStore.over(shelf.xet.database, sealed, secret=b"s" * 32))
    for xorb in (XORB, OTHER):
        hidden.receive(hidden.ada(), xorb)
    hidden.register(hidden.ada(), claim_of(CONTENT[: 1048576 + 100_000], (XORB, 0, 15), (OTHER, 0, 1)))

    sha256 = hashlib.sha256(CONTENT[: 1048576 + 100_000]).hexdigest()
    assert b"".join(hidden.xet.contents(shelf.objects).read(sha256, 5, 1_100_000)) == CONTENT[5:1_100_000]
    plain = CHUNKS[0][:64]
    assert all(plain not in path.read_bytes() for path in files_in(tmp_path / "sealed"))
    hidden.xet.chunks.check(XORB.name)

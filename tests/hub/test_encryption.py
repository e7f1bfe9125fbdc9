"""Encrypted objects give what was stored, at any range, and nothing else: every change is noticed."""

import hashlib
import io
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hub.stored_files import StoredFile, files_in, object_at

from ayni.files import NotWritableError
from ayni.hub.encrypted_files import (
    PRELUDE_BYTES,
    SEGMENT_BYTES,
    STORED_SEGMENT_BYTES,
    content_size,
    num_segments,
    stored_size,
)
from ayni.hub.encryption import EncryptedObjects, UnreadableObjectError, encrypt_all
from ayni.hub.master_keys import LocalMasterKeys, UnknownMasterKeyError, UnwrapError
from ayni.objects import ContentMismatchError, MissingObjectError, ObjectStore

OLD, NEW = b"o" * 32, b"n" * 32


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def random_bytes(num_bytes: int) -> bytes:
    return random.Random(num_bytes).randbytes(num_bytes)


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> EncryptedObjects:
    urls = {"folder": str(tmp_path / "with [brackets] and %20"), "memory": f"memory://{tmp_path.name}"}
    return EncryptedObjects(urls[request.param], LocalMasterKeys([OLD]))


@pytest.fixture
def local(tmp_path: Path) -> EncryptedObjects:
    return EncryptedObjects(str(tmp_path / "objects"), LocalMasterKeys([OLD]))


def object_file(store: EncryptedObjects, sha256: str) -> StoredFile:
    return object_at(store.url, sha256, ".sealed")


def key_files(store: EncryptedObjects) -> list[StoredFile]:
    return files_in(f"{store.url}/keys")


SIZES = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 2 * SEGMENT_BYTES, 2 * SEGMENT_BYTES + 17]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_stored_comes_back(store: EncryptedObjects, size: int) -> None:
    content = random_bytes(size)

    sha256 = store.put(io.BytesIO(content))

    assert sha256 == digest(content)
    assert b"".join(store.read(sha256)) == content
    assert (store.has(sha256), store.size(sha256), list(store.list())) == (True, size, [sha256])
    assert store.local_path(sha256) is None
    with store.open(sha256) as file:
        assert file.read() == content


@pytest.mark.parametrize("size", SIZES)
def test_nothing_of_the_content_is_on_the_device(local: EncryptedObjects, size: int) -> None:
    content = (b"a secret sentence that compresses well. " * (size // 40 + 1))[:size]

    sha256 = local.put(io.BytesIO(content))

    stored = object_file(local, sha256).read_bytes()
    assert len(stored) == stored_size(size)
    assert b"secret sentence" not in stored + key_files(local)[0].read_bytes()
    assert len(set(stored[PRELUDE_BYTES:])) > min(size, 200) // 2


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_range_is_the_range_of_the_content(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size = 2 * SEGMENT_BYTES + 1000
    store, content = ranges_store(tmp_path_factory), random_bytes(size)
    near = st.sampled_from([0, SEGMENT_BYTES, 2 * SEGMENT_BYTES, size])
    place = st.builds(lambda base, off: max(0, base + off), near, st.integers(-3, 3)) | st.integers(
        0, size + 9
    )
    start, stop = data.draw(place), data.draw(st.none() | place)

    assert (
        b"".join(store.read(digest(content), start, stop)) == content[start : size if stop is None else stop]
    )
    with store.open(digest(content)) as file:
        file.seek(start)
        length = -1 if stop is None else max(0, stop - start)
        assert file.read(length) == content[start:][: None if length < 0 else length]


_RANGES: list[EncryptedObjects] = []


def ranges_store(tmp_path_factory: pytest.TempPathFactory) -> EncryptedObjects:
    if not _RANGES:
        _RANGES.append(EncryptedObjects(str(tmp_path_factory.mktemp("ranges")), LocalMasterKeys([OLD])))
        _RANGES[0].put(io.BytesIO(random_bytes(2 * SEGMENT_BYTES + 1000)))
    return _RANGES[0]


@given(size=st.integers(0, 5 * SEGMENT_BYTES))
def test_the_size_of_a_file_tells_the_size_of_its_content(size: int) -> None:
    assert content_size(stored_size(size)) == size


@given(size=st.integers(0, 5 * SEGMENT_BYTES))
def test_sizes_that_no_file_has_are_none(size: int) -> None:
    possible = {stored_size(each) for each in (size - 16, size - 32, size - 48, size - 64) if each >= 0}
    found = content_size(size)

    assert found is None or stored_size(found) == size
    assert found is not None or size not in possible


def test_the_same_content_is_stored_once(local: EncryptedObjects) -> None:
    first = local.put(io.BytesIO(b"weights"))
    before = object_file(local, first).read_bytes()

    assert local.put(io.BytesIO(b"weights")) == first

    assert object_file(local, first).read_bytes() == before
    assert len(key_files(local)) == 1


def test_two_objects_share_no_key_and_no_nonce(local: EncryptedObjects) -> None:
    one = EncryptedObjects(f"{local.url}-1", LocalMasterKeys([OLD]))
    two = EncryptedObjects(f"{local.url}-2", LocalMasterKeys([OLD]))

    files = [object_file(each, each.put(io.BytesIO(b"weights"))).read_bytes() for each in (one, two)]

    assert files[0][PRELUDE_BYTES:] != files[1][PRELUDE_BYTES:]
    assert files[0][12:28] != files[1][12:28]


def test_a_stream_that_breaks_leaves_nothing(local: EncryptedObjects) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 0:
                raise ConnectionError("gone")
            return super().read(size)

    with pytest.raises(ConnectionError):
        local.put(Broken(random_bytes(3 * SEGMENT_BYTES)))

    assert files_in(local.url) == []


def test_what_is_not_what_was_announced_is_not_stored(local: EncryptedObjects) -> None:
    with local.writer() as writer, pytest.raises(ContentMismatchError):
        writer.write(b"other")
        writer.finish(digest(b"weights"))

    assert files_in(local.url) == []


def test_an_object_that_is_not_there_is_missing(store: EncryptedObjects) -> None:
    for sha256 in ("0" * 64, "../../etc/passwd"):
        with pytest.raises(MissingObjectError):
            store.open(sha256)
        with pytest.raises(MissingObjectError):
            store.read(sha256)
        assert (store.has(sha256), store.size(sha256), store.delete(sha256)) == (False, None, False)


def test_a_deleted_object_is_gone_with_its_key(local: EncryptedObjects) -> None:
    sha256 = local.put(io.BytesIO(b"weights"))

    assert local.delete(sha256)

    assert files_in(local.url) == []
    with pytest.raises(MissingObjectError):
        local.read(sha256)


def changes() -> Iterator[tuple[str, int]]:
    """Where to change a byte: in each part of a file of three segments."""
    yield from {
        "magic": 0,
        "version": 4,
        "id": 12,
        "nonce prefix": 28,
        "first segment": PRELUDE_BYTES,
        "tag of the first segment": PRELUDE_BYTES + STORED_SEGMENT_BYTES - 1,
        "second segment": PRELUDE_BYTES + STORED_SEGMENT_BYTES + 5,
        "last tag": -1,
    }.items()


@pytest.mark.parametrize(("_name", "position"), list(changes()))
def test_a_changed_byte_is_noticed(tmp_path: Path, _name: str, position: int) -> None:
    local = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    sha256 = local.put(io.BytesIO(random_bytes(2 * SEGMENT_BYTES + 9)))
    path = object_file(local, sha256)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)

    with pytest.raises(UnreadableObjectError):
        list(local.read(sha256))


def test_segments_cannot_be_swapped_repeated_or_cut_off(local: EncryptedObjects) -> None:
    sha256 = local.put(io.BytesIO(random_bytes(3 * SEGMENT_BYTES)))
    path = object_file(local, sha256)
    whole = path.read_bytes()
    parts = [whole[PRELUDE_BYTES + n * STORED_SEGMENT_BYTES :][:STORED_SEGMENT_BYTES] for n in range(3)]

    for order in ([1, 0, 2], [0, 0, 2], [0, 2, 1], [0, 1], [0, 1, 2, 2], []):
        path.write_bytes(whole[:PRELUDE_BYTES] + b"".join(parts[n] for n in order))
        with pytest.raises(UnreadableObjectError):
            list(local.read(sha256))


def test_a_shorter_content_cannot_be_claimed_in_the_key_file(tmp_path: Path) -> None:
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    sha256 = store.put(io.BytesIO(random_bytes(2 * SEGMENT_BYTES)))
    path, [key_file] = object_file(store, sha256), key_files(store)
    path.write_bytes(path.read_bytes()[:-STORED_SEGMENT_BYTES])
    key_file.write_text(key_file.read_text().replace(str(2 * SEGMENT_BYTES), str(SEGMENT_BYTES)))

    with pytest.raises(UnwrapError):
        EncryptedObjects(store.url, LocalMasterKeys([OLD])).read(sha256)


def test_one_object_cannot_stand_in_for_another(tmp_path: Path) -> None:
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    wanted, other = store.put(io.BytesIO(b"weights")), store.put(io.BytesIO(b"malware"))
    object_file(store, wanted).write_bytes(object_file(store, other).read_bytes())

    for reader in (store, EncryptedObjects(store.url, LocalMasterKeys([OLD]))):
        list(reader.read(other))  # its key is known now
        with pytest.raises(UnwrapError):
            list(reader.read(wanted))


def test_a_lost_or_damaged_key_file_is_named(tmp_path: Path) -> None:
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    sha256 = store.put(io.BytesIO(b"weights"))
    [key_file] = key_files(store)

    key_file.write_text("{}")
    with pytest.raises(UnreadableObjectError, match="key file"):
        store.read(sha256)
    key_file.unlink()
    with pytest.raises(UnreadableObjectError, match="gone"):
        store.read(sha256)


def test_a_new_master_key_rewrites_key_files_and_no_object(tmp_path: Path) -> None:
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    contents = [random_bytes(n) for n in (0, 10, SEGMENT_BYTES + 1)]
    digests = [store.put(io.BytesIO(content)) for content in contents]

    def written() -> list[object]:
        return [object_file(store, sha256).version() for sha256 in digests]

    before = written()
    both = EncryptedObjects(store.url, LocalMasterKeys([OLD, NEW]))

    num_rewrapped = both.rewrap()

    assert (num_rewrapped, both.rewrap()) == (3, 0)
    assert both.master_keys_in_use() == {LocalMasterKeys([NEW]).newest_id}
    only_new = EncryptedObjects(store.url, LocalMasterKeys([NEW]))
    for sha256, content in zip(digests, contents, strict=True):
        assert b"".join(only_new.read(sha256)) == content
    with pytest.raises(UnknownMasterKeyError):
        EncryptedObjects(store.url, LocalMasterKeys([OLD])).read(digests[0])
    assert written() == before


def test_a_rotation_that_was_broken_off_goes_on(tmp_path: Path) -> None:
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    digests = [store.put(io.BytesIO(bytes([n]))) for n in range(3)]
    both = EncryptedObjects(store.url, LocalMasterKeys([OLD, NEW]))
    kept = [path.read_bytes() for path in key_files(store)]
    both.rewrap()
    for path, content in list(zip(key_files(store), kept, strict=True))[1:]:
        path.write_bytes(content)

    assert [next(both.read(sha256)) for sha256 in digests] == [bytes([n]) for n in range(3)]
    assert both.rewrap() == 2


def test_writers_of_the_same_content_at_once_leave_a_readable_object(tmp_path: Path) -> None:
    content = random_bytes(SEGMENT_BYTES + 5)
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    ready = threading.Barrier(8)

    def put() -> None:
        with store.writer() as writer:
            writer.write(content)
            ready.wait()
            writer.finish()

    threads = [threading.Thread(target=put) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert b"".join(EncryptedObjects(store.url, LocalMasterKeys([OLD])).read(digest(content))) == content
    store.remove_orphans()
    assert len(key_files(store)) == 1
    assert b"".join(store.read(digest(content))) == content


@pytest.mark.disk
def test_a_key_file_is_there_before_its_object(tmp_path: Path) -> None:
    store = EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    sha256 = digest(b"weights")
    (tmp_path / sha256[:2]).write_text("a file where the folder should be")

    with pytest.raises(NotWritableError):
        store.put(io.BytesIO(b"weights"))

    assert len(key_files(store)) == 1
    (tmp_path / sha256[:2]).unlink()
    assert store.remove_orphans() == 1
    assert key_files(store) == []


def test_unencrypted_objects_are_not_seen_and_can_be_moved_in(tmp_path: Path) -> None:
    plain, store = ObjectStore(str(tmp_path)), EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    contents = [b"", b"weights", random_bytes(SEGMENT_BYTES * 2)]
    digests = sorted(plain.put(io.BytesIO(content)) for content in contents)
    assert list(store.list()) == []

    num_moved = encrypt_all(plain, store)

    assert num_moved == 3
    assert (list(plain.list()), sorted(store.list())) == ([], digests)
    assert sorted(b"".join(store.read(each)) for each in digests) == sorted(contents)


def test_a_damaged_unencrypted_object_is_not_moved(tmp_path: Path) -> None:
    plain, store = ObjectStore(str(tmp_path)), EncryptedObjects(str(tmp_path), LocalMasterKeys([OLD]))
    sha256 = plain.put(io.BytesIO(b"weights"))
    object_at(tmp_path, sha256).write_bytes(b"wEights")

    with pytest.raises(ContentMismatchError):
        encrypt_all(plain, store)

    assert list(plain.list()) == [sha256]
    assert list(store.list()) == []


def test_seeking_goes_where_files_go(local: EncryptedObjects) -> None:
    content = random_bytes(SEGMENT_BYTES + 100)
    with local.open(local.put(io.BytesIO(content))) as file:
        assert file.seek(-50, io.SEEK_END) == SEGMENT_BYTES + 50
        assert file.read() == content[-50:]
        assert file.seek(SEGMENT_BYTES - 10) == SEGMENT_BYTES - 10
        assert file.read(20) == content[SEGMENT_BYTES - 10 : SEGMENT_BYTES + 10]
        assert file.read(0) == b""
        assert file.seek(10, io.SEEK_CUR) == SEGMENT_BYTES + 20
        with pytest.raises(ValueError, match="before the beginning"):
            file.seek(-1)


def test_an_empty_content_is_one_segment() -> None:
    assert [num_segments(size) for size in (0, 1, SEGMENT_BYTES, SEGMENT_BYTES + 1)] == [1, 1, 1, 2]

import hashlib
import io
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.files import DiskFullError, NotWritableError
from ayni.objects import ContentMismatchError, MissingObjectError, ObjectStore, ObjectUrlError


@pytest.fixture(params=["folder", "uri", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    urls = {
        "folder": str(tmp_path / "with [brackets] * :: and %20"),
        "uri": (tmp_path / "with a blank").as_uri(),
        "memory": f"memory://objects-of-{tmp_path.name}",
    }
    return ObjectStore(urls[request.param])


def test_what_is_stored_comes_back_under_the_digest_of_its_bytes(store: ObjectStore) -> None:
    sha256 = store.put(io.BytesIO(b"weights"))

    assert sha256 == hashlib.sha256(b"weights").hexdigest()
    assert store.has(sha256)
    with store.open(sha256) as file:
        assert file.read() == b"weights"


@settings(max_examples=25)
@given(contents=st.lists(st.binary(max_size=50), max_size=5))
def test_a_store_lists_each_content_once(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    store = ObjectStore(str(tmp_path_factory.mktemp("objects")))

    for content in contents:
        store.put(io.BytesIO(content))

    assert sorted(store.list()) == sorted({hashlib.sha256(content).hexdigest() for content in contents})


def test_a_store_that_was_never_written_is_empty(store: ObjectStore) -> None:
    assert list(store.list()) == []
    assert not store.has("0" * 64)


def test_listing_does_not_mind_the_folders_name(store: ObjectStore) -> None:
    sha256 = store.put(io.BytesIO(b"model"))

    assert list(store.list()) == [sha256]


def test_a_uri_with_a_blank_is_the_folder_that_it_names(tmp_path: Path) -> None:
    ObjectStore((tmp_path / "my objects").as_uri()).put(io.BytesIO(b"model"))

    assert [path.name for path in tmp_path.iterdir()] == ["my objects"]


class BreakingStream(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 1 << 20:
            raise ConnectionResetError("the sender went away")
        return super().read(size)


def test_a_stream_that_breaks_leaves_nothing(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))

    with pytest.raises(ConnectionResetError):
        store.put(BreakingStream(bytes(3 << 20)))

    assert list(store.list()) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_object_that_a_power_loss_cut_is_replaced_when_it_is_stored_again(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    sha256 = store.put(io.BytesIO(b"whole content"))
    (tmp_path / sha256[:2] / sha256[2:]).write_bytes(b"whole")

    store.put(io.BytesIO(b"whole content"))

    with store.open(sha256) as file:
        assert file.read() == b"whole content"


@pytest.mark.parametrize("digest", ["", "..", "ab", "../../etc/passwd", "A" * 64, "0" * 63 + "\n", "0" * 64])
def test_a_digest_that_is_none_or_unknown_names_no_file(tmp_path: Path, digest: str) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    store.put(io.BytesIO(b"x"))

    assert not store.has(digest)
    with pytest.raises(MissingObjectError, match="Restore"):
        store.open(digest)


def test_threads_that_store_the_same_content_at_once_all_succeed(tmp_path: Path) -> None:
    store, digests, start = ObjectStore(str(tmp_path)), [], threading.Barrier(6)

    def put() -> None:
        start.wait()
        digests.append(store.put(io.BytesIO(b"same" * 100_000)))

    threads = [threading.Thread(target=put) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert digests == [hashlib.sha256(b"same" * 100_000).hexdigest()] * 6
    assert list(store.list()) == digests[:1]
    assert list((tmp_path / "incoming").iterdir()) == []


@pytest.mark.parametrize("url", ["nosuch://bucket/x", "://", "ab://"])
def test_a_place_that_fsspec_does_not_know_is_the_users_mistake(url: str) -> None:
    with pytest.raises(ObjectUrlError, match="AYNI_OBJECTS_URL"):
        ObjectStore(url)


def test_a_file_in_place_of_the_folder_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "objects").touch()

    with pytest.raises(NotWritableError):
        ObjectStore(str(tmp_path / "objects")).put(io.BytesIO(b"x"))


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "device"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_the_objects_before_and_no_rubbish(small_device: Path) -> None:
    store = ObjectStore(str(small_device))
    sha256 = store.put(io.BytesIO(b"first"))

    with pytest.raises(DiskFullError):
        store.put(io.BytesIO(bytes(3 << 20)))

    assert list(store.list()) == [sha256]
    assert list((small_device / "incoming").iterdir()) == []


def test_a_window_of_an_object_is_read_and_nothing_else(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    content = bytes(range(256)) * 10_000
    digest = store.put(io.BytesIO(content))

    assert b"".join(store.read(digest)) == content
    assert b"".join(store.read(digest, 100, 2_000_000)) == content[100:2_000_000]
    assert b"".join(store.read(digest, len(content) - 1)) == content[-1:]
    assert b"".join(store.read(digest, 5, 5)) == b""
    with pytest.raises(MissingObjectError):
        store.read("0" * 64)


def test_size_path_and_deletion_are_of_what_is_stored(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    digest = store.put(io.BytesIO(b"abc"))

    path = store.local_path(digest)
    assert path is not None and path.read_bytes() == b"abc"
    assert store.size(digest) == 3
    assert store.delete(digest) and not store.delete(digest)
    assert (store.size(digest), store.local_path(digest)) == (None, None)
    assert store.local_path("../../etc/passwd") is None and store.size("../x") is None


def test_what_is_written_in_pieces_is_visible_only_when_it_is_what_was_expected(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    with store.writer() as writer:
        writer.write(b"a")
        writer.write(b"bc")
        assert list(store.list()) == []
        stored = writer.finish(hashlib.sha256(b"abc").hexdigest())
    assert (stored.size_bytes, list(store.list())) == (3, [stored.sha256])

    with pytest.raises(ContentMismatchError, match="announced"), store.writer() as writer:
        writer.write(b"other")
        writer.finish(stored.sha256)
    with pytest.raises(RuntimeError), store.writer() as writer:
        writer.write(b"cut off")
        raise RuntimeError

    assert list(store.list()) == [stored.sha256]
    assert list((tmp_path / "incoming").iterdir()) == []


def test_who_checks_content_in_another_way_names_the_object(tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path))
    with store.writer(name="ab" * 32) as writer:
        writer.write(b"content")
        assert writer.finish().sha256 == "ab" * 32

    assert b"".join(store.read("ab" * 32)) == b"content"
    assert list(store.list()) == ["ab" * 32]


@pytest.mark.parametrize("name", ["", "ab", "AB" * 32, "../" + "a" * 61])
def test_a_name_that_is_no_digest_is_refused_before_anything_is_stored(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="64"):
        ObjectStore(str(tmp_path)).writer(name=name)

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

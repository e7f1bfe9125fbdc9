"""A revision's folder is whole or absent, and a changed byte is found before it is used."""

import io
from pathlib import Path

import pytest
from tests.hub.stored_files import object_at

from ayni.hub.snapshots import (
    INCOMING,
    DamagedFileError,
    DamagedObjectError,
    Snapshot,
    remove_incomplete,
    write_snapshot,
)
from ayni.hub.sources import store_files
from ayni.objects import MissingObjectError, ObjectStore


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path / "objects"))


@pytest.fixture
def snapshot(objects: ObjectStore, tmp_path: Path) -> Snapshot:
    files = store_files(objects, {"task.py": b"x = 1\n", "receipts/1.json": b"{}"})
    folder = tmp_path / "snapshots" / "abc"
    write_snapshot(folder, files, objects)
    return Snapshot(repository="me/x", revision="abc", folder=folder, files=files)


def test_what_was_written_is_whole(snapshot: Snapshot) -> None:
    snapshot.verify()

    assert (snapshot.folder / "receipts/1.json").read_bytes() == b"{}"
    assert [path.name for path in snapshot.folder.parent.iterdir()] == ["abc"]


def test_a_changed_and_a_missing_file_are_named(snapshot: Snapshot) -> None:
    (snapshot.folder / "receipts/1.json").write_bytes(b"[]")
    with pytest.raises(DamagedFileError, match=r"1\.json was changed"):
        snapshot.verify()

    (snapshot.folder / "receipts/1.json").unlink()
    with pytest.raises(DamagedFileError, match=r"1\.json is missing"):
        snapshot.verify()


def test_an_added_note_is_tolerated_and_an_added_module_is_not(snapshot: Snapshot) -> None:
    (snapshot.folder / "NOTE").touch()
    snapshot.verify()

    (snapshot.folder / "torch.py").touch()
    with pytest.raises(DamagedFileError, match=r"torch\.py"):
        snapshot.verify()


def test_writing_again_mends_a_damaged_folder(snapshot: Snapshot, objects: ObjectStore) -> None:
    (snapshot.folder / "task.py").unlink()

    write_snapshot(snapshot.folder, snapshot.files, objects)

    snapshot.verify()


def test_a_damaged_object_replaces_nothing(snapshot: Snapshot, objects: ObjectStore, tmp_path: Path) -> None:
    object_at(tmp_path / "objects", str(snapshot.files["task.py"].sha256)).write_bytes(b"x = 2\n")

    with pytest.raises(DamagedObjectError):
        write_snapshot(snapshot.folder, snapshot.files, objects)

    snapshot.verify()
    assert [path.name for path in snapshot.folder.parent.iterdir()] == ["abc"]


def test_a_missing_object_replaces_nothing(snapshot: Snapshot, tmp_path: Path) -> None:
    empty = ObjectStore(str(tmp_path / "empty"))
    empty.put(io.BytesIO(b"something else"))

    with pytest.raises(MissingObjectError):
        write_snapshot(snapshot.folder, snapshot.files, empty)

    snapshot.verify()


def test_an_edited_snapshot_leaves_the_stored_object_alone(snapshot: Snapshot, objects: ObjectStore) -> None:
    (snapshot.folder / "task.py").write_bytes(b"x = 2\n")

    with objects.open(str(snapshot.files["task.py"].sha256)) as file:
        assert file.read() == b"x = 1\n"


def test_what_a_killed_process_left_is_swept_away_and_nothing_else(snapshot: Snapshot) -> None:
    (snapshot.folder.parent / f"{INCOMING}left" / "deep").mkdir(parents=True)

    remove_incomplete(snapshot.folder.parent)

    assert [path.name for path in snapshot.folder.parent.iterdir()] == ["abc"]
    snapshot.verify()

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub.hub_rows import WHEN
from tests.hub.stored_files import files_in

from ayni.database import Database
from ayni.hub.content import ContentStore
from ayni.hub.master_keys import LocalMasterKeys, MasterKeys
from ayni.hub.sealing import MasterKeyMissingError, NotEncryptedYetError, encrypt_store, open_store
from ayni.objects import ObjectStore

KEYS = LocalMasterKeys([b"k" * 32])


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "state.db")
    yield opened
    opened.close()


def open_at(database: Database, folder: Path, keys: MasterKeys | None) -> ContentStore:
    return open_store(database, "objects", str(folder), keys, now=WHEN)


def test_an_empty_store_is_encrypted_from_its_first_object_on(database: Database, tmp_path: Path) -> None:
    store = open_at(database, tmp_path / "objects", KEYS)

    sha256 = store.put(io.BytesIO(b"weights"))

    assert b"".join(open_at(database, tmp_path / "objects", KEYS).read(sha256)) == b"weights"
    files = files_in(tmp_path / "objects")
    assert files and not any(b"weights" in path.read_bytes() for path in files)


def test_a_sealed_store_without_its_key_is_an_error_and_not_an_empty_store(
    database: Database, tmp_path: Path
) -> None:
    open_at(database, tmp_path / "objects", KEYS)

    with pytest.raises(MasterKeyMissingError, match="AYNI_MASTER_KEY_FILE"):
        open_at(database, tmp_path / "moved", None)


def test_what_lies_open_is_encrypted_on_demand_and_found_under_the_same_name(
    database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "objects"
    sha256 = open_at(database, folder, None).put(io.BytesIO(b"weights"))
    with pytest.raises(NotEncryptedYetError, match="ayni hub encrypt"):
        open_at(database, folder, KEYS)

    num_moved = encrypt_store(database, "objects", str(folder), KEYS, now=WHEN)

    assert num_moved == 1
    assert b"".join(open_at(database, folder, KEYS).read(sha256)) == b"weights"
    assert list(ObjectStore(str(folder)).list()) == []


def test_objects_whose_names_are_no_digests_keep_their_names(database: Database, tmp_path: Path) -> None:
    folder, name = tmp_path / "xorbs", "ab" * 32
    with ObjectStore(str(folder)).writer(name=name) as writer:
        writer.write(b"records")
        writer.finish()

    encrypt_store(database, "xorbs", str(folder), KEYS, now=WHEN, names_are_digests=False)

    store = open_store(database, "xorbs", str(folder), KEYS, now=WHEN)
    assert b"".join(store.read(name)) == b"records"

"""A hub whose objects are encrypted answers as any other, also while its master key changes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub.stored_files import files_in
from tests.server.hub_app import Client
from tests.server.lab import SECRET, VARIANTS, Lab, open_lab

from ayni.hub.encryption import EncryptedObjects
from ayni.hub.master_keys import FileMasterKeys

Opened = tuple[Lab, Client]


@pytest.fixture
def keys(tmp_path: Path) -> FileMasterKeys:
    return FileMasterKeys(tmp_path / "keys" / "master.keys")


@pytest.fixture
def opened(tmp_path: Path, keys: FileMasterKeys) -> Iterator[Opened]:
    yield from open_lab(tmp_path, content=EncryptedObjects(str(tmp_path / "objects"), keys))


def test_files_come_back_whole_and_in_parts(opened: Opened) -> None:
    lab, client = opened
    for variant in VARIANTS:
        content = (SECRET + variant.encode())[::-1]
        path, token = f"/lab/{variant}/resolve/main/large.bin", lab.tokens["reader"]

        whole = client.get(path, token=token)
        part = client.get(path, token=token, headers={"Range": "bytes=3-8"})
        end = client.get(path, token=token, headers={"Range": "bytes=-4"})

        assert (whole.status_code, whole.content) == (200, content)
        assert (part.status_code, part.content) == (206, content[3:9])
        assert (end.status_code, end.content) == (206, content[-4:])
        assert whole.headers["Content-Length"] == str(len(content))


def test_nothing_that_was_uploaded_lies_open_in_the_folder(opened: Opened, tmp_path: Path) -> None:
    files = files_in(tmp_path / "objects")

    assert len(files) > 10
    assert not any(SECRET in path.read_bytes() or SECRET[::-1] in path.read_bytes() for path in files)


def test_the_master_key_changes_under_a_hub_that_answers(opened: Opened, keys: FileMasterKeys) -> None:
    lab, client = opened
    content = lab.hub.content
    assert isinstance(content, EncryptedObjects)
    other_process = EncryptedObjects(content.url, FileMasterKeys(keys.path))

    newest = FileMasterKeys(keys.path).add()
    num_rewrapped = other_process.rewrap()
    FileMasterKeys(keys.path).drop_older()

    assert num_rewrapped > 0
    assert content.master_keys_in_use() == {newest}
    reply = client.get("/lab/private/resolve/main/secret.txt", token=lab.tokens["reader"])
    assert reply.content == SECRET + b"private"

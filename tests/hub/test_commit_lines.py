"""The lines of a commit become changes; what cannot be understood is refused with its number."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.commit_lines import CommitLineError, CommitLines, CommitSizeError, UnknownContentError
from ayni.hub.git_objects import blob_sha1, lfs_pointer
from ayni.objects import ObjectStore
from ayni.signing import sha256_hex

OID = sha256_hex(b"large")


def line(key: str, **value: Any) -> bytes:
    return json.dumps({"key": key, "value": value}).encode()


def file(path: str, content: bytes) -> bytes:
    return line("file", path=path, content=base64.b64encode(content).decode(), encoding="base64")


HEADER = line("header", summary="Add", description="More", parentCommit="a" * 40)


@pytest.fixture
def taken(tmp_path: Path) -> CommitLines:
    return CommitLines(content=ObjectStore(str(tmp_path)))


def test_files_are_stored_as_they_come_and_have_their_git_id(taken: CommitLines) -> None:
    taken.take(HEADER)
    taken.take(file("a/b.txt", b"hello"))

    changes = taken.changes({})

    entry = changes["a/b.txt"]
    assert entry is not None and entry.git_sha1 == blob_sha1(b"hello") and not entry.is_lfs
    assert b"".join(taken.content.read(str(entry.sha256))) == b"hello"
    assert (taken.message, taken.parent) == ("Add\n\nMore", "a" * 40)


def test_a_large_file_is_a_pointer_once_its_bytes_are_known(taken: CommitLines) -> None:
    taken.take(HEADER)
    taken.take(line("lfsFile", path="x.bin", algo="sha256", oid=OID, size=5))
    taken.take(line("lfsFile", path="copy.bin", algo="sha256", oid=OID))

    changes = taken.changes({OID: 5})

    for path in ("x.bin", "copy.bin"):
        entry = changes[path]
        assert entry is not None and entry.is_lfs and entry.size_bytes == 5
    with pytest.raises(UnknownContentError, match=r"x\.bin"):
        taken.changes({})
    with pytest.raises(UnknownContentError):
        taken.changes({OID: 6})


def test_deletions_come_first_and_a_folder_stands_for_all_in_it(taken: CommitLines) -> None:
    taken.take(HEADER)
    taken.take(file("folder/new", b"1"))
    taken.take(line("deletedFolder", path="folder/"))
    taken.take(line("deletedFile", path="folder/old"))
    taken.take(line("deletedFile", path="other"))

    assert list(taken.changes({})) == ["folder", "other", "folder/new"]


def test_the_last_line_about_a_path_counts(taken: CommitLines) -> None:
    taken.take(HEADER)
    taken.take(line("lfsFile", path="x", algo="sha256", oid=OID, size=5))
    taken.take(file("x", b"small"))

    entry = taken.changes({})["x"]

    assert entry is not None and not entry.is_lfs


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"key": "file"}',
        line("fil", path="x"),
        line("file", path="x", content="!!", encoding="base64"),
        line("file", path="x", content="YQ==", encoding="rot13"),
        line("file", path=1, content="YQ=="),
        line("lfsFile", path="x", algo="sha256", oid="../../etc/passwd"),
        line("lfsFile", path="x", algo="md5", oid=OID),
        line("lfsFile", path="x", algo="sha256", oid=OID, size=-1),
        line("lfsFile", path="x", algo="sha256", oid=OID, size=True),
        line("header", summary=None),
        line("header", summary="a\0b"),
        line("header", summary="a", description="half a pair \ud800"),
        line("deletedFile", path="half a pair \ud800"),
        line("header", summary="a", parentCommit="main"),
    ],
)
def test_a_line_that_cannot_be_understood_is_refused_with_its_number(taken: CommitLines, bad: bytes) -> None:
    taken.take(HEADER)

    with pytest.raises(CommitLineError, match="Line 2"):
        taken.take(bad)


def test_a_commit_without_a_header_is_refused(taken: CommitLines) -> None:
    taken.take(file("x", b"1"))

    with pytest.raises(CommitLineError, match="no header"):
        taken.changes({})


def test_a_file_that_is_too_large_for_a_line_is_refused_and_not_stored(tmp_path: Path) -> None:
    taken = CommitLines(content=ObjectStore(str(tmp_path)), max_inline_bytes=10)

    with pytest.raises(CommitSizeError, match="11 bytes"):
        taken.take(file("x", b"12345678901"))
    assert list(taken.content.list()) == []


@pytest.mark.parametrize("header", [{"summary": "s" * 1_001}, {"summary": "s", "description": "d" * 64_001}])
def test_a_message_that_nobody_reads_is_refused(tmp_path: Path, header: dict[str, str]) -> None:
    taken = CommitLines(content=ObjectStore(str(tmp_path)))

    with pytest.raises(CommitSizeError, match="characters"):
        taken.take(json.dumps({"key": "header", "value": header}).encode())


def test_the_text_of_a_pointer_is_no_file(tmp_path: Path) -> None:
    taken = CommitLines(content=ObjectStore(str(tmp_path)))
    pointer = base64.b64encode(lfs_pointer("0" * 64, 5)).decode()

    with pytest.raises(CommitLineError, match="pointer of git-lfs"):
        taken.take(json.dumps({"key": "file", "value": {"path": "w.bin", "content": pointer}}).encode())

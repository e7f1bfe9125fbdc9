import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.database import Database
from ayni.hub import catalogue, commits, content_safety, content_scan, lineage
from ayni.hub.commits import CommitHooks, CommitRequest
from ayni.hub.content_safety import (
    CardMistakeError,
    Guard,
    guarding,
    known_scan,
    known_scans,
    scans_table,
)
from ayni.hub.mirror import Target, mirror_folder
from ayni.hub.repositories import LocalHub
from ayni.hub.repository import Repository
from ayni.hub.revisions import head
from ayni.hub.secret_scan import SecretInCommitError
from ayni.hub.weights_policy import Policy, RefusedFileError
from ayni.objects import ObjectStore

__all__ = ["connection"]


class Calls:
    """Pickled as a call of a function."""

    def __reduce__(self) -> Any:
        return os.system, ("id",)


BAD = pickle.dumps(Calls(), 4)
GOOD = pickle.dumps([1, 2], 4)
SECRET = b"token = " + b"hf" + b"_" + bytes(f"{0x1F2E3D4C5B6A79889786A5B4C3D2E1F0:X}abcdefgh", "ascii")

Commit = Callable[..., Any]


@pytest.fixture
def repository(connection: sa.Connection) -> Repository:
    return catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)


@pytest.fixture
def commit(connection: sa.Connection, repository: Repository, tmp_path: Path) -> Commit:
    content = ObjectStore(str(tmp_path / "objects"))

    def carry_out(files: dict[str, bytes], *, policy: Policy = "no-danger") -> Any:
        for each in files.values():
            content.put(io.BytesIO(each))
        changes = {path: entry(each) for path, each in files.items()}
        hooks = CommitHooks(
            before=(guarding(content, lambda *_: policy),), after=(lineage.following(content),)
        )
        request = CommitRequest(changes=changes, message="m", author="Ada", when=WHEN)
        return commits.commit(connection, repository, request, hooks=hooks)

    return carry_out


@pytest.mark.parametrize(
    ("files", "policy", "error"),
    [
        ({"model.bin": BAD}, "no-danger", RefusedFileError),
        ({"picture.png": BAD}, "no-danger", RefusedFileError),
        ({"model.bin": GOOD}, "safetensors-only", RefusedFileError),
        ({"model.safetensors": b"{}"}, "safetensors-only", RefusedFileError),
        ({"a/config.py": SECRET}, "open", SecretInCommitError),
        ({"README.md": b"---\nco2_eq_emissions: 3 kg\n---\n"}, "open", CardMistakeError),
        ({"README.md": b"---\nbase_model: me/digits\n---\n"}, "open", CardMistakeError),
    ],
)
def test_a_commit_that_may_not_be_leaves_nothing(
    connection: sa.Connection, commit: Commit, files: Any, policy: Policy, error: Any
) -> None:
    with pytest.raises(error, match="Nothing was committed"):
        commit({"other.txt": b"x", **files}, policy=policy)

    assert head(connection, 1) is None


@pytest.mark.parametrize(
    ("files", "policy"),
    [
        ({"model.bin": BAD}, "open"),
        ({"model.bin": GOOD}, "no-danger"),
        ({"notes.txt": b"hello", "README.md": b"# Title"}, "safetensors-only"),
    ],
)
def test_a_commit_that_may_be_is_carried_out(
    connection: sa.Connection, repository: Repository, commit: Commit, files: Any, policy: Policy
) -> None:
    assert commit(files, policy=policy).revision == head(connection, repository.id)


def test_content_is_scanned_once_and_its_row_says_what_was_found(
    connection: sa.Connection, commit: Commit, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit({"a.bin": BAD, "b.bin": GOOD}, policy="open")
    monkeypatch.setattr(content_safety, "scan_file", lambda *_: pytest.fail("scanned twice"))

    commit({"again/c.bin": BAD}, policy="open")

    sha256 = str(entry(BAD).sha256)
    found = known_scan(connection, sha256, "x.bin")
    assert found is not None
    assert (found.verdict, found.holds_pickle) == ("dangerous", True)
    assert connection.scalar(sa.select(sa.func.count()).select_from(scans_table)) == 2
    assert known_scan(connection, sha256, "x.pkl") is None
    assert known_scans(connection, {"x.bin": entry(BAD), "x.pkl": entry(BAD), "y": entry(b"y")}) == {
        "x.bin": found
    }


def test_a_commit_of_a_card_sets_the_lineage(
    connection: sa.Connection, repository: Repository, commit: Commit
) -> None:
    commit({"README.md": b"---\nlicense: mit\nbase_model: a/b\ndatasets: [c/d]\n---\n"})

    graph = lineage.graph(connection, repository, visible=sa.true())

    assert [(each.kind, each.name) for each in graph.nodes[1:]] == [("dataset", "c/d"), ("model", "a/b")]


def _publish(database: Database, store: ObjectStore, hooks: CommitHooks, folder: Path) -> None:
    files: dict[str, Path | bytes] = {"model.bin": folder / "model.bin", "README.md": b"# Digits"}
    hub = LocalHub(database, store, folder.parent / "hub", hooks=hooks)
    hub.publish("me/x", files, message="m", author="Ada", when=WHEN)


def _mirror(database: Database, store: ObjectStore, hooks: CommitHooks, folder: Path) -> None:
    target = Target(database=database, content=store, hooks=hooks, now=lambda: WHEN)
    mirror_folder(folder, "model", "me/x", target)


@pytest.mark.parametrize("write", [_publish, _mirror])
def test_files_are_looked_into_while_others_may_write(
    any_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Any
) -> None:
    store, scan, texts = ObjectStore(str(tmp_path / "objects")), content_scan.scan_file, []
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.bin").write_bytes(GOOD)
    written = []

    def scan_and_let_others_write(*given: Any) -> Any:
        with any_database.transaction() as connection:
            written.append(catalogue.names(connection, "model"))
        return scan(*given)

    def read_texts(*given: Any) -> None:
        texts.append(any_database._engine.pool.checkedout())  # type: ignore[attr-defined]

    monkeypatch.setattr(content_safety, "scan_file", scan_and_let_others_write)
    monkeypatch.setattr(content_safety, "check_secrets", read_texts)
    guard = Guard(database=any_database, content=store, policy_of=lambda *_: "no-danger")

    write(any_database, store, CommitHooks(before=(guard,)), folder)

    # A transaction within another one would wait for it, and in the end be an error.
    assert written and set(texts) == {0}
    with any_database.reading() as connection:
        assert head(connection, 1) is not None


def test_what_nobody_looked_at_before_the_transaction_is_looked_at_within(
    any_database: Database, tmp_path: Path
) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    store.put(io.BytesIO(BAD))
    guard = Guard(database=any_database, content=store, policy_of=lambda *_: "no-danger")
    with any_database.transaction() as connection:
        repository = catalogue.create(connection, "model", "me/digits", visibility="public", when=WHEN)

    left = guard.ahead("model", "me/digits", {})
    request = CommitRequest(changes={"model.bin": entry(BAD)}, message="m", author="Ada", when=WHEN)
    for look in (guard, left):
        with pytest.raises(RefusedFileError), any_database.transaction() as connection:
            look(connection, repository, request)

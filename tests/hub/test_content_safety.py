import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection, entry

from ayni.hub import catalogue, commits, content_safety, lineage
from ayni.hub.commits import CommitHooks, CommitRequest
from ayni.hub.content_safety import CardMistakeError, guarding, known_scan, known_scans, scans_table
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

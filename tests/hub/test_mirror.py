"""Mirrors of a hub that answers over HTTP, into another one in this process."""

import base64
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from tests.hub.stocked_hub import StockedHub, stocked_hub
from tests.hub.stored_files import files_in
from tests.server.hub_app import inline, make_hub, ndjson

from ayni.hub import export, revisions
from ayni.hub.commit_log_mirror import BrokenCommitLogError
from ayni.hub.connection import HubConnection
from ayni.hub.log_watch import LogWatch
from ayni.hub.mirror import DivergedMirrorError, Mirrored, Target, mirror, mirror_folder
from ayni.hub.revision_sources import (
    HubRevisions,
    ListedFile,
    LocalRevisions,
    UntrueContentError,
    checked,
    find_repository,
)
from ayni.hub.tables import refs_table
from ayni.server.app import make_app
from ayni.server.in_process import OperatorCallers, connected
from ayni.signing import load_or_create_key

__all__ = ["stocked_hub"]


class Source:
    """The hub that is copied."""

    def __init__(self, connection: HubConnection, hub: Any) -> None:
        self.hub = hub
        self.connection = connection
        connection.ask("POST", "/api/repos/create", json={"name": "x", "organization": "ada"})

    def commit(self, *lines: tuple[str, dict[str, Any]], revision: str = "main") -> str:
        body = ndjson("Change", *lines)
        said = self.connection.ask("POST", f"/api/models/ada/x/commit/{revision}", content=body)
        return str(said["commitOid"])

    def upload(self, content: bytes) -> tuple[str, dict[str, Any]]:
        oid = hashlib.sha256(content).hexdigest()
        asked = {"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]}
        path = "/ada/x.git/info/lfs/objects/batch"
        said = self.connection.ask("POST", path, json=asked)["objects"][0]
        self.connection.ask("PUT", said["actions"]["upload"]["href"], content=content)
        return "lfsFile", {"path": "w.safetensors", "algo": "sha256", "oid": oid, "size": len(content)}


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    hub = dataclasses.replace(make_hub(tmp_path / "source"), callers=OperatorCallers())
    key = load_or_create_key(tmp_path / "source" / "key.pem")
    hub = dataclasses.replace(hub, base_url="http://localhost", log_key=key)
    with connected(make_app(hub)) as connection:
        yield Source(connection, hub)
    hub.database.close()


def target_of(hub: StockedHub) -> Target:
    return Target(database=hub.database, content=hub.content, hooks=hub.hooks, now=lambda: hub.time)


def copy(source: Source, hub: StockedHub, **given: Any) -> Mirrored:
    return mirror(source.connection, "model", "ada/x", target_of(hub), **given)


def refs_of(hub: StockedHub) -> dict[str, str]:
    number = find_repository(hub.database, "model", "ada/x").id
    with hub.database.reading() as connection:
        return revisions.list_refs(connection, number)


def test_a_mirror_has_every_commit_with_its_id(source: Source, stocked_hub: StockedHub) -> None:
    first = source.commit(inline("a.txt", b"one"), inline("sub dir/b.txt", b"two"))
    source.connection.ask("POST", "/api/models/ada/x/tag/main", json={"tag": "v1"})
    second = source.commit(source.upload(b"weights" * 100))
    source.connection.ask("POST", "/api/models/ada/x/branch/side", json={"startingPoint": first})

    done = copy(source, stocked_hub)

    assert done.keeps_ids and done.num_commits == 3
    assert refs_of(stocked_hub) == {
        "refs/heads/main": second,
        "refs/heads/side": first,
        "refs/tags/v1": first,
    }
    assert stocked_hub.check().is_sound


def test_only_what_is_new_comes_the_second_time(source: Source, stocked_hub: StockedHub) -> None:
    source.commit(source.upload(b"weights" * 100))
    copy(source, stocked_hub)

    nothing = copy(source, stocked_hub)
    source.commit(inline("a.txt", b"one"))
    little = copy(source, stocked_hub)

    assert (nothing.num_commits, nothing.num_bytes) == (0, 0)
    assert (little.num_commits, little.num_files, little.num_bytes) == (1, 1, 3)


def test_a_mirror_holds_what_it_copies_against_the_hubs_log(
    source: Source, stocked_hub: StockedHub, tmp_path: Path
) -> None:
    earlier = source.commit(inline("a.txt", b"one"))
    log = LogWatch(source.connection, tmp_path / "log")

    first = copy(source, stocked_hub, log=log)
    source.commit(inline("a.txt", b"two"))
    second = copy(source, stocked_hub, log=LogWatch(source.connection, tmp_path / "log"))

    assert first.is_log_checked and second.is_log_checked
    assert (tmp_path / "log" / "commit-log.jsonl").read_text().count("\n") == 3
    with source.hub.database.transaction() as connection:
        connection.execute(refs_table.update().values(revision=earlier))
    with pytest.raises(BrokenCommitLogError, match="its newest entry says"):
        copy(source, stocked_hub, log=log)


def test_a_log_by_another_key_than_before_is_refused(
    source: Source, stocked_hub: StockedHub, tmp_path: Path
) -> None:
    copy(source, stocked_hub, log=LogWatch(source.connection, tmp_path / "log"))
    (tmp_path / "log" / "commit-log.key").write_text(base64.b64encode(b"k" * 32).decode())

    with pytest.raises(BrokenCommitLogError):
        copy(source, stocked_hub, log=LogWatch(source.connection, tmp_path / "log"))


def test_a_hub_without_a_log_is_copied_and_says_so(
    source: Source, stocked_hub: StockedHub, tmp_path: Path
) -> None:
    hub = dataclasses.replace(source.hub, log_key=None)
    with connected(make_app(hub)) as connection:
        log = LogWatch(connection, tmp_path / "log")

        done = mirror(connection, "model", "ada/x", target_of(stocked_hub), log=log)

    assert done.keeps_ids and not done.is_log_checked


def test_a_mirror_that_broke_off_goes_on(source: Source, stocked_hub: StockedHub) -> None:
    source.commit(inline("a.txt", b"one"))
    source.commit(inline("b.txt", b"two"))
    seen: list[str] = []

    def break_off(text: str) -> None:
        seen.append(text)
        if len(seen) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy(source, stocked_hub, say=break_off)
    partly = stocked_hub.check()
    done = copy(source, stocked_hub)

    assert partly.is_sound and done.num_commits == 1
    assert stocked_hub.check().is_sound


def test_a_branch_with_commits_of_its_own_is_left_alone(source: Source, stocked_hub: StockedHub) -> None:
    at_source = source.commit(inline("a.txt", b"one"))
    copy(source, stocked_hub)
    stocked_hub.commit(find_repository(stocked_hub.database, "model", "ada/x"), mine=b"mine")

    with pytest.raises(DivergedMirrorError, match="--force"):
        copy(source, stocked_hub)
    copy(source, stocked_hub, force=True)

    assert refs_of(stocked_hub)["refs/heads/main"] == at_source


def test_a_branch_that_went_at_the_source_goes_here(source: Source, stocked_hub: StockedHub) -> None:
    source.connection.ask("POST", "/api/models/ada/x/branch/side", json={})
    copy(source, stocked_hub)
    source.connection.ask("DELETE", "/api/models/ada/x/branch/side")

    done = copy(source, stocked_hub)

    assert done.removed == ["refs/heads/side"] and "refs/heads/side" not in refs_of(stocked_hub)


def test_another_hub_is_copied_by_its_newest_revisions(
    source: Source, stocked_hub: StockedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_source = source.commit(inline("a.txt", b"one"))
    monkeypatch.setattr("ayni.hub.mirror._exact_history", lambda *_: None)

    done, again = copy(source, stocked_hub), copy(source, stocked_hub)
    source.commit(inline("a.txt", b"changed"))
    changed = copy(source, stocked_hub)

    assert (done.keeps_ids, done.num_commits, again.num_commits, changed.num_commits) == (False, 1, 0, 1)
    number = find_repository(stocked_hub.database, "model", "ada/x").id
    with stocked_hub.database.reading() as connection:
        made = revisions.read_commit(connection, number, done.refs["refs/heads/main"])
    assert made is not None and made.message.endswith(f"Mirrored-from: http://localhost/ada/x@{at_source}")
    assert stocked_hub.check().is_sound


def test_a_private_repository_stays_private(source: Source, stocked_hub: StockedHub) -> None:
    source.connection.ask("PUT", "/api/models/ada/x/settings", json={"gated": "manual"})

    copy(source, stocked_hub)

    assert find_repository(stocked_hub.database, "model", "ada/x").is_private


def test_content_that_is_not_what_was_announced_is_refused() -> None:
    file = ListedFile(path="a", size_bytes=3, git_sha1="0" * 40, sha256=hashlib.sha256(b"one").hexdigest())

    assert b"".join(checked(iter([b"on", b"e"]), file)) == b"one"
    with pytest.raises(UntrueContentError):
        list(checked(iter([b"two"]), file))


def test_a_folder_is_a_repository_and_only_changes_are_commits(
    stocked_hub: StockedHub, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.csv").write_text("1,2")
    (folder / "link").symlink_to("/etc/passwd")

    done = mirror_folder(folder, "dataset", "ada/data", target_of(stocked_hub))
    again = mirror_folder(folder, "dataset", "ada/data", target_of(stocked_hub))

    assert (done.num_commits, again.num_commits) == (1, 0)
    local = LocalRevisions(stocked_hub.database, stocked_hub.content, "dataset", "ada/data")
    assert [each.path for each in local.files(local.resolve(None))] == [".gitattributes", "deep/a.csv"]


def test_an_export_is_the_files_and_nothing_else_from_here_and_from_elsewhere(
    source: Source, tmp_path: Path
) -> None:
    source.commit(inline("a.txt", b"one"), inline("sub dir/b.txt", b"two"), source.upload(b"w" * 99))
    here, there = tmp_path / "here", tmp_path / "there"

    local = LocalRevisions(source.hub.database, source.hub.content, "model", "ada/x")
    export.export(local, here)
    done = export.export(HubRevisions(source.connection, "model", "ada/x"), there, revision="main")

    def files(folder: Path) -> dict[str, bytes]:
        found = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}

    assert files(here) == files(there) and files(here)["sub dir/b.txt"] == b"two"
    assert done.num_files == 4
    with pytest.raises(export.FolderInTheWayError):
        export.export(local, here)


def test_an_export_that_breaks_off_leaves_nothing(source: Source, tmp_path: Path) -> None:
    source.commit(inline("a.txt", b"one"))
    for path in files_in(source.hub.content.url):
        path.write_bytes(b"damaged")
    local = LocalRevisions(source.hub.database, source.hub.content, "model", "ada/x")

    with pytest.raises(UntrueContentError):
        export.export(local, tmp_path / "out")

    assert [path.name for path in tmp_path.iterdir()] == ["source"]

"""Publish to a hub that answers over HTTP, beside the hub of a home: both end with the same files and ids."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

from tests.hub.hub_rows import WHEN
from tests.server.hub_app import make_hub

from ayni.database import Database
from ayni.hub.connection import HubRefusedError
from ayni.hub.git_objects import build_trees
from ayni.hub.remote_hub import RemoteHub
from ayni.hub.repositories import LocalHub, Published, RepositoryNotFoundError
from ayni.objects import ObjectStore
from ayni.server.app import make_app
from ayni.server.in_process import BASE_URL, OperatorCallers, connected
from ayni.server.served_hub import ServedHub

FILES: dict[str, Path | bytes] = {
    "README.md": b"---\nlicense: mit\n---\n# Digits\n",
    "config.json": b"{}",
    "model.safetensors": b"w" * 5_000,
    "receipts/0001 plan.json": b"[1]",
    "empty.txt": b"",
}


@pytest.fixture
def local(tmp_path: Path) -> Iterator[LocalHub]:
    database = Database(tmp_path / "home" / "state.db")
    yield LocalHub(database, ObjectStore(str(tmp_path / "home" / "objects")), tmp_path / "home" / "hub")
    database.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[ServedHub]:
    hub = make_hub(tmp_path / "server", base_url=BASE_URL)
    yield dataclasses.replace(hub, callers=OperatorCallers())
    hub.database.close()


@pytest.fixture
def remote(served: ServedHub, local: LocalHub, tmp_path: Path) -> RemoteHub:
    app = make_app(served)
    return RemoteHub(connect=lambda: connected(app), folder=tmp_path / "copies", here=local)  # type: ignore[arg-type]


def publish(
    hub: LocalHub | RemoteHub, files: dict[str, Path | bytes] = FILES, key: str = "run-1"
) -> Published:
    return hub.publish("me/digits", files, message="Publish", author="me", when=WHEN, publish_key=key)


def test_both_make_the_same_tree(local: LocalHub, remote: RemoteHub) -> None:
    here, there = publish(local), publish(remote)

    trees = [
        build_trees(hub.find("me/digits", published.revision).files).root
        for hub, published in ((local, here), (remote, there))
    ]
    assert trees[0] == trees[1]
    assert (there.repository, there.is_new) == ("me/digits", True)
    for path, content in FILES.items():
        assert (there.folder / path).read_bytes() == content == (here.folder / path).read_bytes()


def test_a_new_revision_takes_away_what_the_one_before_had(remote: RemoteHub) -> None:
    publish(remote)

    second = publish(remote, {"README.md": b"# New\n"}, key="run-2")

    assert sorted(remote.find("me/digits").files) == [".gitattributes", "README.md"]
    assert remote.find("me/digits").revision == second.revision


def test_a_resumed_run_publishes_once(remote: RemoteHub) -> None:
    first = publish(remote)
    publish(remote, {"README.md": b"# Later\n"}, key="run-2")

    again = publish(remote, {"README.md": b"# Other\n"})

    assert (again.revision, again.is_new) == (first.revision, False)
    assert (again.folder / "config.json").read_bytes() == b"{}"


def test_a_damaged_copy_is_fetched_again(remote: RemoteHub) -> None:
    published = publish(remote)
    (published.folder / "config.json").write_bytes(b"[]")

    found = remote.find("digits", published.revision[:12])

    assert (found.folder / "config.json").read_bytes() == b"{}"
    found.verify()


def test_nothing_is_left_between_the_bytes_and_the_folder(remote: RemoteHub) -> None:
    published = publish(remote)

    assert not [path for path in (remote.folder / "incoming").rglob("*") if path.is_file()]
    assert published.folder.is_dir()


def test_what_the_other_hub_does_not_have_is_looked_for_here(local: LocalHub, remote: RemoteHub) -> None:
    local.publish("me/only-here", FILES, message="x", author="me", when=WHEN)

    assert remote.find("only-here").repository == "me/only-here"
    with pytest.raises(RepositoryNotFoundError):
        remote.find("me/nowhere")


def test_what_the_hub_refuses_is_told_and_nothing_is_published(remote: RemoteHub) -> None:
    bad: dict[str, Path | bytes] = {"README.md": b"---\nlicense: [\n---\n"}

    with pytest.raises(HubRefusedError):
        publish(remote, bad)

    assert list(remote.find("me/digits").files) == [".gitattributes"]

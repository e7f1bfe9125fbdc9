"""Imports from real repositories that `git` made."""

import io
import os
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest

pytest.importorskip("dulwich")

from tests.hub.stocked_hub import StockedHub, stocked_hub

from ayni.hub.git_import import (
    Fetched,
    GitUrlError,
    TooLargeImportError,
    card_with_provenance,
    check_git_url,
    fetch,
    pack_content_bytes,
    write_import,
)
from ayni.hub.revision_sources import LocalRevisions

__all__ = ["stocked_hub"]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    environ = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a@b",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a@b",
    }
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True, env=environ
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "train.py").write_text("print('first')\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "First")
    git(folder, "tag", "v1")
    (folder / "train.py").write_text("print('second')\n")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Project\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "data.bin").write_bytes(os.urandom(50_000))
    (folder / "secrets").symlink_to("/etc/passwd")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "Second")
    return folder


def bring(url: str, commit: str | None, hub: StockedHub, max_bytes: int = 10**7) -> object:
    with fetch(url, commit, max_bytes=max_bytes) as fetched:
        return write_import(
            fetched,
            hub.database,
            hub.content,
            kind="space",
            name="ada/project",
            author="ada",
            hooks=hub.hooks,
            now=hub.time,
        )


def read(hub: StockedHub) -> dict[str, bytes]:
    source = LocalRevisions(hub.database, hub.content, "space", "ada/project")
    at = source.resolve(None)
    return {each.path: b"".join(source.read(at, each)) for each in source.files(at)}


@needs_git
def test_the_files_come_with_where_they_are_from(project: Path, stocked_hub: StockedHub) -> None:
    done = bring(project.as_uri(), None, stocked_hub)

    files = read(stocked_hub)
    head, tree = git(project, "rev-parse", "HEAD"), git(project, "rev-parse", "HEAD^{tree}")
    assert files["train.py"] == b"print('second')\n"
    assert files["sub/data.bin"] == (project / "sub/data.bin").read_bytes()
    card = files["README.md"].decode()
    assert f"  commit: {head}\n  tree: {tree}\n" in card and card.endswith("---\n# Project\n")
    assert "license: mit" in card and f"url: '{project.as_uri()}'" in card
    assert done.left_out == {"secrets": "a symbolic link"}  # type: ignore[attr-defined]
    assert stocked_hub.check().is_sound


@needs_git
def test_a_tag_or_an_id_may_be_asked_for_and_the_same_commit_comes_once(
    project: Path, stocked_hub: StockedHub
) -> None:
    first = git(project, "rev-parse", "v1")

    by_tag = bring(project.as_uri(), "v1", stocked_hub)
    by_id = bring(project.as_uri(), first, stocked_hub)

    assert read(stocked_hub)["train.py"] == b"print('first')\n"
    assert (by_tag.is_new, by_id.is_new) == (True, False)  # type: ignore[attr-defined]


@needs_git
def test_a_submodule_and_a_pointer_without_content_are_left_out_and_said(
    project: Path, stocked_hub: StockedHub
) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "a" * 64 + "\nsize 5\n"
    (project / "big.txt").write_text(pointer)
    git(project, "add", "big.txt")
    head = git(project, "rev-parse", "HEAD")
    git(project, "update-index", "--add", "--cacheinfo", f"160000,{head},module")
    git(project, "commit", "-qm", "Third")

    done = bring(project.as_uri(), None, stocked_hub)

    assert set(done.left_out) == {"secrets", "module", "big.txt"}  # type: ignore[attr-defined]
    assert "big.txt" not in read(stocked_hub)


@needs_git
def test_too_many_bytes_are_refused_and_nothing_is_kept(project: Path, stocked_hub: StockedHub) -> None:
    with pytest.raises(TooLargeImportError, match="--max-bytes"):
        bring(project.as_uri(), None, stocked_hub, max_bytes=10_000)

    assert list(stocked_hub.objects.list()) == []


@needs_git
def test_no_hook_of_the_source_runs(project: Path, stocked_hub: StockedHub, tmp_path: Path) -> None:
    for name in ("post-checkout", "pre-commit", "post-merge", "reference-transaction"):
        hook = project / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)

    bring(project.as_uri(), None, stocked_hub)

    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "url",
    [
        "ssh://git@host/x",
        "git@host:x",
        "ext::sh -c id",
        "/etc",
        "file://host/x",
        "file:x",
        "https://",
        "https://me:secret@host/x",
        "--upload-pack=id",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(GitUrlError) as caught:
        check_git_url(url)
    assert "secret" not in str(caught.value)


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(GitUrlError, match="could not be fetched"),
        fetch((tmp_path / "none").as_uri(), None, max_bytes=1000),
    ):
        pass


@needs_git
def test_a_branch_that_is_not_there_says_so(project: Path) -> None:
    with (
        pytest.raises(GitUrlError, match="no branch or tag 'nope'"),
        fetch(project.as_uri(), "nope", max_bytes=10**7),
    ):
        pass


def fetched(url: str = "https://host/x") -> Fetched:
    return Fetched(url=url, commit="a" * 40, tree="b" * 40, subject="", files={}, left_out={}, store=None)


def test_a_card_keeps_its_text_and_says_the_source_once(stocked_hub: StockedHub) -> None:
    import yaml

    first = card_with_provenance("# Title\n", fetched("https://host/it's"), stocked_hub.time)
    second = card_with_provenance(first, fetched(), stocked_hub.time)

    assert first.endswith("---\n\n# Title\n") and second.endswith("---\n\n# Title\n")
    assert yaml.safe_load(first.split("---\n")[1])["imported_from"]["url"] == "https://host/it's"
    assert second.count("imported_from") == 1 and "it's" not in second


def pack(*objects: tuple[int, int, bytes]) -> io.BytesIO:
    content = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")
    for kind, size, data in objects:
        byte, rest = kind << 4 | size & 15, size >> 4
        while rest:
            content += bytes([byte | 128])
            byte, rest = rest & 127, rest >> 7
        content += bytes([byte]) + zlib.compress(data)
    return io.BytesIO(content + bytes(20))


def test_what_a_pack_unpacks_to_is_counted_without_unpacking_more_than_it_says() -> None:
    assert pack_content_bytes(pack((3, 5, b"12345"), (3, 300, b"x" * 300)), most=1000) == 305
    with pytest.raises(TooLargeImportError):
        pack_content_bytes(pack((3, 5_000_000, b"\0" * 5_000_000)), most=1_000_000)
    with pytest.raises(ValueError, match="larger than it says"):
        pack_content_bytes(pack((3, 10, b"\0" * 5_000_000)), most=1_000_000)


@needs_git
def test_a_pack_that_git_made_is_counted_as_git_counts_it(project: Path) -> None:
    git(project, "repack", "-adq")
    path = next((project / ".git/objects/pack").glob("*.pack"))
    listing = git(project, "cat-file", "--batch-all-objects", "--batch-check=%(objectsize)")

    with path.open("rb") as opened:
        assert pack_content_bytes(opened, most=10**9) == sum(map(int, listing.split()))

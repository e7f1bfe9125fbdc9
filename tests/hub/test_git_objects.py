"""Ids are compared with those of the real git command."""

import os
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ayni.hub.git_objects import (
    EXECUTABLE_MODE,
    FILE_MODE,
    LFS_ABOVE_BYTES,
    Commit,
    TreeEntry,
    blob_sha1,
    build_trees,
    git_time,
    gitattributes,
    identity,
    is_lfs,
    lfs_pointer,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))


class Git:
    """The real git in a scratch repository that ignores the machine's configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.run("init", "-q")

    def run(self, *arguments: str, stdin: bytes = b"", **variables: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
        }
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            input=stdin,
            env=environment | variables,
            capture_output=True,
            check=True,
        )
        return done.stdout.decode().strip()

    def blob(self, content: bytes) -> str:
        return self.run("hash-object", "-w", "--stdin", stdin=content)

    def tree(self, files: dict[str, tuple[str, bytes]]) -> str:
        lines = [f"{mode} {self.blob(content)}\t{path}\0" for path, (mode, content) in files.items()]
        self.run("read-tree", "--empty")
        self.run("update-index", "-z", "--index-info", stdin="".join(lines).encode())
        return self.run("write-tree")

    def commit(self, commit: Commit) -> str:
        name, _, address = identity(commit.author).removesuffix(">").partition(" <")
        parents = [] if commit.parent is None else ["-p", commit.parent]
        people = {
            f"GIT_{who}_{what}": value
            for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", address), ("DATE", git_time(commit.when)))
        }
        # `git commit` ends the message with a line feed; this inner command takes it as it is.
        message = commit.message.removesuffix("\n") + "\n"
        return self.run("commit-tree", commit.tree, *parents, stdin=message.encode(), **people)


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    return Git(tmp_path_factory.mktemp("git"))


def root_of(files: dict[str, tuple[str, bytes]]) -> str:
    entries = {
        path: TreeEntry(name=path, mode=mode, git_sha1=blob_sha1(content))
        for path, (mode, content) in files.items()
    }
    return build_trees(entries).root


FILES = {
    "README.md": (FILE_MODE, b"# hello\n"),
    "empty": (FILE_MODE, b""),
    "run.sh": (EXECUTABLE_MODE, b"#!/bin/sh\n"),
    # The folder "a" sorts as "a/", between "a.b" and "a0".
    "a.b": (FILE_MODE, b"1"),
    "a-b/x": (FILE_MODE, b"2"),
    "a/x": (FILE_MODE, b"3"),
    "a/b/c/d": (FILE_MODE, b"4"),
    "a0": (FILE_MODE, b"5"),
    "a b/c d": (FILE_MODE, b"6"),
    "B": (FILE_MODE, b"7"),
    "\u00e9t\u00e9/\u6570\u5b57.json": (FILE_MODE, b"\x00\xff"),
    "\U0001f600": (FILE_MODE, b"8"),
    "\uffee": (FILE_MODE, b"9"),
}


def test_a_tree_with_nested_folders_modes_and_unicode_has_the_id_that_git_gives(git: Git) -> None:
    assert root_of(FILES) == git.tree(FILES)


PART = st.text(st.sampled_from("ab0-. \u00e9\uffee\U0001f600"), min_size=1, max_size=3).filter(
    lambda part: part.strip(".") != ""
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.lists(PART, min_size=1, max_size=3).map("/".join), st.binary(max_size=3), min_size=1)
)
def test_any_tree_has_the_id_that_git_gives(git: Git, contents: dict[str, bytes]) -> None:
    files = {path: (FILE_MODE, content) for path, content in contents.items()}
    # A file cannot be a folder as well.
    files = {
        path: value for path, value in files.items() if not any(each.startswith(f"{path}/") for each in files)
    }

    assert root_of(files) == git.tree(files)


@pytest.mark.parametrize("message", ["First", "First\n\nwith a body\n", "\u6570\u5b57 \u00e9", ""])
@pytest.mark.parametrize("author", ["me", " .Ada <x>\n Lovelace,", "\u5f20\u4f1f"])
def test_a_commit_and_its_child_have_the_ids_that_git_gives(git: Git, message: str, author: str) -> None:
    tree = git.tree(FILES)
    first = Commit(tree=tree, parent=None, author=author, message=message, when=NOON)
    assert first.sha1 == git.commit(first)

    second = Commit(tree=tree, parent=first.sha1, author=author, message="Next", when=NOON.astimezone(UTC))

    assert second.sha1 == git.commit(second)


def test_git_finds_nothing_to_complain_about(git: Git) -> None:
    git.commit(Commit(tree=git.tree(FILES), parent=None, author="<> me", message="x", when=NOON))

    assert git.run("fsck", "--strict", "--no-dangling") == ""


def test_a_commit_names_its_time_zone_and_drops_parts_of_a_second() -> None:
    assert git_time(NOON.replace(microsecond=999_999)) == f"{int(NOON.timestamp())} -0330"


def test_a_name_with_nothing_but_punctuation_is_refused() -> None:
    with pytest.raises(ValueError, match="no name"):
        identity(" <>.,; ")


@pytest.mark.parametrize(("message", "when"), [("a\0b", NOON), ("a", datetime(2026, 1, 1))])  # noqa: DTZ001
def test_what_git_cannot_hold_is_refused(message: str, when: datetime) -> None:
    with pytest.raises(ValueError, match=r"NUL|time zone"):
        Commit(tree="0" * 40, parent=None, author="me", message=message, when=when)


def test_the_pointer_of_a_large_file_is_that_of_the_specification() -> None:
    # The example of the git-lfs specification.
    digest = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"

    pointer = lfs_pointer(digest, 12345)

    assert pointer.decode().splitlines() == [
        "version https://git-lfs.github.com/spec/v1",
        f"oid sha256:{digest}",
        "size 12345",
    ]


@pytest.mark.parametrize(
    "path",
    [
        "big.bin",
        "a/b c.bin",
        "!x[1]*?.bin",
        "#h.bin",
        '"q".bin',
        "\u00e9.bin",
        "sub/model.onnx",
        "w.safetensors",
    ],
)
def test_git_keeps_the_same_files_by_lfs_as_we_say(git: Git, path: str) -> None:
    assert is_lfs(path, LFS_ABOVE_BYTES + 1)
    (git.folder / ".gitattributes").write_bytes(gitattributes([path]))

    answer = git.run("-c", "core.quotePath=false", "check-attr", "-z", "filter", "--", path, f"other/{path}x")

    assert answer.split("\0")[2] == "lfs"
    assert answer.split("\0")[5] == "unspecified"

"""Trees after a change are those that git would make of all files, and only changed folders are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hub.hub_rows import entry

from ayni.hub.git_objects import TreeEntry, build_trees
from ayni.hub.names import FilePathError
from ayni.hub.tree_changes import NothingToDeleteError, changed_trees

NAMES = st.sampled_from(["a", "b", "c", "d.txt", "e"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


class Shelf:
    """Trees in memory, and how often one was read."""

    def __init__(self) -> None:
        self.trees: dict[str, tuple[TreeEntry, ...]] = {}
        self.read: list[str] = []

    def __call__(self, tree: str) -> tuple[TreeEntry, ...]:
        self.read.append(tree)
        return self.trees[tree]


def without_collisions(files: dict[str, bytes]) -> dict[str, bytes]:
    """No path below another file."""
    return {
        path: content
        for path, content in files.items()
        if not any(other != path and path.startswith(f"{other}/") for other in files)
    }


@given(
    before=st.dictionaries(PATHS, st.binary(max_size=3), max_size=8).map(without_collisions),
    after=st.dictionaries(PATHS, st.binary(max_size=3), max_size=8).map(without_collisions),
)
def test_a_change_leads_to_the_tree_that_all_files_make(
    before: dict[str, bytes], after: dict[str, bytes]
) -> None:
    shelf = Shelf()
    first = build_trees({path: entry(content) for path, content in before.items()})
    shelf.trees |= first.entries
    gone = {path for path in before if path not in after}
    added = {path: entry(content) for path, content in after.items() if before.get(path) != content}

    # In two steps, because git too refuses a folder in the place of a file within one change.
    middle = changed_trees(first.root, dict.fromkeys(gone), shelf)
    shelf.trees |= middle.entries
    last = changed_trees(middle.root, added, shelf)

    assert last.root == build_trees({path: entry(content) for path, content in after.items()}).root


def test_folders_that_did_not_change_are_not_read() -> None:
    shelf = Shelf()
    files = {"a/one": entry(b"1"), "b/two": entry(b"2"), "b/deep/three": entry(b"3")}
    trees = build_trees(files)
    shelf.trees |= trees.entries

    changed_trees(trees.root, {"a/one": entry(b"9")}, shelf)

    assert len(shelf.read) == 2


def test_a_folder_goes_with_all_that_is_in_it() -> None:
    shelf = Shelf()
    trees = build_trees({"a/one": entry(b"1"), "a/deep/two": entry(b"2"), "b": entry(b"3")})
    shelf.trees |= trees.entries

    after = changed_trees(trees.root, {"a": None}, shelf)

    assert after.root == build_trees({"b": entry(b"3")}).root


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("../x", b"1", "not allowed"),
        ("/abs", b"1", "not allowed"),
        ("a\\b", b"1", "backslash"),
        (".git/config", b"1", "not allowed"),
        ("a//b", b"1", "not allowed"),
        ("README.md/x", b"1", "is a file"),
        ("readme.MD", b"1", "only by case"),
    ],
)
def test_a_path_that_cannot_be_is_refused(path: str, content: bytes, reason: str) -> None:
    shelf = Shelf()
    trees = build_trees({"README.md": entry(b"1")})
    shelf.trees |= trees.entries

    with pytest.raises(FilePathError, match=reason):
        changed_trees(trees.root, {path: entry(content)}, shelf)


@pytest.mark.parametrize("path", ["absent", "absent/deep"])
def test_what_is_not_there_cannot_be_deleted(path: str) -> None:
    shelf = Shelf()
    trees = build_trees({"README.md": entry(b"1")})
    shelf.trees |= trees.entries

    with pytest.raises(NothingToDeleteError, match="nothing to delete"):
        changed_trees(trees.root, {path: None}, shelf)

"""Differences of trees, held against plain dictionaries of their files."""

import random

from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_sha1, build_trees
from ayni.hub.tree_changes import changed_trees
from ayni.hub.tree_differences import differences, merged
from ayni.signing import sha256_hex

Files = dict[str, bytes]
TREES: dict[str, tuple[TreeEntry, ...]] = {}


def entry(content: bytes) -> TreeEntry:
    return TreeEntry(
        name="x", mode=FILE_MODE, git_sha1=blob_sha1(content), sha256=sha256_hex(content), size_bytes=1
    )


def tree(files: Files) -> str:
    made = build_trees({path: entry(content) for path, content in files.items()})
    TREES.update(made.entries)
    return made.root


def read(root: str) -> tuple[TreeEntry, ...]:
    return TREES[root]


def drawn(rng: random.Random, base: Files) -> Files:
    """Some files of a base changed, taken away, added, or put in the place of folders."""
    files = dict(base)
    for _ in range(rng.randrange(4)):
        path = rng.choice(["a", "b", "d/a", "d/b", "d/e/f", "d/e", "d", "g/h"])
        files = {
            name: content
            for name, content in files.items()
            if not name.startswith(f"{path}/") and not path.startswith(f"{name}/") and name != path
        }
        if rng.random() < 0.7:
            files[path] = rng.choice([b"1", b"2", b"3"])
    return files


def test_differences_are_those_of_the_files() -> None:
    rng = random.Random(1)
    for _ in range(500):
        before, after = (
            drawn(rng, {"a": b"1", "d/a": b"1", "d/e/f": b"1"}),
            drawn(rng, {"a": b"1", "b": b"1"}),
        )

        found = differences(tree(before), tree(after), read)

        names = before.keys() | after.keys()
        changed = sorted(path for path in names if before.get(path) != after.get(path))
        assert list(found) == changed
        for path, (old, new) in found.items():
            assert (old and old.sha256) == (sha256_hex(before[path]) if path in before else None)
            assert (new and new.sha256) == (sha256_hex(after[path]) if path in after else None)


def test_what_is_merged_has_what_either_side_changed() -> None:
    rng, num_merged = random.Random(2), 0
    base: Files = {"a": b"1", "d/a": b"1", "d/e/f": b"1"}
    for _ in range(2000):
        ours, theirs = drawn(rng, base), drawn(rng, base)
        roots = tree(base), tree(ours), tree(theirs)

        found = merged(differences(roots[0], roots[1], read), differences(roots[0], roots[2], read))

        names = base.keys() | ours.keys() | theirs.keys()
        both = {
            path
            for path in names
            if ours.get(path) != base.get(path)
            and theirs.get(path) != base.get(path)
            and ours.get(path) != theirs.get(path)
        }
        assert both <= set(found.conflicts)
        expected = {path: (theirs if ours.get(path) == base.get(path) else ours).get(path) for path in names}
        wanted = {path: content for path, content in expected.items() if content is not None}
        is_possible = not any(other.startswith(f"{path}/") for path in wanted for other in wanted)
        assert bool(found.conflicts) == (bool(both) or not is_possible)
        if not found.conflicts:
            num_merged += 1
            assert changed_trees(roots[1], found.changes, read).root == tree(wanted)
    assert 500 < num_merged < 2000


def test_folders_that_are_equal_are_not_opened() -> None:
    files = {f"{number}/{inner}": b"1" for number in range(50) for inner in range(50)}
    opened: list[str] = []

    def noting(root: str) -> tuple[TreeEntry, ...]:
        opened.append(root)
        return read(root)

    found = differences(tree(files), tree({**files, "7/new": b"2"}), noting)

    assert list(found) == ["7/new"] and len(opened) == 4

"""What differs between two trees, and what two changes of one tree make together. Pure.

Folders with the same id are equal and are not opened, so the cost is that of what changed.

    merged(base, ours, theirs): a path that only one side changed is as that side has it
                                a path that both changed in the same way is so
                                everything else is a conflict

Files are compared whole: two changes of different lines of one file are a conflict.

Not covered: renames, which are a file that goes and one that comes.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ayni.hub.git_objects import TreeEntry
from ayni.hub.tree_changes import ReadTree

Differences = Mapping[str, tuple[TreeEntry | None, TreeEntry | None]]
"""path -> (the file before, the file after); None where there was none, or is none any longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What `theirs` changes that `ours` has not: path -> file or None. `conflicts` are paths, in order."""

    changes: Mapping[str, TreeEntry | None]
    conflicts: tuple[str, ...]


def differences(before: str | None, after: str | None, read_tree: ReadTree) -> Differences:
    """The files that differ between two trees, by path in order; None is an empty tree."""
    found: dict[str, tuple[TreeEntry | None, TreeEntry | None]] = {}
    waiting: list[tuple[str, str | None, str | None]] = [("", before, after)]
    while waiting:
        prefix, left, right = waiting.pop()
        if left == right:
            continue
        olds, news = _by_name(left, read_tree), _by_name(right, read_tree)
        for name in olds.keys() | news.keys():
            old, new = olds.get(name), news.get(name)
            if _same(old, new):
                continue
            path = prefix + name
            old_tree, new_tree = _tree_of(old), _tree_of(new)
            if old_tree is not None or new_tree is not None:
                waiting.append((f"{path}/", old_tree, new_tree))
            old_file, new_file = _file_of(old), _file_of(new)
            if old_file is not None or new_file is not None:
                found[path] = (old_file, new_file)
    return dict(sorted(found.items()))


def merged(ours: Differences, theirs: Differences) -> Merged:
    """What remains to be done to have both changes of one tree."""
    conflicts = {path for path, (_, new) in theirs.items() if path in ours and not _same(ours[path][1], new)}
    came = {path for path, (_, new) in ours.items() if new is not None}
    changes: dict[str, TreeEntry | None] = {}
    for path, (_, new) in theirs.items():
        if new is not None and (path not in ours or ours[path][1] is None):
            # A file cannot lie where the other side has put a folder, nor below its files.
            conflicts |= {path} if _is_in_the_way(path, came) else set()
        if path not in ours:
            changes[path] = new
    files = {path for path, new in changes.items() if new is not None}
    # A file in the place of a folder takes all of it away by itself.
    changes = {
        path: new
        for path, new in changes.items()
        if new is not None or not any(parent in files for parent in _folders_of(path))
    }
    return Merged(changes=changes, conflicts=tuple(sorted(conflicts)))


def _is_in_the_way(path: str, came: set[str]) -> bool:
    return any(parent in came for parent in _folders_of(path)) or any(
        other.startswith(f"{path}/") for other in came
    )


def _folders_of(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts))]


def _by_name(tree: str | None, read_tree: ReadTree) -> dict[str, TreeEntry]:
    return {} if tree is None else {entry.name: entry for entry in read_tree(tree)}


def _same(old: TreeEntry | None, new: TreeEntry | None) -> bool:
    if old is None or new is None:
        return old is new
    return (old.git_sha1, old.mode, old.sha256) == (new.git_sha1, new.mode, new.sha256)


def _tree_of(entry: TreeEntry | None) -> str | None:
    return entry.git_sha1 if entry is not None and entry.is_folder else None


def _file_of(entry: TreeEntry | None) -> TreeEntry | None:
    return None if entry is None or entry.is_folder else entry

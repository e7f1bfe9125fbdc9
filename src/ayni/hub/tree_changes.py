"""The trees after a change: only folders on the way to what changed are read and made anew.

    changes: path -> the new file, or None for what goes (a file, or a folder with all that is in it)

Folders that become empty go, as git has none. The root may be empty.

Not covered: renames; they are a file that goes and one that comes.
"""

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import replace

from ayni.errors import UserError
from ayni.hub.git_objects import TREE_MODE, TreeEntry, Trees, tree_sha1
from ayni.hub.names import FilePathError, check_file_paths


class NothingToDeleteError(UserError):
    """A path is to go and is not there."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"A file with this name doesn't exist: {path!r}. There is nothing to delete.")


ReadTree = Callable[[str], tuple[TreeEntry, ...]]


def changed_trees(root: str | None, changes: Mapping[str, TreeEntry | None], read_tree: ReadTree) -> Trees:
    """The trees of a root with changes; those that did not change are not among them, but for the root.

    Cost: one read for each folder on the way to a change.

    Raises:
        FilePathError: a path leaves the folder, lies below a file, or differs from a file that stays only by
            case or accents.
        NothingToDeleteError: a path is to go and is not there.
    """
    check_file_paths([path for path, entry in changes.items() if entry is not None])
    made: dict[str, tuple[TreeEntry, ...]] = {}

    def build(tree: str | None, inside: Mapping[str, TreeEntry | None], prefix: str) -> str | None:
        entries = {entry.name: entry for entry in read_tree(tree)} if tree is not None else {}
        below: dict[str, dict[str, TreeEntry | None]] = {}
        for path, entry in inside.items():
            name, slash, rest = path.partition("/")
            if slash:
                below.setdefault(name, {})[rest] = entry
            elif entry is None:
                if entries.pop(name, None) is None:
                    raise NothingToDeleteError(prefix + name)
            else:
                entries[name] = replace(entry, name=name)
        for name, changes_below in below.items():
            _build_folder(entries, name, changes_below, prefix)
        _refuse_likeness(entries, prefix)
        if not entries and prefix:
            return None
        found = tuple(entries.values())
        sha1 = tree_sha1(found)
        made[sha1] = found
        return sha1

    def _build_folder(
        entries: dict[str, TreeEntry], name: str, inside: Mapping[str, TreeEntry | None], prefix: str
    ) -> None:
        before = entries.get(name)
        if before is not None and not before.is_folder:
            raise FilePathError(f"{prefix}{name}/{next(iter(inside))}", f"{prefix + name!r} is a file")
        sha1 = build(None if before is None else before.git_sha1, inside, f"{prefix}{name}/")
        if sha1 is None:
            entries.pop(name, None)
        else:
            entries[name] = TreeEntry(name=name, mode=TREE_MODE, git_sha1=sha1)

    new_root = build(root, changes, "")
    assert new_root is not None
    return Trees(root=new_root, entries=made)


def _refuse_likeness(entries: Mapping[str, TreeEntry], prefix: str) -> None:
    """No two names of a folder that macOS or Windows take for one: snapshots are plain files."""
    seen: dict[str, str] = {}
    for name in entries:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise FilePathError(
                prefix + name, f"it differs from {prefix + seen[key]!r} only by case or accents"
            )
        seen[key] = name

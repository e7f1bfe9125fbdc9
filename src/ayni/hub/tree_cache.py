"""All files below a tree, kept in memory: what is behind an id never changes, so nothing is out of date.

Listings of a large repository come in many pages, and each would walk through all its folders again.

Not covered: limits by bytes; what is counted are entries (about 500 bytes each).
"""

import threading
from collections import OrderedDict

import sqlalchemy as sa

from ayni.hub import revisions
from ayni.hub.git_objects import TreeEntry

MAX_ENTRIES = 100_000

Walked = tuple[tuple[str, TreeEntry], ...]


class TreeCache:
    """Walks of trees, those used last. Safe for several threads."""

    def __init__(self, *, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._num_entries = 0
        self._walks: OrderedDict[str, Walked] = OrderedDict()
        self._lock = threading.Lock()

    def walk(self, connection: sa.Connection, tree: str) -> Walked:
        """All files and folders below a tree by path, in the order of their paths."""
        with self._lock:
            if tree in self._walks:
                self._walks.move_to_end(tree)
                return self._walks[tree]
        walked = tuple(revisions.walk(connection, tree))
        with self._lock:
            self._keep(tree, walked)
        return walked

    def files(self, connection: sa.Connection, tree: str) -> dict[str, TreeEntry]:
        """All files below a tree by path."""
        return {path: entry for path, entry in self.walk(connection, tree) if not entry.is_folder}

    def _keep(self, tree: str, walked: Walked) -> None:
        if len(walked) > self._max_entries or tree in self._walks:
            return
        self._walks[tree] = walked
        self._num_entries += len(walked)
        while self._num_entries > self._max_entries:
            _, oldest = self._walks.popitem(last=False)
            self._num_entries -= len(oldest)

"""What a job needs of a hub, wherever the hub is: publish files as a revision, and find a revision again."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol

from ayni.hub.repositories import Published
from ayni.hub.snapshots import Snapshot


class Hub(Protocol):
    """Where models are published and found."""

    def publish(
        self,
        repository: str,
        files: Mapping[str, Path | bytes],
        *,
        message: str,
        author: str,
        when: datetime,
        publish_key: str | None = None,
    ) -> Published:
        """Make `files` the newest revision of a repository; once for each `publish_key`."""
        ...

    def find(self, name: str, revision: str | None = None) -> Snapshot:
        """A published revision as a folder on this machine.

        Raises:
            RepositoryNotFoundError, AmbiguousRepositoryError: no repository, or more than one.
        """
        ...

"""Whoever mirrors a hub keeps a copy of its transparency log, and holds what it mirrors against it.

    first time    the key that signs the log is written down
    later         the log must go on from the copy, signed by the same key

So a hub that once showed a commit cannot show another history to the mirror unnoticed.

Not covered: whether the hub shows others the same; compare the newest hash of the copies.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ayni.files import explain_os_errors, write_atomically
from ayni.hub.commit_log_mirror import BrokenCommitLogError, CommitLogMirror, check_repository
from ayni.hub.connection import HubConnection, HubRefusedError

LOG_FILE, KEY_FILE = "commit-log.jsonl", "commit-log.key"
_NOT_OFFERED = (401, 403, 404, 405, 501)
_ATTEMPTS = 5


class LogWatch:
    """The copy of one hub's log, in a folder of its own."""

    def __init__(self, hub: HubConnection, folder: Path) -> None:
        self._hub = hub
        self._folder = folder
        self.is_offered = True

    def check(self, refs_path: str, repository: int) -> dict[str, str]:
        """The refs of a repository, once the log speaks of them; as they are where no log is offered.

        Args:
            refs_path: where the hub says its refs.
            repository: its number there.

        Raises:
            BrokenCommitLogError: log and refs do not fit, or the log is not the one it was.
        """
        refs = self._refs(refs_path)
        for _ in range(_ATTEMPTS):
            entries = self._follow()
            if entries is None:
                break
            # A commit may come between two answers; then both are asked for again.
            again = self._refs(refs_path)
            if again != refs:
                refs = again
                continue
            if problems := check_repository(entries, repository, refs):
                raise BrokenCommitLogError(" ".join(problems))
            break
        return refs

    def _follow(self) -> list[dict[str, Any]] | None:
        copy = CommitLogMirror(self._folder / LOG_FILE)
        try:
            head = self._hub.ask("GET", "/api/v1/commit-log/head")
        except HubRefusedError as error:
            if error.status in _NOT_OFFERED and not (self._folder / KEY_FILE).exists():
                self.is_offered = False
                return None
            raise
        key = self._pinned_key(str(head["public_key"]))
        copy.follow(self._page, expected_public_key=key)
        return copy.entries()

    def _page(self, after: int) -> Mapping[str, Any]:
        said: Mapping[str, Any] = self._hub.ask("GET", "/api/v1/commit-log", params={"after": after})
        return said

    def _pinned_key(self, shown: str) -> str:
        path = self._folder / KEY_FILE
        with explain_os_errors(path):
            if not path.exists():
                self._folder.mkdir(parents=True, exist_ok=True)
                write_atomically(path, f"{shown}\n".encode())
            return path.read_text().strip()

    def _refs(self, path: str) -> dict[str, str]:
        said = self._hub.ask("GET", path, params={"include_prs": "1"})
        refs = [*said["branches"], *said["tags"], *said.get("pullRequests", ())]
        return {str(each["ref"]): str(each["targetCommit"]) for each in refs}

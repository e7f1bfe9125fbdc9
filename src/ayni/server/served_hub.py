"""What the routes are given: the concrete parts of one hub, and where other parts join in.

Not covered: how these are made from settings; whoever starts the server does it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ayni.database import Database
from ayni.hub import commit_log, evaluations, lineage, parameter_counts, pull_requests
from ayni.hub.callers import CallerSource
from ayni.hub.card_checks import check_card
from ayni.hub.card_index import CheckCard, indexing
from ayni.hub.commits import CommitHooks
from ayni.hub.content import ContentStore
from ayni.hub.content_safety import NOTHING_LOOKED_AT, Looked, PolicyOf, guarding
from ayni.hub.download_counts import DownloadCounts
from ayni.hub.quotas import CheckUpload, no_limit
from ayni.hub.repository import Repository
from ayni.hub.tickets import Tickets
from ayni.hub.tree_cache import TreeCache
from ayni.hub.weights_policy import DEFAULT_POLICY
from ayni.hub.xet.store import XetStore
from ayni.signing import SigningKey

InfoPart = Callable[[sa.Connection, Repository, str | None], Mapping[str, Any]]
"""(connection, repository, revision) -> keys of the repository's JSON description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHub:
    """One hub as routes see it.

    Attributes:
        database: rows.
        content: bytes.
        callers: who a token belongs to.
        tickets: signed links of this hub.
        base_url: of every absolute link, without a slash at its end. Configured, never taken from a request.
        now: the clock.
        commit_hooks: what looks at commits before and after they are made.
        info_parts: what adds keys to the description of a repository.
        check_upload: quotas, asked before bytes are taken and before they are committed.
        check_card: what is wrong with a README.
        policy_of: which files a repository takes.
        trees: listings of folders that are kept in memory.
        downloads: counts that were not written yet.
        known_keys: public keys that the operator vouches for (PEM, or base64 of an Ed25519 key) -> whose.
        log_key: signs the log of commits; None where nobody may follow it.
        xet: takes files by chunks; `content` is then its `contents`. None where the hub takes none.
    """

    database: Database
    content: ContentStore
    callers: CallerSource
    tickets: Tickets
    base_url: str
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))
    commit_hooks: CommitHooks = field(default_factory=CommitHooks)
    info_parts: tuple[InfoPart, ...] = ()
    check_upload: CheckUpload = no_limit
    check_card: CheckCard = check_card
    policy_of: PolicyOf = field(default=lambda *_: DEFAULT_POLICY)
    log_key: SigningKey | None = None
    xet: XetStore | None = None
    trees: TreeCache = field(default_factory=TreeCache)
    downloads: DownloadCounts = field(default_factory=DownloadCounts)
    known_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def all_commit_hooks(self) -> CommitHooks:
        """Those that were given, after the hub's own."""
        return self.commit_hooks_after(NOTHING_LOOKED_AT)

    def commit_hooks_after(self, looked: Looked) -> CommitHooks:
        """The same, where files were looked into before the transaction."""
        given = self.commit_hooks
        return CommitHooks(
            before=(*given.before, guarding(self.content, self.policy_of, looked)),
            after=(
                indexing(self.content),
                lineage.following(self.content),
                evaluations.following(self.content),
                parameter_counts.counting(),
                pull_requests.noting_commits(),
                *given.after,
                self._sign_log,
            ),
        )

    def _sign_log(self, connection: sa.Connection, *_: object) -> None:
        if self.log_key is not None:
            commit_log.sign_newest(connection, self.log_key, now=self.now())

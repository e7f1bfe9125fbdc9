"""The composition root of offers, jobs of a pool, rounds, the ledger and simulations of pools."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import UserError
from ayni.settings import read_settings
from ayni.wiring.extras import require_modules
from ayni.wiring.installation import Installation

if TYPE_CHECKING:
    from ayni.jobs.loading import Job
    from ayni.market.planning import Plan
    from ayni.workflows.pool import Pool


class NoLedgerError(UserError):
    """There is no ledger to look into."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"There is no ledger in {path} yet; the first `ayni run` begins it. Is AYNI_HOME or "
            "AYNI_DATABASE_URL the one you mean?"
        )


class NotedEntryError(UserError):
    """An entry that was noted down is not written as NUMBER:HASH."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f"{text!r} is no noted entry. Write NUMBER:HASH as `ayni ledger check` prints it, all 64 digits."
        )


def pool(home: Path | None = None) -> "Pool":
    """Offers, submitted jobs and rounds of the market of this installation."""
    installation = Installation(read_settings(home=home))
    database = installation.database
    from ayni.market.pool_store import PoolStore
    from ayni.workflows.pool import Pool

    return Pool(
        store=PoolStore(database),
        ledger=installation.ledger,
        make_plan=partial(_plan, installation),
        now=lambda: datetime.now(UTC),
    )


def ledger_check(noted: Sequence[str] = (), *, home: Path | None = None) -> dict[str, Any]:
    """Prove the invariants of the ledger: {"ok", "problems", "num_entries", "last_hash", ...}.

    `noted` are entries of earlier checks as "NUMBER:HASH", which must still be there.

    Raises:
        NoLedgerError: there is no database yet.
        NotedEntryError: an entry was noted in another form.
    """
    from ayni.workflows.ledger_check import check_ledger

    entries = dict(_noted_entry(text) for text in noted)
    return check_ledger(_existing_ledger(home).database, noted=entries)


def ledger_statement(
    member: str, *, since: datetime | None = None, until: datetime | None = None, home: Path | None = None
) -> dict[str, Any]:
    """Every movement of a member's credits in [since, until): {"member", "opening", "lines", "closing"}.

    Raises:
        NoLedgerError: there is no database yet.
        UnknownMemberError: the ledger has no account of the member.
    """
    from ayni.workflows.ledger_statement import ledger_statement as make

    return make(_existing_ledger(home).ledger, member, since=since, until=until).to_json()


def _plan(installation: Installation, job: "Job") -> "Plan":
    require_modules(job)
    from ayni.workflows.plan_job import plan_job

    return plan_job(job, installation.house)


def _existing_ledger(home: Path | None) -> "Installation":
    """An installation whose database is there: looking must not make one."""
    settings = read_settings(home=home)
    if isinstance(settings.database, Path) and not settings.database.exists():
        raise NoLedgerError(settings.database)
    return Installation(settings)


def _noted_entry(text: str) -> tuple[int, str]:
    number, _, found = text.partition(":")
    if not (number.isdecimal() and int(number) > 0 and len(found) == 64):
        raise NotedEntryError(text)
    return int(number), found

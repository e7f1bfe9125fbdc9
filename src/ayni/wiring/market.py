"""The composition root of offers, jobs of a pool, rounds, the ledger and simulations of pools."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import UserError
from ayni.settings import read_settings
from ayni.wiring.extras import require, require_modules
from ayni.wiring.installation import Installation

if TYPE_CHECKING:
    from ayni.jobs.loading import Job
    from ayni.market.planning import Plan
    from ayni.workflows.pool import Pool
    from ayni.workflows.pool_leases import PoolLeases
    from ayni.workflows.progress import Progress

_SIMULATION_MODULES = ("numpy", "scipy")


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
        leases=_leases(installation),
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


def close_quarter(period: str, *, is_trial: bool = False, home: Path | None = None) -> dict[str, Any]:
    """Decay idle credits and share out the surplus of a quarter: {"period", "dividend_microcredits", ...}.

    Raises:
        NoLedgerError: there is no database yet.
        QuarterError: the quarter cannot be closed.
    """
    installation = _existing_ledger(home)
    from ayni.market.quarter_store import QuarterStore
    from ayni.workflows.close_quarter import close_quarter as close

    now = datetime.now(UTC)
    leases, quarters = _leases(installation), QuarterStore(installation.database)
    return close(leases, quarters, period, now=now, is_trial=is_trial).to_json()


def declared_policy() -> dict[str, Any]:
    """What the pool declares about credits, quarters, leases and rounds."""
    from ayni.workflows.close_quarter import declared_policy as declared

    return declared()


def simulate(
    pool: str | Path,
    trace: str | Path,
    *,
    policies: Sequence[str] = (),
    seed: int = 0,
    report: Path | None = None,
    progress: "Progress | None" = None,
) -> dict[str, Any]:
    """Replay a trace of jobs against a pool under several policies; returns the simulation object.

    Args:
        pool: path of the pool file (docs/simulate.md).
        trace: path of the CSV of jobs.
        policies: names; all of them and the clairvoyant bound by default.
        seed: of everything that is made up about the jobs.
        report: folder of the HTML report, which is then named under "report"; None = no report.
        progress: sees what happens; nothing by default.

    Raises:
        UserError: the pool file, the trace or the hourly files cannot be used as they are.
    """
    require(_SIMULATION_MODULES, extra="market")
    import ayni
    from ayni.market.simulation.policies import CLAIRVOYANT, POLICIES
    from ayni.workflows.simulate_pool import simulate_pool

    wanted = tuple(policies) or (*POLICIES, CLAIRVOYANT)
    view = simulate_pool(Path(pool), Path(trace), wanted, seed=seed, progress=progress)
    if report is not None:
        from ayni.reports.pool.pool_report import write_pool_report

        view["report"] = str(write_pool_report(view, folder=report, version=ayni.__version__))
    return view


def _leases(installation: Installation) -> "PoolLeases":
    database = installation.database
    from ayni.market.lease_store import DatabaseLeaseStore
    from ayni.market.policy import LeasePolicy
    from ayni.market.round_store import RoundStore
    from ayni.workflows.pool_leases import PoolLeases

    return PoolLeases(
        rounds=RoundStore(database),
        events=DatabaseLeaseStore(database),
        ledger=installation.ledger,
        policy=LeasePolicy(),
        # Which work is checked must not be foreseen by who sells it.
        rng=random.SystemRandom(),
    )


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

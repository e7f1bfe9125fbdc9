"""Pools and demands small enough to be worked out by hand: one member a site, hours that are all alike."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from ayni.market.simulation.demand import Demand
from ayni.market.simulation.engine import Replay
from ayni.market.simulation.pool import Pool, PoolSite

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = 3600.0


def make_site(name: str, machines: int, **changes: object) -> PoolSite:
    """1,000 W at a PUE of 1: a machine-hour is a kilowatt-hour. One credit of wear."""
    site = PoolSite(
        name=name,
        member=name,
        zone=name.upper(),
        machine_class="gpu",
        num_machines=machines,
        watts=1000.0,
        throughput=1.0,
        pue=1.0,
        wear_microcredits_per_hour=1_000_000,
        ask_microcredits_per_hour=1_000_000,
    )
    return replace(site, **changes)  # type: ignore[arg-type]


def make_pool(
    *sites: PoolSite,
    grams: Sequence[Sequence[float]] | None = None,
    num_hours: int = 2000,
    restart_seconds: float = 0.0,
    gigabytes_per_second: float = 1.0,
    transfer_microcredits_per_gigabyte: int = 0,
) -> Pool:
    """Sites with 100 g and 0.1 credits a kWh, unless `grams` says what each hour weighs (repeated)."""
    hours = np.full((len(sites), num_hours), 100.0)
    if grams is not None:
        hours = np.array([np.resize(np.asarray(row, dtype=np.float64), num_hours) for row in grams])
    return Pool(
        start=START,
        members=tuple(dict.fromkeys(site.member for site in sites)),
        sites=sites,
        grams_per_kwh_SH=hours,
        microcredits_per_kwh_SH=np.full((len(sites), num_hours), 100_000.0),
        restart_seconds=restart_seconds,
        gigabytes_per_second=gigabytes_per_second,
        transfer_microcredits_per_gigabyte=transfer_microcredits_per_gigabyte,
    )


def make_demand(
    pool: Pool,
    *jobs: tuple[str, float, float, int],
    slack_hours: float = 1000.0,
    estimate_factor: float = 1.0,
    worth_microcredits_per_hour: int = 10_000_000,
    data_gigabytes: float = 0.0,
    can_suspend: bool = True,
) -> Demand:
    """Jobs as (member, release in hours, work in hours, gang)."""
    ordered = sorted(jobs, key=lambda job: job[1])
    release = np.array([job[1] * HOUR for job in ordered])
    work = np.array([job[2] * HOUR for job in ordered])
    gang = np.array([job[3] for job in ordered], dtype=np.int64)
    return Demand(
        members=pool.members,
        member_J=np.array([pool.members.index(job[0]) for job in ordered], dtype=np.int64),
        release_seconds_J=release,
        work_seconds_J=work,
        gang_J=gang,
        deadline_seconds_J=release + work + slack_hours * HOUR,
        estimate_seconds_J=work * estimate_factor,
        worth_microcredits_J=np.rint(work / HOUR * gang * worth_microcredits_per_hour).astype(np.int64),
        data_gigabytes_J=np.full(len(ordered), data_gigabytes),
        can_suspend_J=np.full(len(ordered), can_suspend),
    )


def starts(replayed: Replay) -> list[tuple[int, str, float]]:
    """(job, site, start in hours) of every piece, by job and time."""
    pieces, sites = replayed.pieces, replayed.pool.sites
    rows = zip(pieces.job_P.tolist(), pieces.site_P.tolist(), pieces.start_seconds_P.tolist(), strict=True)
    return sorted((job, sites[site].name, start / HOUR) for job, site, start in rows)


def most_machines(replayed: Replay, site: int) -> int:
    """The most machines of a site in use at any moment."""
    pieces = replayed.pieces
    gang_P = replayed.demand.gang_J[pieces.job_P]
    here = pieces.site_P == site
    moments = np.concatenate([pieces.start_seconds_P[here], pieces.end_seconds_P[here]])
    changes = np.concatenate([gang_P[here], -gang_P[here]])
    order = np.lexsort((changes, moments))
    return int(np.cumsum(changes[order]).max(initial=0))

"""The clairvoyant bound: what nobody does better, who knew every job, price and gram beforehand.

A linear programme over hours, with jobs that may be cut into any parts:

    max   sum over groups of worth * done  -  sum over sites and hours of cost * machine-hours there
    s.t.  y[g, t] >= 0   machine-hours that group g computes in hour t, within its window and its gangs
          sum_t y[g, t] <= work of g
          sum_g y[g, t] = sum_s z[s, t] * throughput_s,   0 <= z[s, t] <= machines of s

Jobs of one release hour, one last hour and a like worth make one group, whose window is that of its widest
job, whose gangs add up and whose worth is that of its best job: each makes the bound weaker, none wrong.
Moving data, restarts, whole gangs and whole sites are left out for the same reason. `objective` says what
counts:

    welfare   worth - cost - carbon charge, work is done where it pays
    cost      all work is done, at the least cost
    carbon    all work is done, with the least carbon

Solved by HiGHS (interior point), which is exact to about 1e-7 of the value.

Not covered: whole solutions (MILP); the bound is compared with, not carried out.

Source: Huangfu and Hall, "Parallelizing the dual revised simplex method", Mathematical Programming
Computation 10, 2018 (HiGHS), through scipy.optimize.linprog.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ayni.errors import AyniError, MissingExtraError
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.pool import SECONDS_PER_HOUR, HoursExhaustedError, Pool

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Objective = Literal["welfare", "cost", "carbon"]
GRAMS_PER_KILOGRAM = 1000.0
_NUM_WORTH_GROUPS = 3


class BoundNotFoundError(AyniError):
    """The solver gave no optimum."""

    def __init__(self, *, objective: str, reason: str) -> None:
        self.objective = objective
        super().__init__(
            f"The clairvoyant bound of {objective} was not found: {reason} Replay fewer weeks, or leave the "
            "policy `clairvoyant` out."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The value of the programme and what it takes to reach it. Only the objective is bounded."""

    objective: Objective
    value: float
    machine_hours: float
    grams: float
    cost_microcredits: float
    worth_microcredits: float
    num_variables: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Groups:
    """One entry a group (G): hours [first, last), reference machine-hours, machines, worth of an hour."""

    first_G: Integers
    last_G: Integers
    hours_G: Floats
    machines_G: Floats
    worth_G: Floats


def clairvoyant_bound(
    pool: Pool,
    demand: Demand,
    *,
    objective: Objective,
    carbon_microcredits_per_kilogram: float = 0.0,
    deadline_seconds_J: Floats | None = None,
) -> Bound:
    """The bound for a demand on a pool.

    Args:
        pool: where.
        demand: what.
        objective: what to be best in.
        carbon_microcredits_per_kilogram: the charge within welfare.
        deadline_seconds_J: other deadlines than the demand's, such as the ends of a replay, so that work that
            came late is compared with a bound that may come as late.

    Raises:
        MissingExtraError: scipy is not installed.
        BoundNotFoundError: cost or carbon, and the work cannot be done in time; or the solver gave up.
        HoursExhaustedError: a deadline lies after the last hour of the pool.
    """
    groups = _groups(demand, deadline_seconds_J, by_worth=objective == "welfare")
    num_hours = int(groups.last_G.max(initial=0))
    if num_hours > pool.grams.num_hours:
        raise HoursExhaustedError(num_hours=pool.grams.num_hours, needed_hours=num_hours)
    grams_SH = pool.grams.values_SH[:, :num_hours]
    cost_SH = pool.microcredits.values_SH[:, :num_hours]
    if objective == "carbon":
        price_SH = grams_SH
    else:
        charge = carbon_microcredits_per_kilogram if objective == "welfare" else 0.0
        price_SH = cost_SH + grams_SH / GRAMS_PER_KILOGRAM * charge
    solution, is_work, num_group_hours = _solve(pool, groups, price_SH, objective)
    work, used = solution[:num_group_hours], solution[num_group_hours:].reshape(grams_SH.shape)
    worth = float((groups.worth_G[is_work] * work).sum())
    value = float((price_SH * used).sum())
    return Bound(
        objective=objective,
        value=worth - value if objective == "welfare" else value,
        machine_hours=float(work.sum()),
        grams=float((grams_SH * used).sum()),
        cost_microcredits=float((cost_SH * used).sum()),
        worth_microcredits=worth,
        num_variables=len(solution),
    )


def _groups(demand: Demand, deadline_seconds_J: Floats | None, *, by_worth: bool) -> _Groups:
    deadlines = demand.deadline_seconds_J if deadline_seconds_J is None else deadline_seconds_J
    first_J = (demand.release_seconds_J // SECONDS_PER_HOUR).astype(np.int64)
    last_J = np.ceil(deadlines / SECONDS_PER_HOUR).astype(np.int64)
    worth_J = demand.worth_microcredits_J / demand.machine_hours_J
    # Thirds by worth of a machine-hour: finer groups give a tighter bound and a larger programme.
    thirds = np.linspace(0, 1, _NUM_WORTH_GROUPS + 1)[1:-1] if by_worth else np.zeros(0)
    class_J = np.searchsorted(np.quantile(worth_J, thirds), worth_J)
    # Short jobs have windows of nearly one length, long jobs of any: those are grouped by whole 4 hours.
    last_J = np.where(last_J - first_J > 48, -4 * (-last_J // 4), last_J)
    keys = np.stack([first_J, last_J, class_J])
    unique, group_J = np.unique(keys, axis=1, return_inverse=True)
    group_J = group_J.ravel()
    num_groups = unique.shape[1]
    worth_G = np.zeros(num_groups)
    np.maximum.at(worth_G, group_J, worth_J)
    return _Groups(
        first_G=unique[0],
        last_G=unique[1],
        hours_G=np.bincount(group_J, demand.machine_hours_J, minlength=num_groups).astype(np.float64),
        machines_G=np.bincount(group_J, demand.gang_J, minlength=num_groups).astype(np.float64),
        worth_G=worth_G,
    )


def _solve(
    pool: Pool, groups: _Groups, price_SH: Floats, objective: Objective
) -> tuple[Floats, Integers, int]:
    """Solution vector (group-hours, then sites by hours), the group of each group-hour, and their number."""
    try:
        from scipy.optimize import linprog
        from scipy.sparse import csr_array
    except ImportError as error:
        raise MissingExtraError(extra="market", package="scipy") from error
    num_sites, num_hours = price_SH.shape
    lengths_G = groups.last_G - groups.first_G
    group_Y = np.repeat(np.arange(len(lengths_G)), lengths_G)
    hour_Y = np.arange(len(group_Y)) - np.repeat(np.cumsum(lengths_G) - lengths_G, lengths_G)
    hour_Y += groups.first_G[group_Y]
    size = len(group_Y) + num_sites * num_hours
    used_columns = len(group_Y) + np.arange(num_sites * num_hours)
    throughput_S = np.array([site.throughput for site in pool.sites])
    # Each hour: work done by groups = work done at sites.
    balance = csr_array(
        (
            np.concatenate([np.ones(len(group_Y)), -np.repeat(throughput_S, num_hours)]),
            (
                np.concatenate([hour_Y, np.tile(np.arange(num_hours), num_sites)]),
                np.concatenate([np.arange(len(group_Y)), used_columns]),
            ),
        ),
        shape=(num_hours, size),
    )
    done = csr_array(
        (np.ones(len(group_Y)), (group_Y, np.arange(len(group_Y)))), shape=(len(lengths_G), size)
    )
    fastest = float(throughput_S.max())
    machines_S = np.array([site.num_machines for site in pool.sites], dtype=np.float64)
    upper = np.concatenate([groups.machines_G[group_Y] * fastest, np.repeat(machines_S, num_hours)])
    reward_Y = groups.worth_G[group_Y] if objective == "welfare" else np.zeros(len(group_Y))
    # HiGHS works best near one.
    scale = float(np.abs(price_SH).mean()) or 1.0
    costs = np.concatenate([-reward_Y, price_SH.ravel()]) / scale
    common = {"bounds": np.stack([np.zeros(size), upper], axis=1), "method": "highs-ipm"}
    if objective == "welfare":
        result = linprog(
            costs, A_ub=done, b_ub=groups.hours_G, A_eq=balance, b_eq=np.zeros(num_hours), **common
        )
    else:
        from scipy.sparse import vstack

        result = linprog(
            costs,
            A_eq=vstack([balance, done], format="csr"),
            b_eq=np.concatenate([np.zeros(num_hours), groups.hours_G]),
            **common,
        )
    if result.status != 0 or result.x is None:
        raise BoundNotFoundError(objective=objective, reason=str(result.message))
    return np.asarray(result.x, dtype=np.float64), group_Y, len(group_Y)

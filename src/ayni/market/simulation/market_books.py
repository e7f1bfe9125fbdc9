"""What the market of a replay promised and moved: the figures of its report.

Options are chosen by a forecast. What each job was expected to emit is kept beside what the forecast said of
the same job at home and at once, so that a saving that was promised stands beside the one that came true.

Not covered: balances. Nobody runs out of credits in a replay, and the ledger is not kept.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ayni.market.rounds import Allocation
from ayni.market.simulation.demand import Demand
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.pool import SECONDS_PER_HOUR, Pool

Floats = NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class MarketBooks:
    """Sums over a replay.

    expected_grams_J is what forecasts said when leases were made, expected_at_once_grams_J what they said
    of the job at home at its release. paid_microcredits_M is what members paid, earned_microcredits_M what
    sellers got of it; the rest are carbon charges and surplus. Leases that end early count as far as they
    ran. num_given_back counts leases that jobs ended to wait for greener hours, num_moved_on those that they
    left for greener machines.
    """

    expected_grams_J: Floats
    expected_at_once_grams_J: Floats
    paid_microcredits_M: list[int]
    earned_microcredits_M: list[int]
    carbon_microcredits: int = 0
    num_leases: int = 0
    num_moves: int = 0
    num_reclaimed: int = 0
    num_given_back: int = 0
    num_moved_on: int = 0
    num_refusals: int = 0
    largest_round: int = 0

    @classmethod
    def empty(cls, *, num_jobs: int, num_members: int) -> Self:
        """Nothing happened yet."""
        return cls(
            expected_grams_J=np.zeros(num_jobs),
            expected_at_once_grams_J=np.zeros(num_jobs),
            paid_microcredits_M=[0] * num_members,
            earned_microcredits_M=[0] * num_members,
        )

    def count(self, allocation: Allocation, *, job: int, buyer: int, seller: int, share: float = 1.0) -> None:
        """Add a share of what was allotted; a negative one takes back what did not run."""
        option = allocation.option
        self.expected_grams_J[job] += share * (option.grams or 0.0)
        self.paid_microcredits_M[buyer] += round(share * allocation.payment_microcredits)
        self.earned_microcredits_M[seller] += round(share * allocation.seller_microcredits)
        self.carbon_microcredits += round(share * option.carbon_microcredits)


def foreseen_at_once(pool: Pool, demand: Demand, forecast: RecentHours, *, job: int, now_hour: int) -> float:
    """Grams that the forecast of `now_hour` says of a job at home at its release.

    A member without machines has no home; for its jobs it is the mean of the pool's sites.
    """
    home = int(pool.home_site_M[demand.member_J[job]])
    sites = [home] if home >= 0 else range(len(pool.sites))
    begin = max(float(demand.release_seconds_J[job]) / SECONDS_PER_HOUR - now_hour, 0.0)
    total = 0.0
    for site in sites:
        hours = float(demand.work_seconds_J[job]) / SECONDS_PER_HOUR / pool.sites[site].throughput
        sums_H = forecast.sums(now_hour, int(begin + hours) + 1)[site]
        total += (_until(sums_H, begin + hours) - _until(sums_H, begin)) * pool.sites[site].kilowatts
    return total / len(sites) * float(demand.gang_J[job])


def _until(sums_H: Floats, hours: float) -> float:
    """The sum of hourly values from the first on, the last of them in part."""
    whole = int(hours)
    before, after = float(sums_H[whole]), float(sums_H[whole + 1])
    return (after - before) * (hours - whole) + before

"""What a policy may know of coming hours: the last days, and how the newest hour strayed from them.

    usual(h)    = weighted mean of the NUM_DAYS newest days at the same hour of the day; each day weighs
                  DAY_WEIGHT of the one after it
    forecast of hour n + k at hour n
                = usual(n + k) + (value(n - 1) - usual(n - 1)) * HOUR_WEIGHT ** (k + 1)

Weather stays for hours: a windy hour follows a windy one, so that what strayed an hour ago says far more of
the next hours than any day does. Nothing at or after n is looked at, so a saving that was promised may not
come true, and both are reported. It is a forecast that anybody can make from a table of past hours.

On the grids of mappings 11 to 13 (`benchmarks.philly`) the mean error is 2.4 % of a grid's mean for the next
hour and 9 % for a day ahead; yesterday's hours alone are wrong by 10 % for both.

Shapes: S sites, H hours.

Not covered: weather forecasts, which are better from about six hours on, and grids that publish an hour later
than it ends.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DAY_HOURS = 24
NUM_DAYS = 14
DAY_WEIGHT = 0.75
HOUR_WEIGHT = 0.95


class RecentHours:
    """A forecast of hourly values for each site. None is below 0.

    Args:
        values_SH: the truth from the pool's start on.
        before_SH: the hours before the start: one whole day or more; of more than NUM_DAYS the newest count.
            None = the first day of the truth stands for them, which makes the forecasts of the first day
            better than they could be.
    """

    def __init__(self, values_SH: Floats, *, before_SH: Floats | None = None) -> None:
        before_SH = values_SH[:, :DAY_HOURS] if before_SH is None else before_SH
        num_before = before_SH.shape[-1]
        if len(before_SH) != len(values_SH) or num_before < DAY_HOURS or num_before % DAY_HOURS:
            raise ValueError(
                f"{before_SH.shape} values before the start; whole days of {DAY_HOURS} for each of "
                f"{len(values_SH)} sites are needed, and at least one"
            )
        self._known_SH = np.concatenate([before_SH, values_SH], axis=1)
        self._num_before = num_before
        self._usual_SH = _usual(self._known_SH)
        self._summed_hour, self._sums_SH = -1, np.zeros((len(values_SH), 0))

    def hours(self, now_hour: int, num_hours: int) -> Floats:
        """What is expected, during hour `now_hour`, of it and the hours that follow, by site."""
        now, ahead_H = now_hour + self._num_before, np.arange(num_hours)
        # The usual of a coming day needs no hour that is not over; later days are expected to be like it.
        expected: Floats = self._usual_SH[:, now + ahead_H % DAY_HOURS]
        if now > DAY_HOURS:  # the newest hour has a usual
            strayed_S1 = self._known_SH[:, [now - 1]] - self._usual_SH[:, [now - 1]]
            expected = np.maximum(expected + strayed_S1 * HOUR_WEIGHT ** (ahead_H + 1), 0.0)
        return expected

    def sums(self, now_hour: int, num_hours: int) -> Floats:
        """What is expected, during hour `now_hour`, of 0, 1, ... `num_hours` hours together, by site.

        Sums are kept while the hour lasts, and there may be more of them than were asked for.
        """
        if self._summed_hour != now_hour or self._sums_SH.shape[1] <= num_hours:
            expected_SH = self.hours(now_hour, num_hours)
            self._sums_SH = np.zeros((len(expected_SH), num_hours + 1))
            self._sums_SH[:, 1:] = np.cumsum(expected_SH, axis=1)
            self._summed_hour = now_hour
        return self._sums_SH


def _usual(known_SH: Floats) -> Floats:
    """The usual of each hour, and of a day more than is known; the first day has none."""
    num_sites, num_hours = known_SH.shape
    sums_SH = np.zeros((num_sites, num_hours + DAY_HOURS))
    weights_H = np.zeros(num_hours + DAY_HOURS)
    for day in range(1, NUM_DAYS + 1):
        first, weight = day * DAY_HOURS, DAY_WEIGHT ** (day - 1)
        older_SH = known_SH[:, : max(0, num_hours + DAY_HOURS - first)]
        sums_SH[:, first:] += weight * older_SH
        weights_H[first:] += weight
    usual_SH: Floats = sums_SH / np.maximum(weights_H, np.finfo(float).tiny)
    return usual_SH

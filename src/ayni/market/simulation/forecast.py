"""What a policy may know of the coming hours: yesterday's, at the same hour of the day.

    forecast of hour h at hour n = value of the newest hour before n at the same hour of the day

Nothing at or after n is looked at, so a saving that was promised may not come true, and both are reported. It
is the forecast that anybody can make; published ones are better on most grids.

Shapes: S sites, H hours.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DAY_HOURS = 24


class YesterdaysHours:
    """A forecast of hourly values for each site.

    Args:
        values_SH: the truth from the pool's start on.
        before_SD: the 24 hours before the start; None = the first day of the truth stands for them, which
            makes the forecasts of the first day better than they could be.
    """

    def __init__(self, values_SH: Floats, *, before_SD: Floats | None = None) -> None:
        before_SD = values_SH[:, :DAY_HOURS] if before_SD is None else before_SD
        if before_SD.shape != (len(values_SH), DAY_HOURS):
            raise ValueError(
                f"{before_SD.shape} values before the start, {DAY_HOURS} for each site are needed"
            )
        self._known_SH = np.concatenate([before_SD, values_SH], axis=1)
        self._summed_hour, self._sums_SH = -1, np.zeros((len(values_SH), 0))

    def hours(self, now_hour: int, num_hours: int) -> Floats:
        """What is expected, during hour `now_hour`, of it and the hours that follow, by site."""
        ahead_H = np.arange(num_hours)
        # The hour that runs is not over, so its value is not known either.
        newest_H = now_hour + ahead_H - DAY_HOURS * (ahead_H // DAY_HOURS + 1)
        # One day is stored in front, so hour -24 stands at 0.
        expected: Floats = self._known_SH[:, newest_H + DAY_HOURS]
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

"""When to run: which hours of the next day weigh least, and whether waiting for such hours ever paid.

A forecast of the hours to come says when to start. What such a forecast is worth is found by replaying the
past: at each past hour the same rule would have chosen a start, and the hours that then came say what was
really saved. Three numbers come of it, all over the same jobs:

    oracle      saving of who knows the future
    realised    saving of the forecast's choice: sum of grams saved / sum of grams without waiting
    worse       share of jobs that would have weighed less had they not waited

Four hours of work within a day saved 30 % in California in 2022 (oracle 32) and 4 % in Texas, where a quarter
of the jobs became worse. So the answer is "no use" where the replay saved less than 5 %.

The forecast, best first:

    hours that somebody forecasts                        a series of such hours
    the mean of the same hours of the last two weeks     where the series has at least one
    the same hours of yesterday                          where it is shorter
    the month-by-hour climatology                        where it ends before today

The mean of two weeks saved more than yesterday on 17 of 18 grids in 2023, and on 17 of them in 2022: 15.7 %
against 14.3 %, and 13.4 % against 11.9 %, with 7 % of the jobs worse instead of 10 %.

What was replayed is the rule that chose; for forecasts of others, of which nobody gave an archive, the next.

What reserving idle machines while waiting costs is charged to the job that waits: `waiting_share` is the
power of waiting over the power of working.

Not covered: stopping and going on, moving to another zone, jobs that change what the grid weighs. With
average intensities shifted load can raise the total of the system (Wiesner and Kao, 2025); with marginal ones
nobody can check. The figures are what this job is accounted for.

Source: P. Wiesner et al., "Let's Wait Awhile", Middleware 2021, for the question; the rule and the replay are
ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count, product
from math import ceil
from typing import Any, Literal

from ayni.footprint.grid.climatology import Climatology, fit_climatology
from ayni.footprint.grid.intensity_series import HOUR, IntensitySeries, hour_of

Verdict = Literal["wait", "start now", "no use", "needs data"]
MIN_SAVING = 0.03
"""A forecast that promises less is not worth a wait."""
NO_USE_BELOW = 0.05
"""Policy: what a replay saved on average must be at least this, or the grid is called flat."""
MIN_REPLAYED_JOBS = 14 * 24
_ALIKE = 1e-6
MOST_REPLAYED_HOURS = 8784 * 72
"""Takes two seconds or so."""
DAY_HOURS = 24
MAX_DAYS_BACK = 7
FORTNIGHT_DAYS = 14
MIN_FORTNIGHT_DAYS = 7
"""So many of the 14 days must know an hour: fewer are not steadier than yesterday."""
PUBLISHED, FORTNIGHT, YESTERDAY, USUAL = (
    "a published forecast",
    "the mean of the same hours of the last two weeks",
    "the same hours of yesterday",
    "month-by-hour climatology",
)
NEEDS = (
    "An hourly series of the zone is needed that reaches back at least a day from now, or that covers these "
    "months of another year: a file of Electricity Maps, ENTSO-E or NESO, or a plain table; or the API of "
    "Electricity Maps with your token. Annual means do not tell one hour from another."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A job to be timed: `hours` of work that must be done `within_hours` from now.

    `waiting_share` is what the machines draw while they wait, over what they draw at work.
    """

    hours: float
    within_hours: float
    waiting_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.hours <= self.within_hours:
            raise ValueError(f"{self.hours:g} hours of work do not fit within {self.within_hours:g}")
        if not 0 <= self.waiting_share <= 1:
            raise ValueError(
                f"waiting draws between nothing and all of the power, not {self.waiting_share:g}"
            )

    @property
    def delays(self) -> range:
        """Whole hours that the start can be put off by."""
        return range(int(self.within_hours - self.hours) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedSavings:
    """What waiting by the rule would have saved on past data, as shares of the grams without waiting.

    `low`, `median` and `high` are 5, 50 and 95 % of single jobs, and `percentiles` all from 5 to 95 % in
    steps of five; a saving below 0 is a loss.
    """

    forecast: str
    num_jobs: int
    num_waited: int
    oracle: float
    realised: float
    low: float
    median: float
    high: float
    share_worse: float
    percentiles: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        data = {name: getattr(self, name) for name in self.__slots__}
        return {**data, "percentiles": list(self.percentiles)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """When to start, what the forecast promises, and what such promises were worth.

    `expected_saving` is a share; it and the intensities (g CO2e per kWh over the work) are None without data.
    `grams_per_kwh_by_hour` are the hours that the forecast expects, from `first_hour` on; none without one.
    """

    verdict: Verdict
    start_at: datetime
    forecast: str | None
    expected_saving: float | None
    grams_per_kwh_now: float | None
    grams_per_kwh_then: float | None
    replayed: ReplayedSavings | None
    reason: str
    first_hour: datetime
    grams_per_kwh_by_hour: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "start_at": self.start_at.isoformat(),
            "replayed": None if self.replayed is None else self.replayed.to_json(),
            "first_hour": self.first_hour.isoformat(),
            "grams_per_kwh_by_hour": list(self.grams_per_kwh_by_hour),
        }


def when_to_run(
    work: Work,
    *,
    now: datetime,
    series: IntensitySeries | None = None,
    forecast: IntensitySeries | None = None,
    climatology: Climatology | None = None,
) -> Advice:
    """The best start within the time, by the best forecast that there is.

    `series` are known hours up to about now; they also serve the replay. `forecast` are hours to come.
    """
    if climatology is None and series is not None and len(series.grams_co2e_per_kwh) - series.num_holes > 1:
        climatology = fit_climatology(series)
    method, known = _hours_to_come(work, now, series, forecast, climatology)
    replayed = None if series is None else _replay_rule(series, work, method)
    if method is None:
        reason = NEEDS if series is None else f"The series of {series.zone} ends at {series.end}. {NEEDS}"
        return _advice("needs data", now, first_hour=hour_of(now), reason=reason, replayed=replayed)
    hours = _Cumulative(known)
    offset = (now - hour_of(now)) / HOUR
    weights = [_weight(hours, offset, delay, work) for delay in work.delays]
    best = _earliest_best(weights)
    saving = 1 - weights[best] / weights[0] if weights[0] else 0.0
    verdict, reason = _verdict(saving, replayed, climatology if method == USUAL else None, work)
    return _advice(
        verdict,
        now + HOUR * best if verdict == "wait" else now,
        first_hour=hour_of(now),
        reason=reason,
        replayed=replayed,
        forecast=method,
        grams_per_kwh_by_hour=tuple(known),
        expected_saving=saving,
        grams_per_kwh_now=weights[0] / work.hours,
        grams_per_kwh_then=weights[best] / work.hours,
    )


def _advice(
    verdict: Verdict,
    start_at: datetime,
    *,
    first_hour: datetime,
    reason: str,
    replayed: ReplayedSavings | None,
    forecast: str | None = None,
    expected_saving: float | None = None,
    grams_per_kwh_now: float | None = None,
    grams_per_kwh_then: float | None = None,
    grams_per_kwh_by_hour: tuple[float, ...] = (),
) -> Advice:
    return Advice(
        verdict=verdict,
        start_at=start_at,
        forecast=forecast,
        expected_saving=expected_saving,
        grams_per_kwh_now=grams_per_kwh_now,
        grams_per_kwh_then=grams_per_kwh_then,
        replayed=replayed,
        reason=reason,
        first_hour=first_hour,
        grams_per_kwh_by_hour=grams_per_kwh_by_hour,
    )


def _hours_to_come(
    work: Work,
    now: datetime,
    series: IntensitySeries | None,
    forecast: IntensitySeries | None,
    climatology: Climatology | None,
) -> tuple[str | None, list[float]]:
    """The first forecast that knows every hour until the work must be done."""
    first = hour_of(now)
    num_hours = -((first - now - timedelta(hours=work.within_hours)) // HOUR)
    moments = [first + HOUR * index for index in range(num_hours)]
    forecasts: dict[str, Callable[[datetime], float | None]] = {}
    if forecast is not None:
        forecasts[PUBLISHED] = forecast.at
    if series is not None:
        forecasts[FORTNIGHT] = partial(_mean_of_days_before, series, first)
        forecasts[YESTERDAY] = partial(_day_before, series, first)
    if climatology is not None:
        forecasts[USUAL] = climatology.at
    for method, at in forecasts.items():
        known = [value for moment in moments if (value := at(moment)) is not None]
        if len(known) == num_hours:
            return method, known
    return None, []


def _day_before(series: IntensitySeries, first: datetime, moment: datetime) -> float | None:
    """The newest known value at the same hour of a day before `first`."""
    for days in range(1, MAX_DAYS_BACK + 1):
        earlier = moment - HOUR * DAY_HOURS * days
        if earlier < first and (value := series.at(earlier)) is not None:
            return value
    return None


def _mean_of_days_before(series: IntensitySeries, first: datetime, moment: datetime) -> float | None:
    """The mean of the same hour of the 14 days before `first`; None where too few of them know it."""
    newest = moment - HOUR * DAY_HOURS * ((moment - first) // (HOUR * DAY_HOURS) + 1)
    days = [series.at(newest - HOUR * DAY_HOURS * back) for back in range(FORTNIGHT_DAYS)]
    return _mean_of_enough(days)


def _mean_of_enough(days: Sequence[float | None]) -> float | None:
    known = [value for value in days if value is not None]
    return sum(known) / len(known) if len(known) >= MIN_FORTNIGHT_DAYS else None


class _Cumulative:
    """Sums of hourly values over any span, in hours from the first."""

    def __init__(self, values: Sequence[float]) -> None:
        self._sums = [0.0]
        for value in values:
            self._sums.append(self._sums[-1] + value)

    def between(self, start: float, end: float) -> float:
        """The integral over [start, end)."""
        return self._until(end) - self._until(start)

    def _until(self, place: float) -> float:
        below = min(int(place), len(self._sums) - 1)
        above = min(below + 1, len(self._sums) - 1)
        return self._sums[below] + (place - below) * (self._sums[above] - self._sums[below])


def _weight(hours: _Cumulative, now: float, delay: int, work: Work) -> float:
    """Intensity times hours of starting `delay` hours after `now`, with what waiting draws."""
    working = hours.between(now + delay, now + delay + work.hours)
    return working + work.waiting_share * hours.between(now, now + delay)


def _earliest_best(weights: Sequence[float]) -> int:
    """The first of the lightest starts. Days that are expected alike differ by rounding alone."""
    most = min(weights) * (1 + _ALIKE)
    return next(delay for delay, weight in enumerate(weights) if weight <= most)


def _verdict(
    saving: float, replayed: ReplayedSavings | None, climatology: Climatology | None, work: Work
) -> tuple[Verdict, str]:
    worth = replayed
    if worth is None and climatology is not None:
        worth = replay_usual_year(climatology, work)
    if worth is not None and worth.realised < NO_USE_BELOW:
        return "no use", (
            f"Over {worth.num_jobs:,} starts, choosing by {worth.forecast} saved {worth.realised:.1%} and "
            f"made {worth.share_worse:.0%} of the jobs worse: the grid is too flat or too hard to foresee."
        )
    if saving < MIN_SAVING:
        return "start now", f"No later start within {work.within_hours:g} hours promises {MIN_SAVING:.0%}."
    if replayed is None:
        usual = (
            "" if worth is None else f"Were all days as usual, such choices would save {worth.realised:.1%}. "
        )
        unknown = "What such promises are worth is not known: it takes two weeks of hourly data."
        return "wait", f"{usual}{unknown}"
    return "wait", (
        f"Over {replayed.num_jobs:,} past starts, choosing by {replayed.forecast} saved "
        f"{replayed.realised:.1%} (single jobs {replayed.low:.0%} to {replayed.high:.0%}); "
        f"{replayed.share_worse:.0%} of them got worse."
    )


def _replay_rule(series: IntensitySeries, work: Work, method: str | None) -> ReplayedSavings | None:
    """What the rule in use was worth; yesterday's where the series is too short to tell."""
    if method in (PUBLISHED, FORTNIGHT) and (found := replay_fortnight(series, work)) is not None:
        return found
    return replay_usual_days(series, work) if method == USUAL else replay(series, work)


def replay(series: IntensitySeries, work: Work) -> ReplayedSavings | None:
    """Let yesterday choose the start at every hour of the series; None for less than two weeks of hours.

    Only hours before a start are used to choose it. Starts with a hole in their hours are left out.
    """
    values = series.grams_co2e_per_kwh

    def foreseen(start: int, span: int) -> list[float | None]:
        return [_yesterday(values, start, ahead) for ahead in range(span)]

    return _replay(values, work, foreseen, YESTERDAY)


def replay_fortnight(series: IntensitySeries, work: Work) -> ReplayedSavings | None:
    """Let the mean of the two weeks before choose the start; None for less than two weeks of such starts."""
    values = series.grams_co2e_per_kwh
    # One value an hour serves all starts: beyond a day ahead the days before the start are the same ones.
    means = [
        _mean_of_enough([values[back] for back in range(index - DAY_HOURS, -1, -DAY_HOURS)[:FORTNIGHT_DAYS]])
        for index in range(len(values) + DAY_HOURS)
    ]

    def foreseen(start: int, span: int) -> list[float | None]:
        return [means[start + ahead % DAY_HOURS] for ahead in range(span)]

    return _replay(values, work, foreseen, FORTNIGHT)


def replay_usual_days(series: IntensitySeries, work: Work) -> ReplayedSavings | None:
    """Let what is usual choose the start at every hour of the series; None for less than two weeks of hours.

    An hour's own value is left out of the mean of its month and hour of day; the days beside it are not,
    which flatters the rule a little where weather lasts.
    """
    values = series.grams_co2e_per_kwh
    others = _means_of_others(series)

    def foreseen(start: int, span: int) -> list[float | None]:
        return others[start : start + span]

    return _replay(values, work, foreseen, USUAL)


def _replay(
    values: Sequence[float | None],
    work: Work,
    foreseen: Callable[[int, int], list[float | None]],
    forecast: str,
) -> ReplayedSavings | None:
    span = ceil(work.within_hours)
    starts = range(DAY_HOURS, len(values) - span + 1)
    weights = []
    for start in starts[:: _stride(len(starts), span)]:
        truth = [value for value in values[start : start + span] if value is not None]
        expected = [value for value in foreseen(start, span) if value is not None]
        if len(truth) == span == len(expected):
            weights.append(_choose(_Cumulative(expected), _Cumulative(truth), work))
    return _summary(weights, forecast) if len(weights) >= MIN_REPLAYED_JOBS else None


def _stride(num_starts: int, span: int) -> int:
    """Every so many starts are replayed: all for a year of three days each, fewer for more.

    Odd and no multiple of three, so that every hour of the day has its turn.
    """
    wanted = num_starts * span / MOST_REPLAYED_HOURS
    return next(stride for stride in count(1) if stride >= wanted and stride % 2 and stride % 3)


def _means_of_others(series: IntensitySeries) -> list[float | None]:
    """For each hour the mean over the other days of its month and hour of day; None without another."""
    values = series.grams_co2e_per_kwh
    cells = [
        ((series.first_hour + HOUR * index).month, (series.first_hour.hour + index) % DAY_HOURS)
        for index in range(len(values))
    ]
    sums: dict[tuple[int, int], float] = {}
    counts: dict[tuple[int, int], int] = {}
    for cell, value in zip(cells, values, strict=True):
        if value is not None:
            sums[cell] = sums.get(cell, 0.0) + value
            counts[cell] = counts.get(cell, 0) + 1
    means: list[float | None] = []
    for cell, value in zip(cells, values, strict=True):
        num_others = counts.get(cell, 0) - (value is not None)
        means.append((sums[cell] - (value or 0.0)) / num_others if num_others else None)
    return means


def replay_usual_year(climatology: Climatology, work: Work) -> ReplayedSavings | None:
    """What perfect knowledge would save in a year of usual hours: the most that its daily shape can give."""
    span = ceil(work.within_hours)
    weights = []
    # All days of a month are alike: one of each month and its 24 starts stand for the year.
    for month, first in product(climatology.cells, range(DAY_HOURS)):
        hours = [value for ahead in range(span) if (value := month[(first + ahead) % DAY_HOURS]) is not None]
        if len(hours) == span:
            weights.append(_choose(_Cumulative(hours), _Cumulative(hours), work))
    return _summary(weights, USUAL) if weights else None


def _yesterday(values: Sequence[float | None], start: int, ahead: int) -> float | None:
    """As `_day_before`, by index: nothing at or after `start` is looked at."""
    for days in range(1, MAX_DAYS_BACK + 1):
        index = start + ahead - DAY_HOURS * days
        if 0 <= index < start and (value := values[index]) is not None:
            return value
    return None


def _choose(expected: _Cumulative, truth: _Cumulative, work: Work) -> tuple[float, float, float]:
    """What a job weighs at once, with the forecast's choice, and at best."""
    promised = [_weight(expected, 0.0, delay, work) for delay in work.delays]
    really = [_weight(truth, 0.0, delay, work) for delay in work.delays]
    best = _earliest_best(promised)
    chosen = best if promised[best] <= promised[0] * (1 - MIN_SAVING) else 0
    return really[0], really[chosen], min(really)


def _summary(weights: Sequence[tuple[float, float, float]], forecast: str) -> ReplayedSavings:
    from statistics import quantiles

    at_once = sum(weight for weight, _, _ in weights) or 1.0
    single = [1 - chosen / weight if weight else 0.0 for weight, chosen, _ in weights]
    cuts = quantiles(single, n=20, method="inclusive") if len(single) > 1 else single * 19
    return ReplayedSavings(
        forecast=forecast,
        num_jobs=len(weights),
        num_waited=sum(chosen != weight for weight, chosen, _ in weights),
        oracle=1 - sum(best for _, _, best in weights) / at_once,
        realised=1 - sum(chosen for _, chosen, _ in weights) / at_once,
        low=cuts[0],
        median=cuts[9],
        high=cuts[-1],
        share_worse=sum(chosen > weight for weight, chosen, _ in weights) / len(weights),
        percentiles=tuple(cuts),
    )

"""When to start a job: what is known of a zone's hours, from files or the network, becomes advice.

    files (and the API, where the caller gives one)   metered hours -> one series, forecasts -> another
    without any                                       the climatology that is shipped for the zone, if one is
    then                                              ayni.footprint.grid.scheduling

Only hours before the moment of asking count as known: a file that reaches further does not tell its
future, so that a past moment can be asked for honestly.

Not covered: the start itself. Nothing here waits or runs anything.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ayni.errors import UserError
from ayni.footprint.grid.basis import Basis, Counting, one_basis
from ayni.footprint.grid.carbon import CarbonIntensity, UnknownZoneError, carbon_intensity, country_intensity
from ayni.footprint.grid.climatology import (
    Climatology,
    fit_climatology,
    shipped_climatologies,
    shipped_climatology,
)
from ayni.footprint.grid.electricity_maps_api import ElectricityMapsApi, IntensityApiError
from ayni.footprint.grid.importers import read_intensity_file
from ayni.footprint.grid.intensity_series import (
    FORECAST,
    HOUR,
    IntensitySeries,
    hour_of,
    join_series,
    same_zone,
)
from ayni.footprint.grid.scheduling import Work, when_to_run
from ayni.market.offers import InvalidDurationError, parse_duration

REPLAYED_DAYS = 30
"""What is asked of the API: two weeks are the least that a replay takes, ten days a request."""
MOST_HOURS = 31 * 24.0
"""No forecast reaches further, and most reach a day."""
_SECONDS_PER_HOUR = 3600.0


class ImpossibleWorkError(UserError):
    """The work does not fit into its time, or what is said of it cannot be."""


class InvalidMomentError(UserError):
    """A text that should be a time is none."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(
            f"{text!r} is not a time. Write 2026-11-23T06:00 or 06:00 (of this machine's clock), "
            "2026-11-23T06:00Z, or 3h for three hours from now."
        )


class NoZoneError(UserError):
    """The network was to be asked, and nobody said for which zone."""

    def __init__(self) -> None:
        super().__init__("Which zone? Electricity Maps is asked for one, such as DE, FR or US-CAL-CISO.")


class MixedZonesError(UserError):
    """Files of several zones were given for one job."""

    def __init__(self, zones: Sequence[str]) -> None:
        self.zones = tuple(zones)
        super().__init__(
            f"The hours are of {' and '.join(self.zones)}. A job runs in one zone: name it, and give files "
            "that hold it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """What is to be timed, and where.

    `hours` of work that must be done `within` a time from now (24h, or a number of hours). `not_before` is
    the earliest start. `counting`, `unit` and `time_zone` say what plain tables do not. `waiting_share` is
    what machines draw while they wait, over what they draw at work.
    """

    hours: float
    within: str
    zone: str | None = None
    files: tuple[Path, ...] = ()
    not_before: str | None = None
    counting: Counting | None = None
    unit: str = "g/kWh"
    time_zone: str | None = None
    waiting_share: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is known of a zone's hours; `annual` is what remains where no hour is known."""

    measured: IntensitySeries | None
    forecast: IntensitySeries | None
    climatology: Climatology | None
    annual: CarbonIntensity | None
    notes: tuple[str, ...]

    @property
    def zone(self) -> str | None:
        return next((one.zone for one in self._given() if one is not None), None)

    @property
    def basis(self) -> Basis | None:
        return next((one.basis for one in self._given() if one is not None), None)

    @property
    def sources(self) -> list[str]:
        return list(dict.fromkeys(one.source for one in self._given() if one is not None))

    def _given(self) -> tuple[IntensitySeries | Climatology | None, ...]:
        return self.measured, self.forecast, self.climatology


def advise_start(
    request: StartRequest, *, now: datetime, api: ElectricityMapsApi | None = None
) -> dict[str, Any]:
    """When to start, as JSON: the keys of `scheduling.Advice`, and those of the table in docs/grid-data.md.

    `api` is asked only when it is given.

    Raises:
        ImpossibleWorkError: the work does not fit, or `within` is no time. InvalidMomentError: as it says.
        GridFileError: a file that cannot be read; IntensityApiError: no usable answer.
        UnknownZoneError: nobody knows the zone. NoZoneError: an API and no zone.
        MixedZonesError, BasisMismatchError: files that differ.
    """
    start = now if request.not_before is None else max(now, parse_moment(request.not_before, now=now))
    deadline = now + timedelta(hours=hours_of_text(request.within))
    work = _work(request, start, deadline)
    known = _gather(request, api, now=now)
    advice = when_to_run(
        work, now=start, series=known.measured, forecast=known.forecast, climatology=known.climatology
    )
    return {
        **advice.to_json(),
        "hours": work.hours,
        "waiting_share": work.waiting_share,
        "asked_at": now.isoformat(),
        "not_before": start.isoformat(),
        "deadline": deadline.isoformat(),
        "zone": known.zone or request.zone,
        "basis": None if known.basis is None else str(known.basis),
        "sources": known.sources,
        "annual": None if known.annual is None else known.annual.to_json(),
        "notes": list(known.notes),
    }


def hours_of_text(text: str) -> float:
    """Hours of `24h`, `1d12h`, `90m`; a bare number is hours.

    Raises:
        ImpossibleWorkError: anything else, nothing above zero, or more than a month.
    """
    try:
        is_bare = re.fullmatch(r"\d+(\.\d+)?", text.strip())
        hours = float(text) if is_bare else parse_duration(text) / _SECONDS_PER_HOUR
    except InvalidDurationError:
        hours = 0.0
    if not 0 < hours <= MOST_HOURS:
        raise ImpossibleWorkError(
            f"Work cannot be done within {text!r}. Write a time up to 31 days as 24h, 2d or 90m, or as a "
            "number of hours."
        )
    return hours


def parse_moment(text: str, *, now: datetime) -> datetime:
    """A time in ISO 8601, a time of day (the next one), or a duration from `now`.

    Times that name no zone are those of this machine's clock.

    Raises:
        InvalidMomentError: none of these.
    """
    written = text.strip()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", written):
            hour, minute = map(int, written.split(":"))
            today = now.astimezone().replace(hour=hour, minute=minute, second=0, microsecond=0)
            return today if today >= now else today + timedelta(days=1)
        if re.fullmatch(r"\d{4}-.*", written):
            moment = datetime.fromisoformat(written)
            return moment if moment.tzinfo is not None else moment.astimezone()
        return now + timedelta(seconds=parse_duration(written))
    except (ValueError, OverflowError, InvalidDurationError) as error:
        raise InvalidMomentError(text) from error


def _work(request: StartRequest, start: datetime, deadline: datetime) -> Work:
    try:
        return Work(
            hours=request.hours,
            within_hours=(deadline - start) / HOUR,
            waiting_share=request.waiting_share,
        )
    except ValueError as error:
        raise ImpossibleWorkError(
            f"{error}. The time is from {start:%Y-%m-%d %H:%M} to {deadline:%Y-%m-%d %H:%M} UTC: give the "
            "work more of it, or an earlier start."
        ) from error


def _gather(request: StartRequest, api: ElectricityMapsApi | None, *, now: datetime) -> _Known:
    given = [_read(path, request) for path in request.files]
    notes: list[str] = []
    if api is not None:
        given += _ask(api, request, now, notes)
    notes += [f"{each.source}: {note}" for each in given for note in each.notes]
    zones = dict.fromkeys(each.zone.upper() for each in given)
    if len(zones) > 1:
        raise MixedZonesError(list(zones))
    if not given:
        return _without_hours(request.zone)
    one_basis(each.basis for each in given)
    measured = [each for each in given if each.link != FORECAST]
    series = join_series(measured) if measured else None
    forecasts = [each for each in given if each.link == FORECAST]
    past = None if series is None else series.between(series.first_hour, hour_of(now))
    return _Known(
        measured=past,
        forecast=join_series(forecasts) if forecasts else None,
        # Hours after the moment of asking still tell what is usual.
        climatology=fit_climatology(series) if series is not None and past is None else None,
        annual=None,
        notes=tuple(notes),
    )


def _read(path: Path, request: StartRequest) -> IntensitySeries:
    series = read_intensity_file(
        path,
        zone=request.zone,
        counting=request.counting,
        unit=request.unit,
        time_zone=request.time_zone,
    )
    if request.zone is not None and not same_zone(series.zone, request.zone):
        raise MixedZonesError([f"{series.zone} ({path})", request.zone])
    return series


def _ask(
    api: ElectricityMapsApi, request: StartRequest, now: datetime, notes: list[str]
) -> list[IntensitySeries]:
    """The last weeks, or the last day where a plan has no more, and the hours to come where it has them."""
    if request.zone is None:
        raise NoZoneError
    answers = [api.lately(request.zone, end=now, num_days=REPLAYED_DAYS)]
    try:
        answers.append(api.forecast(request.zone))
    except IntensityApiError as error:
        notes.append(f"Electricity Maps: no forecast ({error.status or 'no answer'})")
    return answers


def _without_hours(zone: str | None) -> _Known:
    """The shipped climatology of the zone; else its annual mean, and whose hours are shipped."""
    shipped = None if zone is None else shipped_climatology(zone)
    annual, notes = None, []
    if shipped is None and zone is not None:
        annual = _annual(zone)
        if zone.strip().upper().startswith("US"):
            notes.append(f"Without a file there are {', '.join(shipped_climatologies())}")
    return _Known(measured=None, forecast=None, climatology=shipped, annual=annual, notes=tuple(notes))


def _annual(zone: str) -> CarbonIntensity:
    """The annual mean of a zone, else of its country; a name that nobody knows is refused."""
    try:
        return carbon_intensity(zone)
    except UnknownZoneError:
        if (country := country_intensity(zone)) is None:
            raise
        return country

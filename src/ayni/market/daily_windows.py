"""Windows of an offer that come again every day, by the clock on the wall: `20:00-06:00` in Europe/Berlin.

Idle machines are idle by local time, and local time jumps. A night across the change to summer time is an
hour shorter, one across the change back an hour longer; a time that the clocks skip means the moment at which
they jump, and one that comes twice means the first of the two for a beginning and the second for an end, so
that the owner gets no less of the night than was offered.

Not covered: weekdays and holidays; give several offers.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ayni.errors import UserError
from ayni.market.offers import Window

_SPAN = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")


class InvalidDailyWindowError(UserError, ValueError):
    """A text that should be a span of the day is none, or its time zone is not known."""

    def __init__(self, text: str, reason: str) -> None:
        self.text = text
        super().__init__(
            f"{text!r} {reason}. Write two times of the day and a zone of the tz database, for example "
            "20:00-06:00 and Europe/Berlin."
        )


def parse_span(text: str) -> tuple[time, time]:
    """The two times of `20:00-06:00`; an end that is not after the beginning lies on the next day.

    Raises:
        InvalidDailyWindowError: it is no span of the day.
    """
    found = _SPAN.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError("no span")
        begin_hour, begin_minute, end_hour, end_minute = (int(part) for part in found.groups())
        return time(begin_hour, begin_minute), time(end_hour % 24, end_minute)
    except ValueError as error:
        raise InvalidDailyWindowError(text, "is not a span of the day") from error


def time_zone(name: str) -> ZoneInfo:
    """The time zone of a name.

    Raises:
        InvalidDailyWindowError: it is not in the tz database.
    """
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise InvalidDailyWindowError(name, "is no time zone that is known here") from error


def daily_windows(
    begin: time, end: time, *, zone: ZoneInfo, start: datetime, until: datetime
) -> tuple[Window, ...]:
    """The span of every day that lies in [start, until), cut off at both, in UTC.

    An end that is not after the beginning lies on the next day, so equal times are the whole day.
    """
    windows = []
    day = start.astimezone(zone).date() - timedelta(days=1)
    while (first := _moment(day, begin, zone, is_end=False)) < until:
        next_day = day + timedelta(days=1)
        last = _moment(day if end > begin else next_day, end, zone, is_end=True)
        opens, closes = max(first, start), min(last, until)
        if opens < closes:
            windows.append((opens.astimezone(UTC), closes.astimezone(UTC)))
        day = next_day
    return _joined(windows)


def _moment(day: date, at: time, zone: ZoneInfo, *, is_end: bool) -> datetime:
    """The moment of a local time. One that is skipped becomes the jump; of two, fold chooses."""
    local = datetime.combine(day, at, tzinfo=zone).replace(fold=int(is_end))
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    # The clocks skip this time. Read with the offsets before and after the jump it lies on both sides of it.
    before, after = (local.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    low = datetime.combine(day, at, tzinfo=UTC) - max(before, after)
    high = datetime.combine(day, at, tzinfo=UTC) - min(before, after)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == low.astimezone(zone).utcoffset():
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _joined(windows: list[Window]) -> tuple[Window, ...]:
    """Windows that touch or overlap as one: whole days, and the hour that comes twice."""
    joined: list[Window] = []
    for opens, closes in windows:
        if joined and opens <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], closes))
        else:
            joined.append((opens, closes))
    return tuple(joined)

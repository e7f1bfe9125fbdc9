"""Numbers as people read them: three digits at most, a unit that fits, an interval in brackets.

All functions take None for "unknown" and say so in words; none of them turns it into 0. Non-breaking
spaces keep a number and its unit on one line.

Not covered: other languages. A decimal point and thin thousands commas everywhere.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ayni.units import MICROCREDITS_PER_CREDIT

UNKNOWN = "unknown"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"

# Metrics that are shares of one are shown in per cent; anything else as the plain number it is.
SHARE_METRICS = ("accuracy", "precision", "recall", "f1", "auc", "iou", "dice")

Scale = tuple[float, str]
JOULE_SCALES: tuple[Scale, ...] = (
    (1e-6, "uJ"),
    (1e-3, "mJ"),
    (1.0, "J"),
    (1e3, "kJ"),
    (1e6, "MJ"),
    (1e9, "GJ"),
)
# No mWh: it would differ from MWh by the case of a letter.
WATT_HOUR_SCALES: tuple[Scale, ...] = ((1.0, "Wh"), (1e3, "kWh"), (1e6, "MWh"), (1e9, "GWh"))
GRAM_SCALES: tuple[Scale, ...] = ((1e-6, "ug"), (1e-3, "mg"), (1.0, "g"), (1e3, "kg"), (1e6, "t"))
LITRE_SCALES: tuple[Scale, ...] = ((1e-6, "ul"), (1e-3, "ml"), (1.0, "l"))
BYTE_SCALES: tuple[Scale, ...] = ((1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB"))
SECOND_SCALES: tuple[Scale, ...] = ((1e-6, "us"), (1e-3, "ms"), (1.0, "s"))

# Below this a number of a column is mostly zeros, and says more in a smaller unit.
SMALLEST_IN_A_COLUMN = 0.01

VISIBLE = {"\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW TO BAR}"}
OPEN_BOX = "\N{OPEN BOX}"


def digits(value: float, significant: int = 3) -> str:
    """A number with so many significant digits, never in powers of ten: 0.0123, 1.23, 12,300."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else UNKNOWN
    rounded = round(value, significant - 1 - math.floor(math.log10(abs(value))))
    # Rounding may have added a digit: 0.9996 becomes 1.00, not 1.000.
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(rounded))))
    text = f"{rounded:,.{decimals}f}"
    return text.replace("-", MINUS)


def count(value: int | None) -> str:
    """A whole number with its thousands apart: 61,440."""
    return UNKNOWN if value is None else f"{value:,}".replace("-", MINUS)


def quantity(
    value: float | None,
    scales: Sequence[Scale],
    *,
    low: float | None = None,
    high: float | None = None,
    significant: int = 3,
    like: float | None = None,
) -> str:
    """A value in the unit that fits it, its interval in the same unit: 1.2 kJ (0.54-3.1).

    With `like` the unit is the one that fits that value, so that a column can be compared by eye; a value
    too small for it gets the next that does (0.21 J, not 0.00021 kJ).
    """
    if value is None:
        return UNKNOWN
    size, unit = _fitting(value if like is None else like, scales)
    if 0 < abs(value) < SMALLEST_IN_A_COLUMN * size:
        size, unit = _fitting(value / SMALLEST_IN_A_COLUMN, scales)
    text = f"{digits(value / size, significant)}{NO_BREAK_SPACE}{_printed(unit)}"
    if low is None or high is None:
        return text
    return f"{text} {interval(low, high, lambda end: digits(end / size, significant))}"


def interval(low: float, high: float, written: Callable[[float], str]) -> str:
    """Both ends in brackets, which never break across lines."""
    return f"({written(low)}{DASH}{written(high)})".replace(" ", NO_BREAK_SPACE)


def joules(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    significant: int = 2,
    like: float | None = None,
) -> str:
    """Energy with its interval. Two digits unless told: a model of energy carries no more."""
    return quantity(value, JOULE_SCALES, low=low, high=high, significant=significant, like=like)


def grams(
    value: float | None, low: float | None = None, high: float | None = None, *, like: float | None = None
) -> str:
    """Mass of CO2e with its interval, two digits."""
    return quantity(value, GRAM_SCALES, low=low, high=high, significant=2, like=like)


def watt_hours(
    value: float | None, low: float | None = None, high: float | None = None, *, like: float | None = None
) -> str:
    """Energy in the unit of bills, with its interval, two digits."""
    return quantity(value, WATT_HOUR_SCALES, low=low, high=high, significant=2, like=like)


def litres(
    value: float | None, low: float | None = None, high: float | None = None, *, like: float | None = None
) -> str:
    """Water with its interval, two digits."""
    return quantity(value, LITRE_SCALES, low=low, high=high, significant=2, like=like)


def stored_bytes(value: float | None, *, like: float | None = None) -> str:
    """Bytes in decimal units: 1 kB = 1,000 bytes."""
    if value is not None and max(value, like or 0) < 1000:
        return f"{value:.0f}{NO_BREAK_SPACE}B"
    return quantity(value, BYTE_SCALES, like=like)


def seconds(value: float | None, *, like: float | None = None) -> str:
    """A duration: 0.18 ms, 12.3 s, 4 min 05 s, 2 h 10 min."""
    if value is None or value < 60:
        return quantity(value, SECOND_SCALES, like=like)
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    parts = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
    return parts.replace(" ", NO_BREAK_SPACE)


def credits(microcredits: int | None) -> str:
    """Credits from whole micro-credits: 12.50, 0.0125, 0.000410; six decimals show every micro-credit."""
    if microcredits is None:
        return UNKNOWN
    amount = microcredits / MICROCREDITS_PER_CREDIT
    if amount == 0:
        return f"0{NO_BREAK_SPACE}credits"
    decimals = 2 if abs(amount) >= 1 else 4 if abs(amount) >= 0.01 else 6
    return f"{amount:,.{decimals}f}{NO_BREAK_SPACE}credits".replace("-", MINUS)


def visible(name: str) -> str:
    """A name of a class or symbol with marks for its line ends, controls, and blanks at its ends."""
    inner = name.strip(" ")
    before = name.index(inner)
    after = len(name) - before - len(inner)
    return OPEN_BOX * before + "".join(map(_visible_character, inner)) + OPEN_BOX * after


def signed(value: float) -> str:
    """A number with two digits and its sign: +0.52, or a true minus and 0.031."""
    return digits(value, 2) if value <= 0 else f"+{digits(value, 2)}"


def largest(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The largest known value of a column, None without one: what `like` takes."""
    return max((row[key] for row in rows if row[key] is not None), default=None)


def is_share(metric_name: str | None) -> bool:
    """Whether a metric of this name is a share of one, to be shown in per cent."""
    return metric_name is not None and any(name in metric_name.lower() for name in SHARE_METRICS)


def metric(value: float | None, name: str | None, low: float | None = None, high: float | None = None) -> str:
    """A metric as its name suggests: accuracy 0.979 is 97.9 %, bits per character stay 2.314."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    if is_share(name):
        text = f"{value:.1%}".replace("%", f"{NO_BREAK_SPACE}%")
        ends = None if low is None or high is None else interval(low, high, lambda end: f"{end * 100:.1f}")
    else:
        text = digits(value, 4)
        ends = None if low is None or high is None else interval(low, high, lambda end: digits(end, 4))
    return text if ends is None else f"{text} {ends}"


def metric_change(value: float | None, name: str | None) -> str:
    """A difference of two metrics with its sign; shares in points (of a hundred)."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size, unit, decimals = (100.0, f"{NO_BREAK_SPACE}pt", 1) if is_share(name) else (1.0, "", 3)
    text = f"{value * size:+.{decimals}f}"
    return ("0" if float(text) == 0 else text.replace("-", MINUS)) + unit


def metric_lost(value: float, name: str | None) -> str:
    """How much worse a metric is, without a sign for worse and with two digits: 0.54 pt."""
    size, unit = (100.0, f"{NO_BREAK_SPACE}pt") if is_share(name) else (1.0, "")
    return digits(value * size, 2) + unit


def inferences(value: int | str | None) -> str:
    """A number of inferences with two digits, 31,000 or 1.2 million; "never" stays."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if value >= size:
            return f"{digits(value / size, 2)}{NO_BREAK_SPACE}{name}"
    return digits(value, 2)


def inferences_until(low: int | str | None, best: int | str | None, high: int | str | None) -> str:
    """Inferences until something is paid back, with their interval: 31,000 (14,000 to 86,000)."""
    if low == "never" or best is None:
        return inferences(best)
    return f"{inferences(best)} ({inferences(low)} to {inferences(high)})"


def share(part: float | None, whole: float | None) -> str:
    """A part of a whole in per cent: 24 %, 0.4 %, less than 0.1 %."""
    if part is None or not whole:
        return UNKNOWN
    ratio = 100 * part / whole
    if 0 < ratio < 0.1:
        return f"less than 0.1{NO_BREAK_SPACE}%"
    return f"{ratio:.{0 if ratio >= 10 or ratio == 0 else 1}f}{NO_BREAK_SPACE}%"


def times(before: float | None, after: float | None, *, less: str, more: str) -> str | None:
    """How a value compares with one before it: 4.1 times `less`, or `more`; None when unknown."""
    if not before or not after:
        return None
    ratio = before / after
    if 0.95 < ratio < 1.05:
        return "about the same"
    if ratio > 1:
        return f"{digits(ratio, 2)}\N{MULTIPLICATION SIGN} {less}"
    return f"{digits(1 / ratio, 2)}\N{MULTIPLICATION SIGN} {more}"


def moment(text: str | None) -> str:
    """A time with its zone: 22 Nov 2026, 02:40 UTC. What is no ISO time is shown as it is."""
    if text is None:
        return UNKNOWN
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    zone = when.tzname() or "no zone"
    return f"{when.day} {when:%b %Y, %H:%M} {zone}"


def duration_between(start: str | None, end: str | None) -> float | None:
    """Seconds from one ISO time to another; None when either is unknown."""
    if start is None or end is None:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def _fitting(value: float, scales: Sequence[Scale]) -> Scale:
    fitting = [scale for scale in scales if abs(value) >= scale[0]]
    if value == 0:
        return next(scale for scale in scales if scale[0] == 1.0)
    return fitting[-1] if fitting else scales[0]


def _printed(unit: str) -> str:
    return unit.replace("u", "\N{MICRO SIGN}", 1) if unit in ("uJ", "ug", "us") else unit


def _visible_character(character: str) -> str:
    if character.isprintable():
        return character
    return VISIBLE.get(character) or character.encode("unicode_escape").decode()

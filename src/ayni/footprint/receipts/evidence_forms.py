"""Whether a line or a receipt has the form that every later check relies on: fields, types, finite numbers.

Whoever alters files may also alter their form. What has lost it is named here and left out, so that the rest
is still checked.

Not covered: what the values mean.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from ayni.footprint.counters.meters import TIERS

_Check = Callable[[Any], bool]
# More than any node draws or computes; NaN and infinity are not below it either.
_LARGEST = 2**63
# What is longer was made up, to keep a verifier busy splitting it at every hour.
_LONGEST_WINDOW = timedelta(days=31)
_LONGEST_RECEIPT = timedelta(days=3660)


def _is_integer(value: Any) -> bool:
    return type(value) is int and abs(value) < _LARGEST


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_tier(value: Any) -> bool:
    # What another tool wrote is imported as such; no receipt of ours was ever signed for it.
    return value in TIERS and value != "third-party"


def _is_instant(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _or_null(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(check(each) for each in value)


def _fields(*, optional: Mapping[str, _Check] | None = None, **checks: _Check) -> _Check:
    may_be = optional or {}
    return lambda value: isinstance(value, dict) and missing_form(value, checks, may_be) is None


def missing_form(
    value: Mapping[str, Any], checks: Mapping[str, _Check], optional: Mapping[str, _Check]
) -> str | None:
    """The first field that is missing or of another type; None when all have their form."""
    for name, check in {**checks, **optional}.items():
        if name in value:
            if not check(value[name]):
                return name
        elif name in checks:
            return name
    return None


_ENERGY = _or_null(_is_integer)
_TRUST = _fields(
    tier=_is_tier, low_factor=_is_number, high_factor=_is_number, method=_is_text, scope=_is_text
)
_JOB = _fields(
    optional={"reserved_cores": _is_number, "device_share": _is_number},
    cpu_seconds=_is_number,
    dynamic_microjoules=_ENERGY,
    idle_microjoules=_ENERGY,
    device_microjoules=_ENERGY,
)
_WITHIN = _fields(
    run=_is_text, runs=lambda value: bool(value) and _list_of(_is_text)(value), energy_microjoules=_ENERGY
)

WINDOW: Mapping[str, _Check] = {
    "window": _is_integer,
    "meter": _is_integer,
    "step": _is_text,
    "attempt": _is_integer,
    "started_at": _is_instant,
    "ended_at": _is_instant,
    "seconds": _is_number,
    "busy_cpu_seconds": _is_number,
    "node_microjoules": _ENERGY,
    "other_microjoules": _ENERGY,
    "unreserved_idle_microjoules": _ENERGY,
    "jobs": lambda value: isinstance(value, dict) and bool(value) and all(map(_JOB, value.values())),
}
# Not in files from before meters knew of each other.
WINDOW_OPTIONAL: Mapping[str, _Check] = {
    "neighbours_microjoules": _ENERGY,
    "within": _list_of(_fields(run=_is_text, devices=lambda value: isinstance(value, bool))),
}
METER: Mapping[str, _Check] = {
    "meter": _is_integer,
    "cores": lambda value: _is_integer(value) and value > 0,
    "reserved_cores": _is_number,
    "idle_watts": _is_number,
    "processor": _TRUST,
    "device": _or_null(_TRUST),
    "unknown": _list_of(_is_text),
    "notes": _list_of(_is_text),
}
INTERRUPTION: Mapping[str, _Check] = {"step": _is_text, "unmetered_seconds_at_most": _is_number}
RECEIPT: Mapping[str, _Check] = {
    "run": _is_text,
    "step": _is_text,
    "within": _or_null(_WITHIN),
    "started_at": _is_instant,
    "ended_at": _is_instant,
    "energy_microjoules": _ENERGY,
    "tier": _is_tier,
    "node_account": _fields(node_microjoules=_ENERGY),
    "windows": _fields(
        sha256=_is_text,
        ranges=_list_of(lambda pair: _list_of(_is_integer)(pair) and len(pair) == 2),
    ),
    "carbon": _fields(hours=_list_of(_fields(hour=_is_instant))),
    "cost": _fields(prices=_list_of(_fields(hour=_is_instant))),
    "previous_hash": _is_text,
    "hash": _is_text,
    "public_key": _is_text,
    "signature": _is_text,
}


def unformed_line(row: Mapping[str, Any]) -> str | None:
    """The field by which a line of windows lacks its form; None when it has it."""
    match row.get("kind"):
        case "window":
            field = missing_form(row, WINDOW, WINDOW_OPTIONAL)
            return field or (None if _is_short(row, _LONGEST_WINDOW) else "ended_at")
        case "meter":
            return missing_form(row, METER, {})
        case "interruption":
            return missing_form(row, INTERRUPTION, {})
    return None


def unformed_receipt(receipt: Mapping[str, Any]) -> str | None:
    """The field by which a receipt lacks its form; None when it has it."""
    if (field := missing_form(receipt, RECEIPT, {})) is not None:
        return field
    if not _is_short(receipt, _LONGEST_RECEIPT):
        return "ended_at"
    return next((name for name in ("carbon", "cost") if not _has_its_hours(receipt, name)), None)


def _is_short(value: Mapping[str, Any], longest: timedelta) -> bool:
    return _instant(value["ended_at"]) - _instant(value["started_at"]) <= longest


def _has_its_hours(receipt: Mapping[str, Any], name: str) -> bool:
    """Whether the hours of a receipt's carbon, or of its prices, are near its own time."""
    started = _instant(receipt["started_at"])
    hours = receipt[name]["hours" if name == "carbon" else "prices"]
    # Near, not within: a clock that is set back leaves hours before the beginning.
    return all(abs(_instant(each["hour"]) - started) <= _LONGEST_RECEIPT for each in hours)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)

"""A meter at the wall, of a power strip or of the board (BMC), read by a command or from a file.

The command or file answers with one number: joules since some moment (a counter) or watts (a power). A
unit may follow the number, as in `231.5 W`; a bare number has the declared unit.

    joules    E = sum of the differences; a fall is a reset, so a gap
    watts     E = sum of (P_k + P_k+1) / 2 * (t_k+1 - t_k); between two askings the last power is held

A source that fails, or is asked too late, makes a gap from its last answer to its next: the energy of
those windows is unknown. It is never guessed, and what was metered before stays.

Not covered: searching for such meters; the network protocols of plugs and strips (their own command line
tools print what is needed here); meters that average over longer than a second or two.
"""

import math
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ayni.footprint.counters.meters import CounterReading, MeterUnavailableError, Trust
from ayni.units import JOULES_PER_KWH, MICROJOULES_PER_JOULE

_JOULES_PER_WATT_HOUR = JOULES_PER_KWH / 1000
# Exactly these spellings: mW and MW differ only by the case of a letter, so mega is not accepted.
_WATTS = {"W": 1.0, "watts": 1.0, "kW": 1e3, "mW": 1e-3, "uW": 1e-6, "microwatts": 1e-6}
_JOULES = {
    "J": 1.0,
    "joules": 1.0,
    "kJ": 1e3,
    "mJ": 1e-3,
    "uJ": 1e-6,
    "microjoules": 1e-6,
    "Wh": _JOULES_PER_WATT_HOUR,
    "kWh": JOULES_PER_KWH,
}
UNITS = (*_WATTS, *_JOULES)
_ANSWER = re.compile(r"\s*([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class WallSource:
    """Where a wall meter's number comes from: a `command` (no shell) or a `file`, not both.

    `unit` is that of a bare number. `accuracy_percent` (5) is the meter's class: class 1 meters are within
    1 % of a large load, smart plugs within 2 to 5 %. `period_seconds` (0.5): it is not asked more often
    than that, because a command costs CPU time. `timeout_seconds` (5): a command that takes longer failed.
    `longest_gap_seconds` (10): between two answers in watts further apart anything may have happened.
    """

    command: tuple[str, ...] = ()
    file: str | None = None
    unit: str | None = None
    accuracy_percent: float = 5.0
    period_seconds: float = 0.5
    timeout_seconds: float = 5.0
    longest_gap_seconds: float = 10.0

    def __post_init__(self) -> None:
        if bool(self.command) == (self.file is not None):
            raise ValueError("a wall meter is read by a command or from a file, and by one of them only")
        if self.unit is not None and self.unit not in UNITS:
            raise ValueError(f"the unit {self.unit!r} of a wall meter is none of {', '.join(UNITS)}")
        if not 0 < self.accuracy_percent < 100:
            raise ValueError(f"an accuracy of {self.accuracy_percent} % is not between 0 and 100")

    @property
    def name(self) -> str:
        """The program or file, without arguments: these may hold addresses and passwords."""
        return f"the file {self.file}" if self.file else f"the command {Path(self.command[0]).name}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {name: getattr(self, name) for name in self.__slots__} | {"command": list(self.command)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "WallSource":
        """The value that `to_json` wrote."""
        return cls(**data | {"command": tuple(data.get("command", ()))})


class WallCounter:
    """A wall meter as a counter. Fulfils `EnergyCounter`; safe to read from several threads.

    `idle_watts` is what the machine draws with nothing to do, as calibrated or estimated.

    Raises:
        MeterUnavailableError: the source does not answer with a number and a known unit.
    """

    def __init__(
        self, source: WallSource, *, idle_watts: float = 0.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._now = now
        self._lock = threading.Lock()
        self._joules = 0.0
        self._reported_microjoules = 0
        self._num_gaps = 0
        self._asked_at = now()
        quantity, value = ask(source)
        self._quantity = quantity
        self._last: float | None = value
        self.idle_watts = idle_watts
        share = source.accuracy_percent / 100
        self.trust = Trust(
            tier="W0",
            low_factor=round(1 / (1 + share), 4),
            high_factor=round(1 + share, 4),
            method=f"wall meter: {quantity} by {source.name}, "
            f"within {source.accuracy_percent:g} % as declared",
            scope="whole machine at the wall",
        )

    def read(self) -> CounterReading:
        """The energy since this counter was made."""
        with self._lock:
            now = self._now()
            if now - self._asked_at >= self._source.period_seconds:
                self._advance(now)
            joules = self._joules
            if self._quantity == "watts" and self._last is not None:
                joules += self._last * (now - self._asked_at)
            # What a falling power takes back is made good by the next readings: a counter never falls.
            self._reported_microjoules = max(
                self._reported_microjoules, round(joules * MICROJOULES_PER_JOULE)
            )
            return CounterReading(microjoules=self._reported_microjoules, num_gaps=self._num_gaps)

    def _advance(self, now: float) -> None:
        elapsed, self._asked_at = now - self._asked_at, now
        last, self._last = self._last, None
        try:
            quantity, value = ask(self._source)
        except MeterUnavailableError:
            self._num_gaps += 1
            return
        if quantity != self._quantity:
            self._num_gaps += 1
            return
        self._last = value
        is_reset = quantity == "joules" and last is not None and value < last
        is_late = quantity == "watts" and elapsed > self._source.longest_gap_seconds
        if last is None or is_reset or is_late:
            self._num_gaps += 1
        elif quantity == "joules":
            self._joules += value - last
        else:
            self._joules += (last + value) / 2 * elapsed


def ask(source: WallSource) -> tuple[str, float]:
    """One answer of a wall meter: ("watts" or "joules", value).

    Raises:
        MeterUnavailableError: no answer, or one that is not a number with a known unit.
    """
    text = _text_of(source)
    match = _ANSWER.fullmatch(text)
    unit = (match[2] if match else "") or source.unit
    try:
        value = float(match[1]) if match else math.nan
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0) or unit not in UNITS:
        raise MeterUnavailableError(
            f"The wall meter ({source.name}) answered {text.strip()[:80]!r}. It should be one number with a "
            f"unit ({', '.join(UNITS)}), or a bare number whose unit is declared."
        )
    if unit in _WATTS:
        return "watts", value * _WATTS[unit]
    return "joules", value * _JOULES[unit]


def _text_of(source: WallSource) -> str:
    try:
        if source.file is not None:
            return Path(source.file).read_text(encoding="utf-8")
        answer = subprocess.run(
            source.command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=source.timeout_seconds,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "nothing").strip()[-200:]
        raise MeterUnavailableError(
            f"The wall meter ({source.name}) ended with code {error.returncode} and said: {said}"
        ) from error
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        reason = f"no answer within {source.timeout_seconds:g} s"
        if not isinstance(error, subprocess.TimeoutExpired):
            reason = str(error)
        raise MeterUnavailableError(f"The wall meter ({source.name}) cannot be read: {reason}") from error
    return answer.stdout

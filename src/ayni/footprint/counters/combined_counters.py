"""Counters made of counters: a sum, a rest, and a component extended to the wall.

    SumCounter        GPUs of two makers = NVIDIA's counter + AMD's
    RestCounter       what the wall shows beyond the GPUs, which are counted apart
    ExtendedCounter   base * t + factor * component: the whole machine from a component (tier W1+)

A node is read at the wall or by its components, never by both added up.

Not covered: the heat of a power supply at part load (the extension is a straight line).
"""

import threading
import time
from collections.abc import Callable, Sequence

from ayni.footprint.counters.meters import CounterReading, EnergyCounter, Trust, worst_tier
from ayni.units import MICROJOULES_PER_JOULE

# The calibration of one workstation explained the wall to this factor; applied to nodes that were
# calibrated themselves.
_EXTENSION_FACTORS = (0.87, 1.15)


class SumCounter:
    """Several counters of separate parts as one. Fulfils `EnergyCounter`.

    Its trust is the worst tier with the widest factors: errors of meters of one kind may be the same error.
    """

    def __init__(self, parts: Sequence[EnergyCounter]) -> None:
        if not parts:
            raise ValueError("a sum of no counters has no energy")
        self._parts = tuple(parts)
        trusts = [part.trust for part in parts]
        self.trust = Trust(
            tier=worst_tier([trust.tier for trust in trusts]),
            low_factor=min(trust.low_factor for trust in trusts),
            high_factor=max(trust.high_factor for trust in trusts),
            method="; ".join(dict.fromkeys(trust.method for trust in trusts)),
            scope="; ".join(dict.fromkeys(trust.scope for trust in trusts)),
        )

    @property
    def idle_watts(self) -> float:
        """Of all parts."""
        return sum(part.idle_watts for part in self._parts)

    def read(self) -> CounterReading:
        """The energy of all parts; a gap of one is a gap of the sum."""
        readings = [part.read() for part in self._parts]
        return CounterReading(
            microjoules=sum(reading.microjoules for reading in readings),
            num_gaps=sum(reading.num_gaps for reading in readings),
        )


class RestCounter:
    """What the whole drew beyond one part. Fulfils `EnergyCounter`.

    The two are read a moment apart, so the rest may seem to fall by a few joules: then it stands still
    until it has caught up. `rest + part` is the whole again, within that moment.
    """

    def __init__(self, whole: EnergyCounter, part: EnergyCounter) -> None:
        self._whole = whole
        self._part = part
        self._lock = threading.Lock()
        self._highest_microjoules = 0
        self.trust = Trust(
            tier=whole.trust.tier,
            low_factor=whole.trust.low_factor,
            high_factor=whole.trust.high_factor,
            method=f"{whole.trust.method}, without the GPUs, which are counted apart",
            scope=f"{whole.trust.scope}, without GPUs",
        )

    @property
    def idle_watts(self) -> float:
        """Of the whole without the part's own."""
        return max(0.0, self._whole.idle_watts - self._part.idle_watts)

    def read(self) -> CounterReading:
        """Energy of the whole minus that of the part, never falling."""
        with self._lock:
            whole, part = self._whole.read(), self._part.read()
            rest = whole.microjoules - part.microjoules
            self._highest_microjoules = max(self._highest_microjoules, rest)
            return CounterReading(
                microjoules=self._highest_microjoules, num_gaps=whole.num_gaps + part.num_gaps
            )


class ExtendedCounter:
    """The whole machine from one component: base_watts * t + factor * component. Fulfils `EnergyCounter`.

    `base_watts` and `factor` come from a run of this node in which the wall and the component were read
    together, such as 86 W and 1.2 for a workstation.
    """

    def __init__(
        self,
        component: EnergyCounter,
        *,
        base_watts: float,
        factor: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (base_watts >= 0 and factor >= 0):
            raise ValueError(f"no machine draws {base_watts} W + {factor} * its processor")
        self._component = component
        self._base_watts = base_watts
        self._factor = factor
        self._now = now
        self._start_seconds = now()
        self.trust = Trust(
            tier="W1+",
            low_factor=_EXTENSION_FACTORS[0],
            high_factor=_EXTENSION_FACTORS[1],
            method=f"{component.trust.method}, extended to the wall by this node's calibration: "
            f"{base_watts:.3g} W + {factor:.3g} * component",
            scope="whole machine at the wall",
        )

    @property
    def idle_watts(self) -> float:
        """base_watts + factor * the component's own."""
        return self._base_watts + self._factor * self._component.idle_watts

    def read(self) -> CounterReading:
        """The energy of the machine since this counter was made."""
        reading = self._component.read()
        base_joules = self._base_watts * (self._now() - self._start_seconds)
        return CounterReading(
            microjoules=round(base_joules * MICROJOULES_PER_JOULE + self._factor * reading.microjoules),
            num_gaps=reading.num_gaps,
        )

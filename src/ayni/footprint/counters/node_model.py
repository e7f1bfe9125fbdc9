"""A power model calibrated on this very node, against its wall meter or its counters: tier W2.

    P = a + b * u^c * f        held within the lowest and highest power that the calibration saw

u is the load (busy CPUs / CPUs), f the clock over the highest seen; c is 0.20 .. 1. The sum of squared log
errors is minimised, because errors of power are factors: for each c on a grid by Gauss and Newton's method
in a and b. With 8 to 20 points and two unknowns that takes milliseconds.

On 86 published points of four processors, fitted on one kind of load and tested on the other, the mean
error is 15 % with the clock and 26 % without; measured over model, 5 to 95 %, is 0.68 .. 1.36 and 0.61 ..
1.60. We take the wider ends of ours and the reference's (0.70 .. 1.45 and 0.6 .. 1.9), and add the
factors of the meter that the node was calibrated with.

Not covered: GPUs (they have counters or are unknown); a node whose cooling, memory or power limits are
changed afterwards: calibrate again.

Source: the form of the curve from the same data as power_model; benchmark footprint_estimator.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ayni.errors import AyniError, UserError
from ayni.files import read_json, write_json
from ayni.footprint.counters.design_power import read_processor
from ayni.footprint.counters.meters import MeterUnavailableError, Trust
from ayni.footprint.counters.power_model import PowerModel, combine_factors

FILE_NAME = "node-model.json"
SCHEMA = "ayni/node-model/1"
_FACTORS_WITH_CLOCK = (0.68, 1.45)
_FACTORS_WITHOUT_CLOCK = (0.6, 1.9)
_EXPONENTS = tuple(percent / 100 for percent in range(20, 101, 2))
_MIN_POINTS = 4
MIN_SPREAD_OF_LOAD = 0.3
_NEWTON_STEPS = 60


class NodeCalibrationError(UserError):
    """The points of a calibration do not say how power depends on load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPoint:
    """What a node drew at one steady load.

    `load` is busy CPUs over CPUs (0 to 1), `frequency_share` its clock over the highest seen (None where it
    is not told). `component_watts` are those of a second meter that ran along, such as RAPL beside a plug.
    """

    load: float
    watts: float
    frequency_share: float | None = None
    component_watts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerCurve:
    """P = idle_watts + full_watts * load^exponent * clock, within lowest_watts .. highest_watts."""

    idle_watts: float
    full_watts: float
    exponent: float
    lowest_watts: float
    highest_watts: float

    def watts(self, load: float, frequency_share: float | None = None) -> float:
        """Power at a load; None takes the full clock."""
        value = self.idle_watts + self.full_watts * _term(load, frequency_share, self.exponent)
        return min(self.highest_watts, max(self.lowest_watts, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class WallLine:
    """wall = base_watts + factor * component, as two meters that ran side by side gave it."""

    base_watts: float
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeModel:
    """A calibration as it is stored: of which node, against which meter, with all its points."""

    processor: str
    num_cpus: int
    calibrated_at: str
    reference: Trust
    curve: PowerCurve
    highest_megahertz: float | None
    wall_line: WallLine | None
    points: tuple[PowerPoint, ...]
    mean_error: float

    @property
    def uses_frequency(self) -> bool:
        """Whether the clock was known at all points."""
        return self.highest_megahertz is not None

    def power_model(self) -> PowerModel:
        """The model for counters and plans, tier W2."""
        factors = _FACTORS_WITH_CLOCK if self.uses_frequency else _FACTORS_WITHOUT_CLOCK
        low, high = combine_factors(factors, (self.reference.low_factor, self.reference.high_factor))
        return PowerModel(
            idle_watts=self.curve.idle_watts,
            watts_per_busy_cpu=self.curve.full_watts / self.num_cpus,
            num_cpus=self.num_cpus,
            exponent=self.curve.exponent,
            uses_frequency=self.uses_frequency,
            lowest_watts=self.curve.lowest_watts,
            highest_watts=self.curve.highest_watts,
            trust=Trust(
                tier="W2",
                low_factor=low,
                high_factor=high,
                method=f"model of CPU time{' and clock' if self.uses_frequency else ''}, calibrated on this "
                f"node on {self.calibrated_at[:10]} with {len(self.points)} loads against: "
                f"{self.reference.method}",
                scope=self.reference.scope,
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"schema": SCHEMA} | asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "NodeModel":
        """The value that `to_json` wrote."""
        if data.get("schema") != SCHEMA:
            raise ValueError(f"schema {data.get('schema')!r} instead of {SCHEMA}")
        line = data["wall_line"]
        return cls(
            processor=data["processor"],
            num_cpus=data["num_cpus"],
            calibrated_at=data["calibrated_at"],
            reference=Trust.from_json(data["reference"]),
            curve=PowerCurve(**data["curve"]),
            highest_megahertz=data["highest_megahertz"],
            wall_line=None if line is None else WallLine(**line),
            points=tuple(PowerPoint(**point) for point in data["points"]),
            mean_error=data["mean_error"],
        )


def fit_curve(points: Sequence[PowerPoint]) -> PowerCurve:
    """The curve with the least squared log errors.

    Raises:
        NodeCalibrationError: fewer than 4 points, loads too much alike, or a power that is not positive.
    """
    loads = [point.load for point in points]
    if len(points) < _MIN_POINTS or max(loads) - min(loads) < MIN_SPREAD_OF_LOAD:
        raise NodeCalibrationError(
            f"{len(points)} points with loads of {min(loads, default=0):.0%} to {max(loads, default=0):.0%} "
            f"do not say how power depends on load. At least {_MIN_POINTS} points are needed, "
            f"{MIN_SPREAD_OF_LOAD:.0%} apart: calibrate while nothing else runs."
        )
    if min(point.watts for point in points) <= 0:
        raise NodeCalibrationError("The meter showed no power at some load. Nothing that runs draws nothing.")
    fits = [(*_fit_line(points, exponent), exponent) for exponent in _EXPONENTS]
    _, idle_watts, full_watts, exponent = min(fits)
    return PowerCurve(
        idle_watts=idle_watts,
        full_watts=full_watts,
        exponent=exponent,
        lowest_watts=min(point.watts for point in points),
        highest_watts=max(point.watts for point in points),
    )


def mean_error(curve: PowerCurve, points: Sequence[PowerPoint]) -> float:
    """Mean of |model / measured - 1|."""
    errors = [abs(curve.watts(point.load, point.frequency_share) / point.watts - 1) for point in points]
    return sum(errors) / len(errors)


def fit_wall_line(points: Sequence[PowerPoint]) -> WallLine | None:
    """Wall power from the component's, by least squares; None without enough points of both."""
    pairs = [(point.component_watts, point.watts) for point in points if point.component_watts is not None]
    if len(pairs) < _MIN_POINTS:
        return None
    mean_x = sum(x for x, _ in pairs) / len(pairs)
    mean_y = sum(y for _, y in pairs) / len(pairs)
    spread = sum((x - mean_x) ** 2 for x, _ in pairs)
    if spread == 0:
        return None
    factor = sum((x - mean_x) * (y - mean_y) for x, y in pairs) / spread
    base_watts = mean_y - factor * mean_x
    # A wall that falls when the processor works harder is not explained by it.
    return WallLine(base_watts=max(0.0, base_watts), factor=factor) if factor > 0 else None


def write_node_model(folder: Path, model: NodeModel) -> Path:
    """Store the calibration of this node in `folder`; returns its path."""
    path = folder / FILE_NAME
    write_json(path, model.to_json())
    return path


def read_node_model(folder: Path, *, num_cpus: int, processor: str | None = None) -> NodeModel | None:
    """The calibration in `folder`; None when there is none.

    `processor` is the name of this machine's, by default as the system says.

    Raises:
        MeterUnavailableError: it is damaged, or was made on another machine.
    """
    path = folder / FILE_NAME
    try:
        model = NodeModel.from_json(read_json(path))
    except FileNotFoundError:
        return None
    except (AyniError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeterUnavailableError(
            f"{path} does not hold a calibration ({error}). Make it again: ayni footprint calibrate"
        ) from error
    here = processor_name() if processor is None else processor
    if (model.processor, model.num_cpus) != (here, num_cpus):
        raise MeterUnavailableError(
            f"{path} was calibrated on {model.num_cpus} CPUs of {model.processor}; this machine has "
            f"{num_cpus} of {here}. Calibrate here: ayni footprint calibrate"
        )
    return model


def processor_name() -> str:
    """What this machine calls its processor."""
    processor = read_processor()
    return "unknown" if processor is None else processor.name


def _term(load: float, frequency_share: float | None, exponent: float) -> float:
    clock = 1.0 if frequency_share is None else frequency_share
    return float(max(0.0, load) ** exponent * clock)


def _fit_line(points: Sequence[PowerPoint], exponent: float) -> tuple[float, float, float]:
    """(sum of squared log errors, a, b) of the best P = a + b * x for one exponent, a and b not negative."""
    terms = [_term(point.load, point.frequency_share, exponent) for point in points]
    logs = [math.log(point.watts) for point in points]
    # Newton's method stalls at the edges a = 0 and b = 0; there the best is a geometric mean.
    candidates = [_newton(terms, logs), (math.exp(sum(logs) / len(logs)), 0.0)]
    if min(terms) > 0:
        mean_log = sum(log - math.log(term) for term, log in zip(terms, logs, strict=True)) / len(logs)
        candidates.append((0.0, math.exp(mean_log)))
    return min((_squares(a, b, terms, logs), a, b) for a, b in candidates)


def _newton(terms: list[float], logs: list[float]) -> tuple[float, float]:
    # Anything positive serves as a start: the lowest power, and the highest.
    a, b = math.exp(min(logs)), math.exp(max(logs))
    best = _squares(a, b, terms, logs)
    for _ in range(_NEWTON_STEPS):
        step_a, step_b = _newton_step(a, b, terms, logs)
        share, tried, tried_a, tried_b = 1.0, math.inf, a, b
        while tried >= best and share > 1e-6:
            tried_a, tried_b = max(0.0, a + share * step_a), max(0.0, b + share * step_b)
            tried = _squares(tried_a, tried_b, terms, logs)
            share /= 2
        if tried >= best - 1e-12:
            break
        best, a, b = tried, tried_a, tried_b
    return a, b


def _squares(a: float, b: float, terms: list[float], logs: list[float]) -> float:
    total = 0.0
    for term, log in zip(terms, logs, strict=True):
        value = a + b * term
        if value <= 0:
            return math.inf
        total += (math.log(value) - log) ** 2
    return total


def _newton_step(a: float, b: float, terms: list[float], logs: list[float]) -> tuple[float, float]:
    """Least squares of the residuals, linearised: d log(a + b x) = (da + x db) / (a + b x)."""
    s_aa = s_ab = s_bb = t_a = t_b = 0.0
    for term, log in zip(terms, logs, strict=True):
        value = a + b * term
        residual = log - math.log(value)
        row_a, row_b = 1 / value, term / value
        s_aa, s_ab, s_bb = s_aa + row_a * row_a, s_ab + row_a * row_b, s_bb + row_b * row_b
        t_a, t_b = t_a + row_a * residual, t_b + row_b * residual
    determinant = s_aa * s_bb - s_ab * s_ab
    if determinant <= 1e-12 * s_aa * s_bb:
        return t_a / s_aa, 0.0
    return (t_a * s_bb - t_b * s_ab) / determinant, (t_b * s_aa - t_a * s_ab) / determinant

"""Receipts as Prometheus reads them: a sample a figure and step, in joules, grams, litres and seconds.

Write the text into a file of the node exporter's textfile collector, or serve it. Figures are final, so all
are gauges. What is unknown has no sample, never 0; `ayni_footprint_unknown` says what that is.

Ends of intervals are metrics of their own, so that a sum over one metric means something. Grams of different
bases carry `basis`: add them `by (basis)`.

    ayni_footprint_energy_joules{run="...",job="...",step="train",member="...",site="...",node="..."} 1234.5

Not covered: OpenMetrics' units and exemplars, and rates while work still runs.

Source: prometheus.io, "Exposition formats" 0.0.4 and "Metric and label naming".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ayni.errors import UserError
from ayni.footprint.exports.options import to_export
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import FootprintEntry
from ayni.units import MICROCREDITS_PER_CREDIT, MICROJOULES_PER_JOULE

PREFIX = "ayni_footprint"
# One sample's value and the labels that only it has.
_Sample = tuple[float | None, dict[str, str]]


class RepeatedSeriesError(UserError):
    """Two receipts would be one series, which Prometheus refuses."""

    def __init__(self, run: str, step: str) -> None:
        self.run = run
        self.step = step
        super().__init__(f"There are two receipts of the step {step} of {run}. Export each of them once.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metric:
    name: str
    help: str
    sample: Callable[[FootprintEntry], _Sample]


def prometheus_text(entries: Sequence[FootprintEntry]) -> str:
    """The samples of all entries, metric by metric, with a line feed at the end.

    Raises:
        RepeatedSeriesError: a step of a run comes twice.
        NothingToExportError: another tool measured them.
    """
    given = to_export(entries)
    _refuse_repeats(given)
    lines = []
    for metric in METRICS:
        name = f"{PREFIX}_{metric.name}"
        samples = [_line(name, entry, *metric.sample(entry)) for entry in given]
        known = [line for line in samples if line is not None]
        if known:
            lines += [f"# HELP {name} {_escaped_help(metric.help)}", f"# TYPE {name} gauge", *known]
    return "".join(f"{line}\n" for line in lines)


def _refuse_repeats(entries: Sequence[FootprintEntry]) -> None:
    seen = set()
    for entry in entries:
        key = (entry.run, entry.step, entry.member, entry.site, entry.node, entry.job)
        if key in seen:
            raise RepeatedSeriesError(entry.run, entry.step)
        seen.add(key)


def _line(name: str, entry: FootprintEntry, value: float | None, labels: dict[str, str]) -> str | None:
    if value is None:
        return None
    all_labels = {
        **{key: getattr(entry, key) for key in ("run", "job", "step", "member", "site", "node")},
        **labels,
    }
    written = ",".join(f'{key}="{_escaped(text)}"' for key, text in all_labels.items())
    return f"{name}{{{written}}} {value!r}"


def _escaped(text: str) -> str:
    """A label's value between its quotes."""
    whole = text.encode("utf-8", errors="replace").decode()
    return whole.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _escaped_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _energy(end: str) -> Callable[[FootprintEntry], _Sample]:
    def sample(entry: FootprintEntry) -> _Sample:
        value = _end(entry.energy, end)
        return None if value is None else value / MICROJOULES_PER_JOULE, {"tier": entry.tier}

    return sample


def _carbon(end: str) -> Callable[[FootprintEntry], _Sample]:
    return lambda entry: (_end(entry.carbon, end), {"basis": entry.basis or "", "zone": entry.zone})


def _embodied(end: str) -> Callable[[FootprintEntry], _Sample]:
    return lambda entry: (_end(entry.embodied, end), {})


def _end(amount: Amount | None, end: str) -> float | None:
    return None if amount is None else getattr(amount, end)


def _facility(entry: FootprintEntry) -> _Sample:
    energy = entry.facility_microjoules
    return None if energy is None else energy / MICROJOULES_PER_JOULE, {"tier": entry.tier}


def _credits(microcredits: int | None) -> float | None:
    return None if microcredits is None else microcredits / MICROCREDITS_PER_CREDIT


def _unknown(entry: FootprintEntry) -> _Sample:
    figures = {"energy": entry.energy, "carbon": entry.carbon, "embodied": entry.embodied}
    missing = [name for name, amount in figures.items() if amount is None]
    return (1.0 if missing else None), {"figures": " ".join(missing)}


METRICS = (
    _Metric(name="energy_joules", help="IT energy of a step.", sample=_energy("value")),
    _Metric(name="energy_low_joules", help="Low end of its 90 % interval.", sample=_energy("low")),
    _Metric(name="energy_high_joules", help="High end of its 90 % interval.", sample=_energy("high")),
    _Metric(name="facility_energy_joules", help="IT energy times PUE.", sample=_facility),
    _Metric(name="co2e_grams", help="Operational CO2e; add by basis only.", sample=_carbon("value")),
    _Metric(name="co2e_low_grams", help="Low end of its 90 % interval.", sample=_carbon("low")),
    _Metric(name="co2e_high_grams", help="High end of its 90 % interval.", sample=_carbon("high")),
    _Metric(name="embodied_co2e_grams", help="Share of making the machines.", sample=_embodied("value")),
    _Metric(name="embodied_co2e_low_grams", help="Low end of its 90 % interval.", sample=_embodied("low")),
    _Metric(name="embodied_co2e_high_grams", help="High end of its 90 % interval.", sample=_embodied("high")),
    _Metric(
        name="on_site_water_litres",
        help="Water of the site's cooling.",
        sample=lambda entry: (_end(entry.on_site_litres, "value"), {}),
    ),
    _Metric(
        name="off_site_water_litres",
        help="Water of the power plants.",
        sample=lambda entry: (_end(entry.off_site_litres, "value"), {"zone": entry.water_zone}),
    ),
    _Metric(
        name="electricity_cost_credits",
        help="Electricity by its tariff; may be below 0.",
        sample=lambda entry: (_credits(entry.electricity_microcredits), {}),
    ),
    _Metric(
        name="machine_cost_credits",
        help="Reserved machine time.",
        sample=lambda entry: (_credits(entry.machine_microcredits), {}),
    ),
    _Metric(
        name="wall_seconds", help="Metered time of a step.", sample=lambda entry: (entry.wall_seconds, {})
    ),
    _Metric(
        name="cpu_seconds",
        help="CPU time of a step, dead children included.",
        sample=lambda entry: (entry.cpu_seconds, {}),
    ),
    _Metric(
        name="ended_timestamp_seconds",
        help="When a step ended, in seconds since 1970.",
        sample=lambda entry: (entry.ended_at.timestamp(), {}),
    ),
    _Metric(name="unknown", help="1 where a figure of a step is unknown; figures names it.", sample=_unknown),
)

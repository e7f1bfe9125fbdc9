"""The rows of the table: variants of a model with what was measured of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayni.compress.evidence.break_even import BreakEven, EnergyInterval
from ayni.compress.evidence.changes import Changes
from ayni.compress.evidence.evaluate import Interval
from ayni.compress.evidence.inference_cost import InferenceEnergy, Latency
from ayni.compress.search import SearchSummary

MetricDirection = Literal["higher", "lower"]
RuntimeName = Literal["torch", "packed", "onnxruntime", "openvino", "keras", "litert"]
MAX_INDICES = 100
"""Of examples whose answer flipped, in a run's file; their number is always exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Metrics of one variant; the first of each mapping is the one that counts.

    `interval` is that of the first test metric, None when no method fits it.
    """

    validation: Mapping[str, float]
    test: Mapping[str, float]
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "validation": dict(self.validation),
            "test": dict(self.test),
            "interval": None if self.interval is None else self.interval.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Quality":
        """The quality that `to_json` wrote."""
        interval = data["interval"]
        return cls(
            validation=data["validation"],
            test=data["test"],
            interval=None if interval is None else Interval.from_json(interval),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """A form of the model in a file or two, and its quality.

    runtime: what runs it. "torch" loads weights into the task's model, "packed" computes with packed weights.
    companions: files that belong to `file` and count with it, such as the weights of an OpenVINO graph.
    is_candidate: compression made it; the full model and its plain export are there for comparison.
    stored_bytes: of all its files.
    steps: what was done, as entries of compress.steps.
    making: energy of all that led to it, by the run's meter; None when unknown.
    changes: against the full model's answers on the test split; None when answers are no classes.
    no_changes_reason: why there are no changes; empty when there are.
    note: how it came about, for people.
    """

    name: str
    file: Path
    runtime: RuntimeName
    is_candidate: bool
    num_parameters: int
    stored_bytes: int
    quality: Quality
    note: str
    companions: tuple[Path, ...] = ()
    steps: tuple[Mapping[str, Any], ...] = ()
    making: EnergyInterval | None = None
    changes: Changes | None = None
    no_changes_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row: an artefact, its cost, and its standing against the full model.

    latencies: under each condition, the first with one thread and one example.
    drop, test_drop: how much worse the first metric is than the full model's, on validation and on test;
        negative when better, None when the metric was not finite.
    qualifies: the drop on validation is within the budget.
    score: f(x) = sum a_i x_i on validation, None when a term of this variant is unknown.
    break_even: after how many inferences its making is paid back; None when an energy is unknown.
    is_on_front: nothing else is at least as good in quality, bytes, latency and energy, and better in one.
    peak_memory_bytes: added by loading and running it, in a process of its own; None when not measured.
    """

    artefact: Artefact
    latencies: tuple[Latency, ...]
    energy: InferenceEnergy
    drop: float | None
    test_drop: float | None
    qualifies: bool
    score: float | None
    break_even: BreakEven | None = None
    is_on_front: bool = False
    peak_memory_bytes: int | None = None

    @property
    def name(self) -> str:
        """Name of the artefact."""
        return self.artefact.name

    @property
    def file(self) -> Path:
        """File of the artefact."""
        return self.artefact.file

    @property
    def latency(self) -> Latency:
        """With one thread and one example."""
        return self.latencies[0]

    def to_json(self) -> dict[str, Any]:
        """One flat object; `metrics` are those of the test split."""
        artefact, latency, energy = self.artefact, self.latency, self.energy
        quality = artefact.quality.to_json()
        return {
            "name": artefact.name,
            "file": str(artefact.file),
            "companions": [str(path) for path in artefact.companions],
            "runtime": artefact.runtime,
            "is_candidate": artefact.is_candidate,
            "steps": [dict(step) for step in artefact.steps],
            "metrics": quality["test"],
            "interval": quality["interval"],
            "validation_metrics": quality["validation"],
            "drop": self.drop,
            "test_drop": self.test_drop,
            "changes": _or_none(artefact.changes and artefact.changes.to_json(max_indices=MAX_INDICES)),
            "no_changes_reason": artefact.no_changes_reason,
            "num_parameters": artefact.num_parameters,
            "stored_bytes": artefact.stored_bytes,
            "peak_memory_bytes": self.peak_memory_bytes,
            "latency_p50_seconds": latency.p50_seconds,
            "latency_min_seconds": latency.min_seconds,
            "latency_cpu_p50_seconds": latency.cpu_p50_seconds,
            "latency_num_calls": latency.num_calls,
            "latency_problem": latency.problem,
            "latencies": [each.to_json() for each in self.latencies],
            "energy_joules_per_1000": energy.joules_per_1000,
            "energy_low_joules_per_1000": energy.low_joules_per_1000,
            "energy_high_joules_per_1000": energy.high_joules_per_1000,
            "energy_tier": energy.tier,
            "making": _or_none(artefact.making and artefact.making.to_json()),
            "break_even": _or_none(self.break_even and self.break_even.to_json()),
            "break_even_text": "unknown" if self.break_even is None else self.break_even.text(),
            "score": self.score,
            "qualifies": self.qualifies,
            "is_on_front": self.is_on_front,
            "note": artefact.note,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Variant":
        """The variant that `to_json` wrote."""
        return cls(
            artefact=_artefact_from_json(data),
            latencies=tuple(map(Latency.from_json, data["latencies"])),
            energy=InferenceEnergy(
                joules_per_1000=data["energy_joules_per_1000"],
                low_joules_per_1000=data["energy_low_joules_per_1000"],
                high_joules_per_1000=data["energy_high_joules_per_1000"],
                tier=data["energy_tier"],
            ),
            drop=data["drop"],
            test_drop=data["test_drop"],
            qualifies=data["qualifies"],
            score=data["score"],
            break_even=None if data["break_even"] is None else BreakEven.from_json(data["break_even"]),
            is_on_front=data["is_on_front"],
            peak_memory_bytes=data["peak_memory_bytes"],
        )


def _or_none(value: Any) -> Any:
    return value or None


def _artefact_from_json(data: Mapping[str, Any]) -> Artefact:
    quality = {
        "validation": data["validation_metrics"],
        "test": data["metrics"],
        "interval": data["interval"],
    }
    return Artefact(
        name=data["name"],
        file=Path(data["file"]),
        companions=tuple(map(Path, data["companions"])),
        runtime=data["runtime"],
        is_candidate=data["is_candidate"],
        steps=tuple(data["steps"]),
        num_parameters=data["num_parameters"],
        stored_bytes=data["stored_bytes"],
        quality=Quality.from_json(quality),
        making=None if data["making"] is None else EnergyInterval.from_json(data["making"]),
        changes=None if data["changes"] is None else Changes.from_json(data["changes"]),
        no_changes_reason=data["no_changes_reason"],
        note=data["note"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressResult:
    """All variants, which one was chosen, and why. `chosen` is None when none qualifies.

    inferences: the declared number that break-even is judged by.
    pays: whether the chosen variant pays back its making, and all that was tried, within so many.
    search: what a search did; None when the job named its steps.
    warning: of the model itself, such as weights that were quantized before; empty when there is none.
    """

    variants: tuple[Variant, ...]
    chosen: str | None
    reason: str
    metric: str
    metric_direction: MetricDirection
    max_accuracy_drop: float
    score_weights: Mapping[str, float]
    inferences: int = 1_000_000
    pays: str = ""
    search: SearchSummary | None = None
    warning: str = ""

    def variant(self, name: str) -> Variant:
        """The variant of a name; "full" is always there."""
        return next(variant for variant in self.variants if variant.name == name)

    def to_json(self) -> dict[str, Any]:
        """Plain values; paths as text."""
        return {
            "variants": [variant.to_json() for variant in self.variants],
            "chosen": self.chosen,
            "reason": self.reason,
            "metric": self.metric,
            "metric_direction": self.metric_direction,
            "max_accuracy_drop": self.max_accuracy_drop,
            "score_weights": dict(self.score_weights),
            "inferences": self.inferences,
            "pays": self.pays,
            "search": None if self.search is None else self.search.to_json(),
            "warning": self.warning,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CompressResult":
        """The result that `to_json` wrote."""
        return cls(
            variants=tuple(Variant.from_json(variant) for variant in data["variants"]),
            chosen=data["chosen"],
            reason=data["reason"],
            metric=data["metric"],
            metric_direction=data["metric_direction"],
            max_accuracy_drop=data["max_accuracy_drop"],
            score_weights=data["score_weights"],
            inferences=data["inferences"],
            pays=data["pays"],
            search=None if data["search"] is None else SearchSummary.from_json(data["search"]),
            warning=data["warning"],
        )

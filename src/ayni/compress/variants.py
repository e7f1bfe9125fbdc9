"""The rows of the table: variants of a model with what was measured of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ayni.compress.evidence.evaluate import Interval
from ayni.compress.inference_cost import InferenceEnergy, Latency

MetricDirection = Literal["higher", "lower"]


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
    """A file that holds a form of the model, and its quality.

    runtime: "torch" for model.safetensors, "onnxruntime" for ONNX files.
    is_candidate: compression made it; the full model and its plain export are there for comparison.
    note: how it came about, for people.
    """

    name: str
    file: Path
    runtime: Literal["torch", "onnxruntime"]
    is_candidate: bool
    num_parameters: int
    stored_bytes: int
    quality: Quality
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One row: an artefact, its cost, and its standing against the full model.

    drop, test_drop: how much worse the first metric is than the full model's, on validation and on test;
    negative when better, None when the metric was not finite.
    qualifies: the drop on validation is within the budget.
    score: f(x) = sum a_i x_i on validation, None when a term of this variant is unknown.
    """

    artefact: Artefact
    latency: Latency
    energy: InferenceEnergy
    drop: float | None
    test_drop: float | None
    qualifies: bool
    score: float | None

    @property
    def name(self) -> str:
        """Name of the artefact."""
        return self.artefact.name

    @property
    def file(self) -> Path:
        """File of the artefact."""
        return self.artefact.file

    def to_json(self) -> dict[str, Any]:
        """One flat object; `metrics` are those of the test split."""
        artefact, latency, energy = self.artefact, self.latency, self.energy
        quality = artefact.quality.to_json()
        return {
            "name": artefact.name,
            "file": str(artefact.file),
            "runtime": artefact.runtime,
            "is_candidate": artefact.is_candidate,
            "metrics": quality["test"],
            "interval": quality["interval"],
            "validation_metrics": quality["validation"],
            "drop": self.drop,
            "test_drop": self.test_drop,
            "num_parameters": artefact.num_parameters,
            "stored_bytes": artefact.stored_bytes,
            "latency_p50_seconds": latency.p50_seconds,
            "latency_min_seconds": latency.min_seconds,
            "latency_cpu_p50_seconds": latency.cpu_p50_seconds,
            "latency_num_calls": latency.num_calls,
            "energy_joules_per_1000": energy.joules_per_1000,
            "energy_low_joules_per_1000": energy.low_joules_per_1000,
            "energy_high_joules_per_1000": energy.high_joules_per_1000,
            "energy_tier": energy.tier,
            "score": self.score,
            "qualifies": self.qualifies,
            "note": artefact.note,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Variant":
        """The variant that `to_json` wrote."""
        quality = {
            "validation": data["validation_metrics"],
            "test": data["metrics"],
            "interval": data["interval"],
        }
        return cls(
            artefact=Artefact(
                name=data["name"],
                file=Path(data["file"]),
                runtime=data["runtime"],
                is_candidate=data["is_candidate"],
                num_parameters=data["num_parameters"],
                stored_bytes=data["stored_bytes"],
                quality=Quality.from_json(quality),
                note=data["note"],
            ),
            latency=Latency(
                p50_seconds=data["latency_p50_seconds"],
                min_seconds=data["latency_min_seconds"],
                cpu_p50_seconds=data["latency_cpu_p50_seconds"],
                num_calls=data["latency_num_calls"],
            ),
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
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressResult:
    """All variants, which one was chosen, and why. `chosen` is None when none qualifies."""

    variants: tuple[Variant, ...]
    chosen: str | None
    reason: str
    metric: str
    metric_direction: MetricDirection
    max_accuracy_drop: float
    score_weights: Mapping[str, float]

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
        )

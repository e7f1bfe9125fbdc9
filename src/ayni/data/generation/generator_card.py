"""What a generator says of itself: what it is, what it learned from, and what that cost.

The card says that examples are synthetic and of what, and whether somebody tried to find the data in them.

Not covered: whether the statement on the source is true.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from ayni.data.cost import Cost
from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.generation.input_form import InputForm
from ayni.data.records import Records

FORMAT = 1
CARD_FILE = "generator.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorCard:
    """Of one generator.

    Attributes:
        num_classes: class numbers are below this.
        classes: those that had examples, and can be sampled.
        num_records: examples that it learned from; held-out ones are not counted.
        records_sha256: `hash_of` them.
        source: what the records are, in words; None = not stated.
        licence: of the records, as on the Hugging Face Hub; None = not stated.
        seed: of training or fitting.
        cost: of training or fitting.
        metrics: of the task's validation; empty for those fitted at once.
        audit: what the leak audit found, as it puts it; None means that none was run.
    """

    settings: GeneratorSettings
    form: InputForm
    num_classes: int
    classes: tuple[int, ...]
    num_records: int
    records_sha256: str
    seed: int
    cost: Cost
    source: str | None = None
    licence: str | None = None
    metrics: Mapping[str, float]
    audit: Mapping[str, Any] | None = None

    @property
    def kind(self) -> str:
        """In a word."""
        return self.settings.kind

    def audited(self, found: Mapping[str, Any]) -> Self:
        """The card with the result of a leak audit."""
        return replace(self, audit=dict(found))

    def to_json(self) -> dict[str, Any]:
        """Content of generator.json."""
        return {
            "format": FORMAT,
            "is_synthetic": True,
            "kind": self.kind,
            "settings": self.settings.to_json(),
            "form": self.form.to_json(),
            "num_classes": self.num_classes,
            "classes": list(self.classes),
            "trained_on": {
                "num_records": self.num_records,
                "sha256": self.records_sha256,
                "source": self.source,
                "licence": self.licence,
            },
            "seed": self.seed,
            "cost": self.cost.to_json(),
            "metrics": dict(self.metrics),
            "audit": None if self.audit is None else dict(self.audit),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The card that `to_json` wrote."""
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']} is not known, expected {FORMAT}")
        trained_on = data["trained_on"]
        return cls(
            settings=GeneratorSettings.from_json(data["settings"]),
            form=InputForm.from_json(data["form"]),
            num_classes=data["num_classes"],
            classes=tuple(data["classes"]),
            num_records=trained_on["num_records"],
            records_sha256=trained_on["sha256"],
            source=trained_on["source"],
            licence=trained_on["licence"],
            seed=data["seed"],
            cost=Cost.from_json(data["cost"]),
            metrics=data["metrics"],
            audit=data["audit"],
        )


def hash_of(records: Records) -> str:
    """SHA-256 of shape, inputs and labels, in the order of the records."""
    digest = hashlib.sha256(f"{records.inputs.shape}".encode())
    digest.update(np.ascontiguousarray(records.inputs).tobytes())
    digest.update(np.ascontiguousarray(records.labels).tobytes())
    return digest.hexdigest()

"""Several models on the same corrupted images: what is measured, kept and told.

Clean, absolute, mean corruption and relative error always stand together, and the reference is named
(comparison.py says why). Without a reference there is no mean corruption error, and `note` says so.

A result can be the reference of a later one. It then brings the errors that were measured at the time, and
the images and the seed must be the same.

Not covered: measuring on a GPU, and intervals of ratios whose reference was read from a file.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from ayni.data.corruptions.comparison import CorruptionSummary, mean_corruption_error
from ayni.data.corruptions.errors import Classify, CorruptionErrors, measure_errors
from ayni.data.records import Records
from ayni.errors import UserError

_OF_BOTH = ("model", "num_examples", "clean_error")
_ONLY_SUMMED_UP = ("mce_percent", "relative_mce_percent", "ce_percent", "left_out", "intervals")


class ReferenceError(UserError):
    """What is named as the reference cannot be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredModel:
    """One model: its errors at the 75 settings, and what they come to."""

    errors: CorruptionErrors
    summary: CorruptionSummary

    def to_json(self) -> dict[str, Any]:
        """Both as one object."""
        summary = self.summary.to_json()
        return {**self.errors.to_json(), **{name: summary[name] for name in _ONLY_SUMMED_UP}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, reference: str | None) -> Self:
        """The value that `to_json` wrote."""
        summed_up = {name: data[name] for name in (*_OF_BOTH, "mean_error", *_ONLY_SUMMED_UP)}
        return cls(
            errors=CorruptionErrors.from_json(data),
            summary=CorruptionSummary.from_json({**summed_up, "reference": reference}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """What was measured.

    Attributes:
        models: In the order in which they were named; the reference is among them.
        reference: The name of one of them, or None.
        seed: Of the corruptions.
        images_sha256: Of the clean images and their labels.
        note: What a reader must know, such as why there is no reference; empty when nothing.
    """

    models: tuple[MeasuredModel, ...]
    reference: str | None
    num_examples: int
    seed: int
    images_sha256: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the single answers."""
        return {
            "reference": self.reference,
            "num_examples": self.num_examples,
            "seed": self.seed,
            "images_sha256": self.images_sha256,
            "note": self.note,
            "models": [model.to_json() for model in self.models],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The value that `to_json` wrote."""
        models = [MeasuredModel.from_json(each, reference=data["reference"]) for each in data["models"]]
        return cls(
            models=tuple(models),
            **{name: data[name] for name in ("reference", "num_examples", "seed", "images_sha256", "note")},
        )

    @property
    def first(self) -> MeasuredModel:
        """The model that was asked about."""
        return self.models[0]


def measure_robustness(
    models: Mapping[str, Classify],
    records: Records,
    *,
    seed: int,
    reference: "str | Robustness | None" = None,
    note: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
    advanced: Callable[[float], None] = lambda share: None,
) -> Robustness:
    """Measure models by name on the same images.

    Args:
        models: As `measure_errors` takes them; the one that is asked about first.
        records: Images and classes.
        seed: Of the corruptions.
        reference: One of `models`, or an earlier result, of which the first model is taken.
        note: Kept with the result.
        value_range: What black and white are.
        advanced: Told which share of the work is done.

    Raises:
        CorruptionInputError: these are no images of this range.
        ReferenceError: the earlier result is of other images or another seed.
    """
    images = images_sha256(records)
    earlier = reference if isinstance(reference, Robustness) else None
    if earlier is not None:
        _check_same_images(earlier, images, seed=seed)
    measured = {
        found.model: found
        for found in measure_errors(models, records, seed=seed, value_range=value_range, advanced=advanced)
    }
    if earlier is not None:
        name = _free_name(earlier.first.errors.model, measured)
        measured[name] = CorruptionErrors.from_json({**earlier.first.errors.to_json(), "model": name})
        reference = name
    base = None if reference is None else measured[str(reference)]
    return Robustness(
        models=tuple(
            MeasuredModel(errors=errors, summary=mean_corruption_error(errors, reference=base))
            for errors in measured.values()
        ),
        reference=None if base is None else base.model,
        num_examples=len(records),
        seed=seed,
        images_sha256=images,
        note=note,
    )


def read_robustness(path: Path) -> Robustness:
    """An earlier result, from the JSON that was written of it.

    Raises:
        ReferenceError: there is no such file, or it is none of these.
    """
    try:
        found = Robustness.from_json(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ReferenceError(f"The reference {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReferenceError(
            f"The reference {path} is no result of `ayni data corrupt` (robustness.json): "
            f"{type(error).__name__}: {error}."
        ) from error
    if not found.models:
        raise ReferenceError(f"The reference {path} holds no model.")
    return found


def images_sha256(records: Records) -> str:
    """SHA-256 over the inputs' shape, a newline, the inputs and the labels.

    The shape is written as in 10x1x8x8; inputs are float32 and labels int64, little-endian.
    """
    shape = "x".join(map(str, records.inputs.shape))
    found = hashlib.sha256(f"{shape}\n".encode())
    found.update(np.ascontiguousarray(records.inputs, dtype="<f4").tobytes())
    found.update(np.ascontiguousarray(records.labels, dtype="<i8").tobytes())
    return found.hexdigest()


def _check_same_images(earlier: Robustness, images: str, *, seed: int) -> None:
    name = earlier.first.errors.model
    if earlier.images_sha256 != images:
        raise ReferenceError(
            f"The reference {name} was measured on {earlier.num_examples} other images (SHA-256 "
            f"{earlier.images_sha256[:12]}..., here {images[:12]}...). Errors are compared on the same ones: "
            "measure the reference again beside the model."
        )
    if earlier.seed != seed:
        raise ReferenceError(
            f"The reference {name} saw the corruptions of the seed {earlier.seed}, here it is {seed}. "
            f"Give --seed {earlier.seed}."
        )


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = f"{name} (earlier)"
    return name

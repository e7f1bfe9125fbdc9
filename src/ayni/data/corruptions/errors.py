"""How often a classifier is wrong at each of the 75 settings, and without any corruption.

All models that are compared see the very same corrupted images, so that their difference is paired.

Legend: N examples, J the clean images and the 75 settings, K classes.

Not covered: tasks that do not classify images; images that were standardised channel by channel.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.data.corruptions.kinds import KINDS, SEVERITIES, CorruptionInputError, corrupt
from ayni.data.records import Records

_BATCH = 256
# How far rounding may leave the range, as a share of it.
_SLACK = 1e-4
Classify: TypeAlias = Callable[[NDArray[np.float32]], NDArray[Any]]
"""From inputs [N, ...], as the task has them, to scores [N, K] or class numbers [N]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionErrors:
    """Shares of wrong answers of one model, all over the same examples.

    Attributes:
        errors: By kind, at severity 1 to 5.
        wrong: Whether an answer was wrong [J, N]: clean images first, then the settings in the order of
            KINDS and severities. None in a value that was read from JSON.
    """

    model: str
    num_examples: int
    clean_error: float
    errors: Mapping[str, tuple[float, ...]]
    wrong: NDArray[np.bool_] | None = field(default=None, repr=False, compare=False)

    @property
    def mean_error(self) -> float:
        """Mean over the 75 settings."""
        return float(np.mean([self.errors[kind] for kind in KINDS]))

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the single answers."""
        return {
            "model": self.model,
            "num_examples": self.num_examples,
            "clean_error": self.clean_error,
            "mean_error": self.mean_error,
            "errors": {kind: list(errors) for kind, errors in self.errors.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CorruptionErrors":
        """The value that `to_json` wrote."""
        return cls(
            model=data["model"],
            num_examples=data["num_examples"],
            clean_error=data["clean_error"],
            errors={kind: tuple(errors) for kind, errors in data["errors"].items()},
        )


def measure_errors(
    models: Mapping[str, Classify],
    records: Records,
    *,
    seed: int,
    value_range: tuple[float, float] = (0.0, 1.0),
    advanced: Callable[[float], None] = lambda share: None,
) -> list[CorruptionErrors]:
    """Show every model the clean images and all 75 corruptions of them.

    Args:
        models: By name; each is called with batches of up to 256 inputs of the shape that `records` has.
        records: Images [N, H, W], [N, C, H, W] or [N, H, W, C], C = 1 or 3, and their classes.
        seed: Of the corruptions.
        value_range: What black and white are in `records`.
        advanced: Told from time to time which share of the work is done.

    Cost: about 5 ms an image of 32 x 32 pixels (0.3 ms of 8 x 8) for the corruptions, and 76 answers of
    every model.

    Raises:
        CorruptionInputError: inputs are no images, or leave `value_range` (the row is named).
    """
    check_images(records.inputs, value_range=value_range)
    layout = _Layout.of(records.inputs.shape[1:])
    low, high = value_range
    wrong_of = {name: np.zeros((1 + len(_SETTINGS), len(records)), dtype=bool) for name in models}
    num_batches = -(-len(records) // _BATCH)
    for number in range(num_batches):
        rows = slice(number * _BATCH, (number + 1) * _BATCH)
        labels = records.labels[rows]
        images = layout.to_images((records.inputs[rows] - low) / (high - low))
        for index, corrupted in enumerate(_all_settings(images, seed=seed + number)):
            inputs = layout.to_inputs(corrupted) * (high - low) + low
            for name, classify in models.items():
                wrong_of[name][index, rows] = _classes(classify(inputs.astype(np.float32))) != labels
        advanced((number + 1) / num_batches)
    return [_summed(name, wrong_JN) for name, wrong_JN in wrong_of.items()]


def check_images(inputs: NDArray[np.float32], *, value_range: tuple[float, float] = (0.0, 1.0)) -> None:
    """Refuse what is no image.

    Args:
        inputs: [N, ...], finite.
        value_range: What black and white are; rounding may leave it by a little.

    Raises:
        CorruptionInputError: the shape is that of no image, or values leave the range (the row is named).
    """
    _Layout.of(inputs.shape[1:])
    low, high = value_range
    if not high > low:
        raise CorruptionInputError(f"value_range is {value_range}, expected black below white.")
    slack = _SLACK * (high - low)
    flat = inputs.reshape(len(inputs), -1)
    # Written so that NaN is beyond the range.
    beyond = ~((flat.min(axis=1) >= low - slack) & (flat.max(axis=1) <= high + slack))
    if beyond.any():
        row = int(np.argmax(beyond))
        raise CorruptionInputError(
            f"The image of row {row} has values from {flat[row].min():g} to {flat[row].max():g}, expected "
            f"{low:g} to {high:g} ({beyond.sum()} of {len(inputs)} images leave the range). A task whose "
            "images have another range says so by `value_range = (black, white)`."
        )


_SETTINGS = tuple((kind, severity) for kind in KINDS for severity in SEVERITIES)


def _all_settings(images: torch.Tensor, *, seed: int) -> Iterator[torch.Tensor]:
    # Rounding of a division may leave the range by an ulp.
    images = images.clamp(0, 1)
    yield images
    for kind, severity in _SETTINGS:
        yield corrupt(images, kind=kind, severity=severity, seed=seed)


def _classes(answer: NDArray[Any]) -> NDArray[np.int64]:
    found = np.asarray(answer)
    return (found.argmax(axis=-1) if found.ndim > 1 else found).astype(np.int64)


def _summed(name: str, wrong_JN: NDArray[np.bool_]) -> CorruptionErrors:
    shares_J = wrong_JN.mean(axis=1)
    shares = shares_J[1:].reshape(len(KINDS), len(SEVERITIES))
    return CorruptionErrors(
        model=name,
        num_examples=wrong_JN.shape[1],
        clean_error=float(shares_J[0]),
        errors={kind: tuple(map(float, row)) for kind, row in zip(KINDS, shares, strict=True)},
        wrong=wrong_JN,
    )


@dataclass(frozen=True, slots=True)
class _Layout:
    """How inputs lie in memory: plain [H, W], or with channels first or last."""

    has_channels: bool
    is_last: bool

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> "_Layout":
        if len(shape) == 2:
            return cls(has_channels=False, is_last=False)
        if len(shape) == 3 and shape[0] in (1, 3):
            return cls(has_channels=True, is_last=False)
        if len(shape) == 3 and shape[2] in (1, 3):
            return cls(has_channels=True, is_last=True)
        raise CorruptionInputError(
            f"An input has the shape {shape}: expected an image [H, W], [C, H, W] or [H, W, C] with 1 or 3 "
            "channels. Only classifiers of images can be corrupted in this way."
        )

    def to_images(self, inputs: NDArray[Any]) -> torch.Tensor:
        images = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
        return images.permute(0, 3, 1, 2) if self.is_last else images

    def to_inputs(self, images: torch.Tensor) -> NDArray[np.float32]:
        array: NDArray[np.float32] = (images.permute(0, 2, 3, 1) if self.is_last else images).numpy()
        return array

"""Let the student's hidden layers resemble the teacher's, beside its answers.

    L_f = mean over pairs (s, t) of  |P s - t|^2 / |t|^2

s, t: outputs of a layer of the student and of one of the teacher, one row for each position (pixel, token);
P: a matrix that learns with the student, is thrown away afterwards, and is left out where both are equally
wide.

Source: Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, equation 3, arXiv:1412.6550. It trains
up to the hint first; ours adds the term to the loss, and divides by |t|^2 so that its weight has no unit.

Not covered: layers that see the input at different resolutions; attention maps; choosing the pairs.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ayni.errors import UserError

_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.GroupNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
)


class CannotMatchFeaturesError(UserError):
    """A pair of layers whose outputs cannot be compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMatching:
    """Which layers are compared.

    pairs: (layer of the student, layer of the teacher), by qualified names.
    weight: of L_f beside the loss on the answers; 1 makes a feature that is all wrong count as one nat.
    """

    pairs: tuple[tuple[str, str], ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.pairs:
            raise ValueError("feature matching needs at least one pair of layers")
        if self.weight <= 0:
            raise ValueError(f"the weight of feature matching must be above 0, not {self.weight}")


class FeatureMatcher:
    """Catches the outputs of the paired layers and compares them.

    Raises:
        CannotMatchFeaturesError: a layer does not exist.
    """

    def __init__(self, settings: FeatureMatching, *, student: nn.Module, teacher: nn.Module) -> None:
        self.settings = settings
        self.projections = nn.ModuleDict()
        self._layers = [
            (_layer(student, first, "student"), _layer(teacher, second, "teacher"))
            for first, second in settings.pairs
        ]
        self._seen: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = [([], []) for _ in self._layers]

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Note what the paired layers put out inside the block."""
        self._seen = [([], []) for _ in self._layers]
        hooks = [
            layer.register_forward_hook(
                lambda module, _arguments, output, rows=rows: rows.append(_rows(module, output))
            )
            for layers, seen in zip(self._layers, self._seen, strict=True)
            for layer, rows in zip(layers, seen, strict=True)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def loss(self) -> torch.Tensor:
        """L_f of what was noted last, times its weight. The first time, the projections are made.

        Raises:
            CannotMatchFeaturesError: a layer was not called, or its rows are not the other one's.
        """
        terms = []
        for index, (names, (students, teachers)) in enumerate(
            zip(self.settings.pairs, self._seen, strict=True)
        ):
            if not students or len(students) != len(teachers):
                raise CannotMatchFeaturesError(
                    f"In one step {names[0]!r} of the student was called {len(students)} times and "
                    f"{names[1]!r} of the teacher {len(teachers)} times. Pair layers that are called equally "
                    "often."
                )
            for rows_NS, rows_NT in zip(students, teachers, strict=True):
                terms.append(self._term(index, names, rows_NS, rows_NT.detach()))
        return self.settings.weight * torch.stack(terms).mean()

    def _term(
        self, index: int, names: tuple[str, str], rows_NS: torch.Tensor, rows_NT: torch.Tensor
    ) -> torch.Tensor:
        if len(rows_NS) != len(rows_NT):
            raise CannotMatchFeaturesError(
                f"{names[0]!r} of the student has {len(rows_NS)} positions and {names[1]!r} of the teacher "
                f"{len(rows_NT)}. Pair layers of the same resolution."
            )
        if rows_NS.shape[1] != rows_NT.shape[1]:
            rows_NS = self._projection(index, rows_NS, rows_NT.shape[1])(rows_NS)
        energy = rows_NT.square().mean().clamp(min=torch.finfo(rows_NT.dtype).tiny)
        return (rows_NS - rows_NT).square().mean() / energy

    def _projection(self, index: int, rows_NS: torch.Tensor, width: int) -> nn.Module:
        key = str(index)
        if key not in self.projections:
            projection = nn.Linear(rows_NS.shape[1], width, bias=False)
            self.projections[key] = projection.to(rows_NS.device, rows_NS.dtype)
        return self.projections[key]


def _layer(model: nn.Module, name: str, whose: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        names = [known for known, _ in model.named_modules() if known]
        raise CannotMatchFeaturesError(
            f"The {whose} has no layer {name!r}. It has {', '.join(names[:20])}{', ...' * (len(names) > 20)}."
        ) from error


def _rows(module: nn.Module, output: Any) -> torch.Tensor:
    """One row for each position; channels are the second axis of images, and the last of everything else."""
    tensor = output[0] if isinstance(output, tuple | list) and output else output
    if not isinstance(tensor, torch.Tensor) or tensor.ndim < 2:
        raise CannotMatchFeaturesError(
            f"A {type(module).__name__} puts out {type(output).__name__}; a tensor of rows is expected."
        )
    if tensor.ndim > 3 or (tensor.ndim == 3 and isinstance(module, _CHANNELS_FIRST)):
        tensor = tensor.movedim(1, -1)
    return tensor.reshape(-1, tensor.shape[-1])

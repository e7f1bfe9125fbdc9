"""Gradients of a batch that say little about any one example: DP-SGD, with Opacus.

    g = (sum_i g_i min(1, clip / |g_i|) + N(0, (noise_multiplier clip)^2)) / expected batch size

The sum is over the examples that the step drew, which may be none. What comes out is left in the parameters,
as compute_gradients does; whatever is done with it afterwards costs no more privacy.

Noise, and which examples a step draws, come from the operating system and not from the job's seed: who knows
the seed could take noise off again. So a round that is tried again computes something else.

Opacus finds the gradient of each example by hooks on the layers. That is right only for models that treat
examples apart, which `privacy_checks.py` tries out before the first step and the shapes tell at each.

Source: Abadi et al., CCS 2016, arXiv:1607.00133, algorithm 1; noise is drawn as the sum of four draws against
attacks on floating-point numbers (Holohan and Braghin, 2021, arXiv:2107.10138; Opacus' secure mode).

Not covered: a generator of cryptographic strength (torch's, with a seed of 63 secret bits, is used),
models on several devices.
"""

import contextlib
import math
import secrets
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ayni.errors import AyniError, UserError
from ayni.task import TaskFailedError
from ayni.train.local import LossFunction, NonFiniteLossError, check_loss
from ayni.train.privacy_accounting import PrivacyPlan

# Gradients of single examples that are held at once.
_HELD_BYTES = 2**28
_MOST_EXAMPLES = 512


class NotPerExampleError(UserError):
    """The model or the loss mixes examples, so that one example's influence has no bound."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"train.privacy cannot be kept: {problem}. Each example must go through model and loss apart: "
            "use GroupNorm or LayerNorm instead of BatchNorm, keep the batch dimension first in every layer, "
            "let the loss be the mean of losses of single examples, and leave out mixup and CutMix."
        )


@dataclass(frozen=True, slots=True)
class PrivateBatch:
    """What a step drew, in pieces that fit into memory: (batch, number of examples)."""

    pieces: tuple[tuple[Any, int], ...]


class ExampleSampler:
    """Which examples a step draws: each with the same probability, whatever it drew before."""

    def __init__(self, *, num_examples: int, sample_rate: float) -> None:
        self._num_examples, self._sample_rate = num_examples, sample_rate
        self._rng = np.random.default_rng(secrets.randbits(128))

    def draw(self) -> list[int]:
        """Indices into the training split, in order; perhaps none."""
        found: list[int] = np.flatnonzero(self._rng.random(self._num_examples) < self._sample_rate).tolist()
        return found


class PerExampleGradients:
    """Hooks of Opacus on a model: after `of_batch` each parameter has one gradient for each example."""

    def __init__(self, model: nn.Module) -> None:
        with _quietly():
            from opacus.grad_sample import GradSampleHooks

            self._hooks = GradSampleHooks(model, loss_reduction="mean", strict=False)
        self.parameters = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        self._model = model

    def of_batch(self, batch: Any, num_examples: int, loss: LossFunction) -> tuple[float, list[torch.Tensor]]:
        """The loss, and for each parameter the gradients [N, ...] of the N examples.

        Raises:
            TaskFailedError, LossShapeError: by the task's doing.
            NotPerExampleError: a layer saw another number of examples than there are.
        """
        self._model.train()
        for parameter in self.parameters.values():
            parameter.grad = None
            parameter.grad_sample = None  # type: ignore[attr-defined]
        try:
            with _quietly():
                value = loss(self._model, batch)
                check_loss(value)
                value.backward()  # type: ignore[no-untyped-call]
        except AyniError:
            raise
        except Exception as error:
            raise TaskFailedError(method="loss, example by example", cause=error) from error
        gradients = [
            self._of_parameter(name, parameter, num_examples) for name, parameter in self.parameters.items()
        ]
        return float(value.detach()), gradients

    def _of_parameter(self, name: str, parameter: nn.Parameter, num_examples: int) -> torch.Tensor:
        found = parameter.grad_sample  # type: ignore[attr-defined]
        parameter.grad_sample = None  # type: ignore[attr-defined]
        if found is None:
            if parameter.grad is not None:
                raise NotPerExampleError(f"{name} is used outside of the layer that owns it")
            # Not used for this batch.
            return torch.zeros(num_examples, *parameter.shape, device=parameter.device)
        if isinstance(found, list) or len(found) != num_examples:
            sizes = [len(one) for one in found] if isinstance(found, list) else len(found)
            raise NotPerExampleError(f"{name} saw {sizes} examples in a batch of {num_examples}")
        gradients: torch.Tensor = found
        return gradients


class PrivateGradients:
    """Clipped and noised gradients of a model, by a plan."""

    def __init__(self, model: nn.Module, plan: PrivacyPlan, *, device: torch.device) -> None:
        from opacus.optimizers import DPOptimizer

        self._gradients = PerExampleGradients(model)
        parameters = list(self._gradients.parameters.values())
        num_elements = sum(parameter.numel() for parameter in parameters)
        self.piece_size = max(1, min(_MOST_EXAMPLES, _HELD_BYTES // (4 * num_elements)))
        # Only its clipping and its noise are used; the steps are those of the replica's own optimizer.
        self._mechanism = DPOptimizer(
            torch.optim.SGD(parameters, lr=0.0),
            noise_multiplier=plan.noise_multiplier,
            max_grad_norm=plan.clip,
            expected_batch_size=plan.expected_batch_size,
            generator=torch.Generator(device=device).manual_seed(secrets.randbits(63)),
            secure_mode=True,
        )
        self._last_loss = 0.0

    def batch(self, examples: Sequence[Any], make: Callable[[Sequence[Any]], Any]) -> PrivateBatch:
        """Examples as batches of at most `piece_size`, made by `make`."""
        pieces = [examples[at : at + self.piece_size] for at in range(0, len(examples), self.piece_size)]
        return PrivateBatch(tuple((make(piece), len(piece)) for piece in pieces))

    def compute(self, batch: PrivateBatch, loss: LossFunction, *, where: str, learning_rate: float) -> float:
        """Leave noised gradients in the parameters; the mean loss, or the last one when nothing was drawn.

        Raises:
            TaskFailedError, LossShapeError, NotPerExampleError: as `PerExampleGradients.of_batch`.
            NonFiniteLossError: the loss is NaN or infinite.
        """
        parameters = list(self._gradients.parameters.values())
        total = 0.0
        for parameter in parameters:
            parameter.summed_grad = None  # type: ignore[attr-defined]
        for piece, num_examples in batch.pieces:
            value, gradients = self._gradients.of_batch(piece, num_examples, loss)
            if not math.isfinite(value) or not all(bool(one.isfinite().all()) for one in gradients):
                raise NonFiniteLossError(loss=value, where=where, learning_rate=learning_rate)
            self._add(parameters, gradients)
            total += value * num_examples
        if not batch.pieces:
            self._add(parameters, [torch.zeros(0, *one.shape, device=one.device) for one in parameters])
        self._mechanism.add_noise()
        self._mechanism.scale_grad()
        for parameter in parameters:
            parameter.grad_sample = None  # type: ignore[attr-defined]
            parameter.summed_grad = None  # type: ignore[attr-defined]
        if batch.pieces:
            self._last_loss = total / sum(num for _, num in batch.pieces)
        return self._last_loss

    def _add(self, parameters: Sequence[nn.Parameter], gradients: Sequence[torch.Tensor]) -> None:
        for parameter, of_examples in zip(parameters, gradients, strict=True):
            parameter.grad_sample = of_examples  # type: ignore[attr-defined]
        self._mechanism.clip_and_accumulate()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without what torch says about Opacus' hooks at each step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

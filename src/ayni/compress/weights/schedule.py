"""Gradual pruning: the sparsity grows while the model is trained, fast at first and slower towards its end.

    s(t) = s_f + (s_i - s_f) (1 - (t - t_0) / (t_1 - t_0))^3        t_0 <= t <= t_1

A network loses redundant weights early, while many are left to take over; the last ones go slowly. Masks
are renewed every few steps. A weight that was set to zero is put back to zero after each step, so it has the
lowest magnitude when masks are renewed, and never comes back.

Source: Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression",
2017, section 3, arXiv:1710.01878. Theirs holds t_1 - t_0 = n * every exactly; ours prunes at t_1 in any case.

Not covered: the learning rate, which should not be near zero before t_1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ayni.compress.weights.layers import require_layers, skipped_layers
from ayni.compress.weights.masks import (
    Masks,
    PruneReport,
    Scope,
    apply_masks,
    check_pattern,
    magnitude_masks,
    prune_report,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CubicSchedule:
    """When to prune and how much.

    final_sparsity: s_f, reached at end_step.
    begin_step, end_step: t_0 and t_1, in steps of the optimizer counted from 0.
    every: steps from one renewal of the masks to the next; time for the others to take over.
    initial_sparsity: s_i, of the first renewal.
    """

    final_sparsity: float
    end_step: int
    begin_step: int = 0
    every: int = 10
    initial_sparsity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.initial_sparsity <= self.final_sparsity < 1:
            raise ValueError(
                f"sparsity grows from initial_sparsity to final_sparsity, both from 0 up to but not 1, "
                f"not from {self.initial_sparsity} to {self.final_sparsity}"
            )
        if not 0 <= self.begin_step < self.end_step:
            raise ValueError(f"begin_step {self.begin_step} must lie before end_step {self.end_step}")
        if self.every < 1:
            raise ValueError(f"masks are renewed every 1 or more steps, not {self.every}")

    def sparsity_at(self, step: int) -> float:
        """s(t); 0 before begin_step, final_sparsity from end_step on."""
        if step < self.begin_step:
            return 0.0
        left = 1 - min(1.0, (step - self.begin_step) / (self.end_step - self.begin_step))
        return self.final_sparsity + (self.initial_sparsity - self.final_sparsity) * left**3

    def is_due(self, step: int) -> bool:
        """Whether masks are renewed after this step."""
        is_turn = (step - self.begin_step) % self.every == 0
        return self.begin_step <= step <= self.end_step and (is_turn or step == self.end_step)


class GradualPruner:
    """Prunes a model by magnitude while it is trained. Call `after_step` after each step of the optimizer.

    Raises:
        NothingToCompressError, NonFiniteWeightError: from the constructor, see `require_layers`.
        ValueError: see `check_pattern`.
    """

    def __init__(
        self,
        model: nn.Module,
        schedule: CubicSchedule,
        *,
        scope: Scope = "layer",
        skip: Sequence[str] = (),
    ) -> None:
        self._model, self._schedule, self._scope = model, schedule, scope
        self._layers = require_layers(model, skip=skip, step="Gradual pruning")
        check_pattern(schedule.final_sparsity, self._layers)
        self._skipped = skipped_layers(model, skip=skip)
        self._masks: Masks = {}

    @property
    def masks(self) -> Masks:
        """As last renewed; empty before the first time."""
        return dict(self._masks)

    def after_step(self, step: int) -> None:
        """Renew the masks if it is time, and put the zeros back in any case."""
        if self._schedule.is_due(step):
            sparsity = self._schedule.sparsity_at(step)
            with torch.no_grad():
                apply_masks(self._model, self._masks)
                self._masks = magnitude_masks(self._layers, sparsity, scope=self._scope)
        apply_masks(self._model, self._masks)

    def report(self) -> PruneReport:
        """What is zero now."""
        return prune_report(self._layers, skipped=self._skipped)

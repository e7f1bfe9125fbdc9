"""When a training without a barrier has gone astray, and where it goes back to.

        diverged   <=>   loss > best + (guard_factor - 1) |best|        both on held-out data

The best checkpoint is kept for that. Each return halves the outer learning rate, because the same steps
from the same place would diverge again.

Source: the guard is ours. Liu et al., "Asynchronous Local-SGD Training for Language Modeling", 2024,
section 3, arXiv:2401.09135, show that momentum with stale updates may diverge.
"""

import math
from pathlib import Path

from ayni.errors import AyniError
from ayni.train.checkpoint import Checkpoint, best_of, forget_after, keep_best, load_best
from ayni.train.named_arrays import NamedArrays

_MAX_RETURNS = 5


class DivergedError(AyniError):
    """Training without a barrier became worse again and again."""

    def __init__(self, *, loss: float, best: float) -> None:
        self.loss, self.best = loss, best
        super().__init__(
            f"The held-out loss rose to {loss:.4g} again, after {_MAX_RETURNS} returns to the best model "
            f"({best:.4g}) with ever smaller steps. Lower train.outer_learning_rate or "
            "train.asynchronous.momentum, or use strategy diloco."
        )


class DivergenceGuard:
    """Compares each saved round with the best one."""

    def __init__(self, folder: Path, factor: float | None, *, num_returns: int = 0) -> None:
        self._folder = folder / "checkpoints"
        self._factor = factor
        # Since the last new best; an earlier try may have returned already.
        self.num_returns = num_returns

    @property
    def is_on(self) -> bool:
        """Whether anybody needs the held-out loss."""
        return self._factor is not None

    def has_diverged(self, round_: int, loss: float) -> bool:
        """Whether a round whose checkpoint is safe is much worse than the best; a better one is kept.

        Raises:
            DivergedError: it was so too often.
        """
        best = best_of(self._folder)
        if best is None and not math.isfinite(loss):
            return False  # nothing to go back to, and nothing to be kept for it
        if best is None or loss < best[1]:
            keep_best(self._folder, round_=round_, loss=loss)
            self.num_returns = 0
            return False
        if self._factor is None or loss <= best[1] + (self._factor - 1) * abs(best[1]):
            return False
        self.num_returns += 1
        if self.num_returns > _MAX_RETURNS:
            raise DivergedError(loss=loss, best=best[1])
        return True

    def go_back(self, into: dict[str, NamedArrays]) -> Checkpoint:
        """The best checkpoint, read into the arrays; later ones are gone."""
        checkpoint = load_best(self._folder, into=into)
        assert checkpoint is not None, "nothing diverges before there is a best one"
        forget_after(self._folder, checkpoint.round)
        return checkpoint

"""How good the model is: the task's metrics and loss on data that no learner trains on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ayni.train.named_arrays import NamedArrays
from ayni.train.replica import Replica

# Enough to tell a diverged model from a good one, and cheap beside a round.
_NUM_GUARD_EXAMPLES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Validator:
    """A replica of the coordinator's own, and the examples that it is judged by."""

    replica: Replica
    dataset: Sequence[Any]

    def metrics_of(self, parameters: NamedArrays) -> tuple[dict[str, float], dict[str, float]]:
        """The task's metrics that are numbers, and those that are not: a gap in the curve, not its end."""
        self.replica.set_arrays(parameters)
        metrics = self.replica.evaluate(self.dataset)
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        return finite, {name: value for name, value in metrics.items() if name not in finite}

    def loss_of(self, parameters: NamedArrays) -> float:
        """Mean of the task's loss over the first examples; infinite when it is not a number."""
        self.replica.set_arrays(parameters)
        examples = [self.dataset[index] for index in range(min(len(self.dataset), _NUM_GUARD_EXAMPLES))]
        loss = self.replica.mean_loss(examples)
        return loss if math.isfinite(loss) else math.inf

"""The port between training and a framework: one model with its optimizer.

Learners and the coordinator see named arrays and never a tensor. `TorchReplica` (torch_replica.py) and
`KerasReplica` (keras_replica.py) fulfil it; `make_replica` (learner.py) picks by what the task's
build_model returned.

What travels are the arrays that learn and the float state beside them (*buffers*, such as running means).
Frozen weights do not: every process gets them from build_model, from `init_from` and from the seed, and
`digest` proves that they are the same. Integers (counters, states of random generators) do not travel
either, because their mean has no meaning. Weights that are used twice travel once.

Not covered: gradients for per-step averaging, which only `TorchReplica` can hand out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ayni.train.named_arrays import NamedArrays


class Replica(Protocol):
    """A model on one device, its optimizer (AdamW), and how a task's batches move it.

    Built from (task, model as build_model left it, configuration, seed, init_path); the initial weights of
    `init_path` are loaded and adapters added before the first call here.
    """

    @property
    def notices(self) -> Sequence[str]:
        """What of `init_path` did not fit, as sentences for the user."""
        ...

    @property
    def buffer_names(self) -> frozenset[str]:
        """Those of the travelling arrays that no gradient moves: averaged without momentum."""
        ...

    @property
    def embedding_names(self) -> frozenset[str]:
        """Those of the travelling arrays that are tables of embeddings: "rda" averages them plainly."""
        ...

    @property
    def num_parameters(self) -> int:
        """Numbers that the model has, frozen ones too, tied ones once."""
        ...

    def arrays(self) -> "NamedArrays":
        """What travels, as float32 arrays on the CPU, always in the same order.

        They may share memory with the model: do not write into them, and copy what must outlive a step.
        """
        ...

    def set_arrays(self, arrays: "NamedArrays") -> None:
        """Copy arrays, all that travel or some of them, into the model; they are not kept.

        Raises:
            ChangedModelError: an unknown name, or another shape.
        """
        ...

    def digest(self) -> str:
        """SHA-256 of all weights, frozen ones and integers too: named_arrays.digest_of."""
        ...

    def begin_round(self, seed: int) -> None:
        """Set every random generator, and the integers as the task built them.

        A round that is tried again computes the same.
        """
        ...

    def batch(self, examples: Sequence[Any]) -> Any:
        """What the task's loss takes, from examples of its dataset, on the device.

        Raises:
            TaskFailedError: the examples make no batch.
        """
        ...

    def step(self, batch: Any, *, learning_rate: float, where: str) -> float:
        """One optimizer step (gradient, clip, AdamW); the loss before it.

        Raises:
            TaskFailedError, LossShapeError, NonFiniteLossError: by the task's doing; `where` says when.
        """
        ...

    def new_optimizer(self) -> None:
        """Forget what the optimizer learned."""
        ...

    def optimizer_arrays(self) -> "NamedArrays":
        """What the optimizer learned; float arrays on the CPU, which may share memory with it."""
        ...

    def set_optimizer_arrays(self, arrays: "NamedArrays") -> bool:
        """Go on from what `optimizer_arrays` gave; False, and nothing changed, when it does not fit."""
        ...

    def evaluate(self, dataset: Sequence[Any]) -> dict[str, float]:
        """The task's metrics over a dataset, in evaluation mode, on one thread.

        Raises:
            TaskFailedError: the task's evaluate raised, or returned something else than named numbers.
        """
        ...

    def mean_loss(self, examples: Sequence[Any]) -> float:
        """The task's loss over examples, in evaluation mode and without gradients; it may be NaN.

        Raises:
            TaskFailedError: the loss function raised.
        """
        ...

    def save(self, path: Path) -> None:
        """Write the whole model, atomically, as one safetensors file that build_model's model can load.

        Adapters are merged into the weights first, so that the replica cannot train on: call it last.

        Raises:
            DiskFullError, NotWritableError: the file could not be written.
        """
        ...

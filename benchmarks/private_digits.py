"""The task of `dp_digits`: scikit-learn's digits, 1,300 to train on, 197 to choose by, 300 to judge.

`TASK_FILE` with the name "linear_3" is the linear model on the split of seed 3, "cnn_0" the small network on
that of seed 0. Pixels are moved to [-1, 1] by constants, so that no statistic of the data is needed.

Not covered: augmentation.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

TASK_FILE = Path(__file__)
NUM_TRAIN, NUM_VALIDATION = 1300, 197
MODELS = ("linear", "cnn")


class PrivateDigits:
    """Digits of 8 x 8 pixels, shuffled by a seed, and one of two models."""

    def __init__(self, model: str, seed: int) -> None:
        from sklearn.datasets import load_digits

        self._model = model
        pixels, labels = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(pixels))
        images = (pixels[order].reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
        ends = {
            "train": (0, NUM_TRAIN),
            "validation": (NUM_TRAIN, NUM_TRAIN + NUM_VALIDATION),
            "test": (NUM_TRAIN + NUM_VALIDATION, len(pixels)),
        }
        self._splits = {
            split: [(torch.from_numpy(images[row]), int(labels[order[row]])) for row in range(*span)]
            for split, span in ends.items()
        }

    def build_model(self) -> nn.Module:
        """650 parameters, or 6,090."""
        if self._model == "linear":
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.Tanh(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(128, 10),
        )  # fmt: skip

    def dataset(self, split: str) -> Sequence[Any]:
        """Pairs of an image [1, 8, 8] and its digit."""
        return self._splits[split]

    def loss(self, model: nn.Module, batch: Any) -> torch.Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: nn.Module, batches: Iterable[Any]) -> Mapping[str, float]:
        """Accuracy."""
        right = [(model(images).argmax(1) == labels).float() for images, labels in batches]
        return {"accuracy": float(torch.cat(right).mean())}

    def example_input(self) -> torch.Tensor:
        """A blank image."""
        return torch.zeros(1, 1, 8, 8)


def __getattr__(name: str) -> Any:
    """The task of a model and a seed: "cnn_0"."""
    model, _, seed = name.partition("_")
    if model not in MODELS or not seed.isdecimal():
        raise AttributeError(name)
    return PrivateDigits(model, int(seed))

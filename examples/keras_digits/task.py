"""Handwritten digits with Keras 3: 1,797 real images of 8 x 8 pixels, a small convolutional network.

A task of Keras has the same five methods as one of torch. Its examples are numpy arrays, its loss is computed
with `keras.ops`, and it works on the backends TensorFlow and torch.

The images come inside scikit-learn, so that nothing is downloaded.
"""

import os

# Before Keras is imported; all give way to what the environment says.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Without oneDNN every processor sums in the same order, and nobody is told about it in the log.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

from collections.abc import Callable, Iterable, Mapping
from functools import cache

import keras
import numpy as np
from keras import layers, ops

# The split belongs to the data, not to the job: every seed of a job is tested on the same images.
SPLIT_SEED = 0
SPLIT_BOUNDS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0)}
Pair = tuple[np.ndarray, np.ndarray]


class Digits:
    """Which of the ten digits does an 8 x 8 image show?"""

    def build_model(self) -> keras.Model:
        """21,594 parameters."""
        return keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                *convolution(16), *convolution(32), layers.MaxPooling2D(), layers.Flatten(),
                layers.Dropout(0.1), layers.Dense(32, activation="relu"),
                layers.Dense(10),
            ]
        )  # fmt: skip

    def dataset(self, split: str) -> list[Pair]:
        """Pairs of an image, float32 [8, 8, 1] with ink = 1 and paper = 0, and its digit, int64."""
        images, digits = load_digits()
        first, last = SPLIT_BOUNDS[split]
        rows = np.random.default_rng(SPLIT_SEED).permutation(len(images))
        chosen = np.sort(rows[round(first * len(rows)) : round(last * len(rows))])
        return list(zip(images[chosen], digits[chosen], strict=True))

    def loss(self, model: keras.Model, batch: tuple) -> object:
        """Mean cross-entropy; while training, of images with some noise.

        `model` computes in training or evaluation mode by itself, and `model.training` says in which.
        """
        images, digits = batch
        if model.training:
            # keras.random and not numpy: a compiled step would draw from numpy once and for all.
            images = images + 0.1 * keras.random.normal(ops.shape(images))
        logits = model(images)
        return ops.mean(keras.losses.sparse_categorical_crossentropy(digits, logits, from_logits=True))

    def evaluate(self, model: Callable, batches: Iterable[Pair]) -> Mapping[str, float]:
        """Share of right answers (the metric to keep); batches are numpy arrays."""
        right = [np.argmax(model(images), axis=1) == digits for images, digits in batches]
        return {"accuracy": float(np.concatenate(right).mean())}

    def example_input(self) -> np.ndarray:
        """One empty image."""
        return np.zeros((1, 8, 8, 1), np.float32)

    def labels(self) -> list[str]:
        """What each output of the model means."""
        return [str(digit) for digit in range(10)]

    def data_card(self) -> Mapping[str, str | int]:
        """Where the images come from and what may be done with them."""
        return {
            "name": "Optical recognition of handwritten digits",
            "licence": "cc-by-4.0",
            "source": "package scikit-learn, sklearn.datasets.load_digits()",
            "attribution": "E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, 1998",
            "rows": len(load_digits()[0]),
            "note": "8 x 8 images; split 70 / 10 / 20 % with a fixed seed.",
        }


def convolution(filters: int) -> list[keras.Layer]:
    return [
        layers.Conv2D(filters, 3, padding="same", use_bias=False),
        # Keras' own momentum of 0.99 needs more steps than this job has to forget where it began.
        layers.BatchNormalization(momentum=0.9),
        layers.ReLU(),
    ]


@cache
def load_digits() -> Pair:
    """All images [N, 8, 8, 1] and their digits [N]."""
    from sklearn.datasets import load_digits as load_from_sklearn

    pixels, digits = load_from_sklearn(return_X_y=True)
    return (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1), digits.astype(np.int64)

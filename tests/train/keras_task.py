"""Tasks of Keras that train in milliseconds: on which side of a plane a point lies."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np


def points(split: str, count: int = 96) -> list:
    rng = np.random.default_rng(len(split))
    found = rng.normal(size=(count, 4)).astype("float32")
    return [(point, int(point.sum() > 0)) for point in found]


class TinyKeras:
    """With BatchNorm and dropout, so that there is state and chance."""

    def build_model(self) -> Any:
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Dense(8, use_bias=False),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.Dropout(0.1),
                layers.Dense(2),
            ]
        )

    def dataset(self, split: str) -> list:
        return points(split, 96 if split == "train" else 40)

    def loss(self, model: Any, batch: Any) -> Any:
        inputs, labels = batch
        noisy = inputs + 0.01 * keras.random.normal((4,))
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(noisy), from_logits=True)
        return keras.ops.mean(losses)

    def evaluate(self, model: Any, batches: Iterable) -> dict:
        right = [np.argmax(model(inputs), axis=1) == labels for inputs, labels in batches]
        return {"accuracy": np.concatenate(right).mean()}

    def example_input(self) -> np.ndarray:
        return np.zeros((1, 4), np.float32)


class Plain(TinyKeras):
    """No state and no chance, so that another framework can be compared."""

    def build_model(self) -> Any:
        return keras.Sequential([keras.layers.Dense(8, activation="tanh"), keras.layers.Dense(2)])

    def loss(self, model: Any, batch: Any) -> Any:
        inputs, labels = batch
        losses = keras.losses.sparse_categorical_crossentropy(labels, model(inputs), from_logits=True)
        return keras.ops.mean(losses)


class Adapted(Plain):
    """Only an adapter of the first layer learns, and the second layer."""

    def build_model(self) -> Any:
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(2)])
        model.layers[0].enable_lora(2)
        return model


class HalfFrozen(TinyKeras):
    """Kernel and running means of the first block stay as they are."""

    def build_model(self) -> Any:
        model = super().build_model()
        model.layers[0].trainable = model.layers[1].trainable = False
        return model


class Tied(Plain):
    """One layer that is used twice."""

    def build_model(self) -> Any:
        inputs, layer = keras.Input((4,)), keras.layers.Dense(4)
        return keras.Model(inputs, keras.layers.Dense(2)(layer(layer(inputs))))


class Vector(Plain):
    def loss(self, model: Any, batch: Any) -> Any:
        return model(batch[0])


class Constant(Plain):
    def loss(self, model: Any, batch: Any) -> Any:
        return keras.ops.mean(batch[0])


class Raising(Plain):
    def loss(self, model: Any, batch: Any) -> Any:
        raise KeyError("label")


class Exploding(Plain):
    def loss(self, model: Any, batch: Any) -> Any:
        return super().loss(model, batch) * float("nan")


class BadMetrics(Plain):
    def evaluate(self, model: Any, batches: Iterable) -> dict:
        return {"accuracy": "high"}

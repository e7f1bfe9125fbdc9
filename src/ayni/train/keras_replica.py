"""A model of Keras 3 with its AdamW. Fulfils ayni.train.replica.Replica.

On TensorFlow a step is compiled, as `model.fit` does it, unless the task sets `model.run_eagerly = True`; on
torch it is not. Which of the two it is says Keras itself (KERAS_BACKEND, or ~/.keras/keras.json).

What travels are the weights that learn and the float state of layers (running means). Frozen weights stay
where they are, so that a model on which `enable_lora` was called exchanges its adapters alone. States of
random generators never travel: each round sets them anew.

Not covered: strategy "sync" and `train.adapter` (they need torch's own modules), the backends JAX and
OpenVINO, the choice of a device (Keras makes it), loss scaling for float16. Draws from tf.random are not
repeated when a round is tried again; those from keras.random are.
"""

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ayni.errors import AyniError, UserError
from ayni.keras_weights import array_of, count_parameters, named_weights, state_names
from ayni.task import Task, TaskFailedError
from ayni.train.array_file import save_arrays
from ayni.train.config import TrainConfig
from ayni.train.keras_batches import batches, stack
from ayni.train.keras_building import building
from ayni.train.keras_initial import load_keras_initial
from ayni.train.keras_step import BatchLoss, ModelInMode, make_step
from ayni.train.local import NonFiniteLossError
from ayni.train.named_arrays import NamedArrays, check_manifest, digest_of, make_manifest
from ayni.train.randomness import derive_seed, seed_everything, seeded


class UnsupportedByKerasError(UserError):
    """The job asks for something that models of Keras cannot do here."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        super().__init__(f"{what} does not work with a Keras model. {remedy}")


class KerasReplica:
    """A Keras model where Keras put it."""

    def __init__(
        self, task: Task, model: Any, config: TrainConfig, *, seed: int, init_path: Path | None = None
    ) -> None:
        import keras

        _check_supported(config, keras.backend.backend())
        self._task, self._config, self._seed = task, config, seed
        self.model = model
        self._build()
        self.notices: list[str] = []
        if init_path is not None:
            self.notices = load_keras_initial(model, init_path)
        weights = named_weights(model)
        moving = state_names(model, only_moving=True)
        self._travelling = {
            name: weight
            for name, weight in weights.items()
            if _is_float(weight) and (weight.trainable or name in moving)
        }
        self._integers = {name: array_of(weight) for name, weight in weights.items() if not _is_float(weight)}
        self._generators = _generators(model)

    def _build(self) -> None:
        """Make the weights, which many models of Keras have only when they have seen an input."""
        try:
            with seeded(self._seed, "build"), building(self._seed, "build"):
                self.model(self._task.example_input(), training=False)
        except Exception as error:
            raise TaskFailedError(method="build_model (called with example_input)", cause=error) from error

    @functools.cached_property
    def _optimizer(self) -> Any:
        """Made when it is needed: a replica that only validates has no moments."""
        import keras

        config = self._config
        # epsilon as torch's AdamW has it; Keras' own is ten times that. It comes in before the moments are
        # corrected for their start from zero, in torch after it, so that first steps differ by some 1e-5.
        optimizer = keras.optimizers.AdamW(
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            epsilon=1e-8,
            global_clipnorm=config.gradient_clip,
        )
        optimizer.build(self.model.trainable_variables)
        return optimizer

    @functools.cached_property
    def _step(self) -> Callable[[Any], float]:
        return make_step(self.model, self._loss_of(training=True), self._optimizer)

    def _loss_of(self, *, training: bool) -> BatchLoss:
        model = ModelInMode(self.model, training=training)

        def loss(batch: Any) -> Any:
            try:
                return self._task.loss(model, batch)
            except AyniError:
                raise
            except Exception as error:
                raise TaskFailedError(method="loss", cause=error) from error

        return loss

    @property
    def buffer_names(self) -> frozenset[str]:
        """Float state of layers."""
        return state_names(self.model) & frozenset(self._travelling)

    @property
    def embedding_names(self) -> frozenset[str]:
        """Weights of Embedding layers."""
        import keras

        layers = [
            layer for layer in self.model._flatten_layers() if isinstance(layer, keras.layers.Embedding)
        ]
        tables = {id(weight) for layer in layers for weight in layer.weights}
        return frozenset(name for name, weight in self._travelling.items() if id(weight) in tables)

    @property
    def num_parameters(self) -> int:
        """Frozen ones too, tied ones once, without the state of layers."""
        return count_parameters(self.model)

    def arrays(self) -> NamedArrays:
        """What travels."""
        return {
            name: np.require(array_of(weight), np.float32, "C") for name, weight in self._travelling.items()
        }

    def set_arrays(self, arrays: NamedArrays) -> None:
        """Copy arrays into the model."""
        expected = {
            name: [list(weight.shape), "float32"]
            for name, weight in self._travelling.items()
            if name in arrays
        }
        check_manifest(expected, make_manifest(arrays))
        for name, array in arrays.items():
            # TensorFlow may keep the memory that it is given as the variable's own.
            self._travelling[name].assign(np.array(array))

    def digest(self) -> str:
        """SHA-256 of all weights."""
        return digest_of({name: array_of(weight) for name, weight in named_weights(self.model).items()})

    def begin_round(self, seed: int) -> None:
        """Random generators from the seed, integers as built."""
        seed_everything(seed)
        for index, state in enumerate(self._generators):
            state.assign(np.array([derive_seed(seed, index) % 2**31, 0]))
        weights = named_weights(self.model)
        for name, array in self._integers.items():
            weights[name].assign(array)

    def batch(self, examples: Sequence[Any]) -> Any:
        """Examples stacked, as tensors of the backend."""
        try:
            return self._tensors(stack(examples))
        except Exception as error:
            raise TaskFailedError(method="dataset('train')[index]", cause=error) from error

    def _tensors(self, arrays: Any) -> Any:
        import keras

        return keras.tree.map_structure(keras.ops.convert_to_tensor, arrays)

    def step(self, batch: Any, *, learning_rate: float, where: str) -> float:
        """One AdamW step; when the loss is not finite the model is spoiled, and so is the round."""
        self._optimizer.learning_rate = learning_rate
        try:
            loss = self._step(batch)
        except AyniError:
            raise
        except Exception as error:
            raise TaskFailedError(method="loss (its gradient)", cause=error) from error
        if not math.isfinite(loss):
            raise NonFiniteLossError(loss=loss, where=where, learning_rate=learning_rate)
        return loss

    def new_optimizer(self) -> None:
        """AdamW without a past; the compiled step stays."""
        if "_optimizer" not in self.__dict__:
            return
        for variable in self._optimizer_variables().values():
            variable.assign(np.zeros(variable.shape))

    def optimizer_arrays(self) -> NamedArrays:
        """AdamW's moments and its count of steps; Keras keeps the count as an integer."""
        return {
            name: array_of(variable) if _is_float(variable) else array_of(variable).astype(np.float64)
            for name, variable in self._optimizer_variables().items()
        }

    def set_optimizer_arrays(self, arrays: NamedArrays) -> bool:
        """Go on from earlier moments; False when they are those of another model."""
        variables = self._optimizer_variables()
        if {name: array.shape for name, array in arrays.items()} != {
            name: tuple(variable.shape) for name, variable in variables.items()
        }:
            return False
        for name, variable in variables.items():
            variable.assign(np.array(arrays[name]))
        return True

    def _optimizer_variables(self) -> dict[str, Any]:
        """By place, because Keras' names count up within a process; all but the learning rate."""
        learned = [each for each in self._optimizer.variables if not each.path.endswith("learning_rate")]
        return {f"{index:04d}": variable for index, variable in enumerate(learned)}

    def evaluate(self, dataset: Sequence[Any]) -> dict[str, float]:
        """The task's metrics over a dataset; batches are arrays."""
        model = ModelInMode(self.model, training=False)
        try:
            with seeded(self._seed, "evaluate"), _without_gradients():
                found = self._task.evaluate(model, batches(dataset))
            return {str(name): float(value) for name, value in found.items()}
        except AyniError:
            raise
        except Exception as error:
            raise TaskFailedError(method="evaluate", cause=error) from error

    def mean_loss(self, examples: Sequence[Any]) -> float:
        """The task's loss over examples; see Replica."""
        loss = self._loss_of(training=False)
        with seeded(self._seed, "evaluate"), _without_gradients():
            losses = [float(loss(self._tensors(batch))) for batch in batches(examples)]
        return sum(losses) / len(losses)

    def save(self, path: Path) -> None:
        """All weights; see keras_weights.py for how they are named, and read without Ayni."""
        save_arrays(path, {name: array_of(weight) for name, weight in named_weights(self.model).items()})


def _check_supported(config: TrainConfig, backend: str) -> None:
    if backend not in ("tensorflow", "torch"):
        raise UnsupportedByKerasError(f"The backend {backend!r}", "Set KERAS_BACKEND=tensorflow or torch.")
    if config.strategy == "sync":
        raise UnsupportedByKerasError("train.strategy sync", "Use diloco, streaming or async.")
    if config.adapter is not None:
        remedy = "Call enable_lora(rank) on its layers in build_model: then only the adapters travel."
        raise UnsupportedByKerasError("train.adapter", remedy)
    if config.device in ("cuda", "mps"):
        remedy = "Keras chooses the device itself: use auto."
        raise UnsupportedByKerasError(f"train.device {config.device}", remedy)
    if config.device == "cpu" and _sees_gpu(backend):
        remedy = (
            "Keras chooses the device itself: hide the GPU from it (CUDA_VISIBLE_DEVICES=''), or use auto."
        )
        raise UnsupportedByKerasError("train.device cpu beside a GPU", remedy)


def _sees_gpu(backend: str) -> bool:
    if backend == "torch":
        return torch.cuda.is_available()
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _is_float(variable: Any) -> bool:
    return str(variable.dtype) in ("float16", "bfloat16", "float32", "float64")


def _generators(model: Any) -> list[Any]:
    """States [2] of the random generators in the model, and of the one for draws without a generator."""
    # No public name leads to the latter. keras.utils.set_random_seed would put another one in its place,
    # which a compiled step does not see.
    from keras.src.random.seed_generator import global_seed_generator

    own = [each for each in model.variables if each.path.endswith("seed_generator_state")]
    return [*own, global_seed_generator().state]


def _without_gradients() -> contextlib.AbstractContextManager[object]:
    # For the backend torch; TensorFlow records only what is under a tape.
    return torch.no_grad()

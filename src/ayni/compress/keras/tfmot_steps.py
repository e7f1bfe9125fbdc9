"""Pruning, weight clustering and quantization-aware training of legacy Keras models, by TFMOT.

TFMOT (TensorFlow Model Optimization Toolkit, 0.8) works on models of the package tf_keras, that is Keras 2,
and on nothing else: a Keras 3 model fails in it with a ValueError about layer types. Here that is said before
anything is done, and what to use instead. Each step works on a copy and gives a tf_keras model back, which
`litert_conversion.convert_keras` takes.

    prune      sparsity s_t = s_f (1 - (1 - (t - t_0) / (t_f - t_0))^3) of each kernel, smallest |w| first,
               during further training
    cluster    each kernel keeps num_clusters distinct values, which training moves
    aware      forward pass with weights and activations rounded to 8 bits, gradients straight through

Pruned and clustered models are as large and as slow as before until they are packed: zlib finds the zeros
and the repetitions, LiteRT stores a sparse kernel densely. The caller trains: `train` gets the wrapped model,
not compiled, and callbacks that it must pass on.

Source: Zhu & Gupta, "To prune, or not to prune", 2017, arXiv:1710.01878, section 3 (the schedule); Jacob et
al., CVPR 2018, arXiv:1712.05877 (fake quantization); TFMOT's documentation.

Not covered: Keras 3 (LiteRT and keras_quantize.py are its way), 2:4 sparsity, collaborative optimization,
subclassed models, which TFMOT refuses too.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ayni.errors import AyniError, MissingExtraError, UserError
from ayni.keras_weights import is_keras

TrainLegacy = Callable[[Any, Sequence[Any]], None]
"""Trains a tf_keras model in place: compiles it, fits it, passes the callbacks on."""


class LegacyKerasOnlyError(UserError):
    """TFMOT was asked to work on something else than a tf_keras model."""

    def __init__(self, model: object) -> None:
        kind = type(model)
        if is_keras(model):
            what, remedy = "a Keras 3 model", "Use LiteRT (dynamic-int8 or int8) or Keras' own quantization."
        else:
            what, remedy = f"{kind.__module__}.{kind.__qualname__}", "Use the steps for torch modules."
        super().__init__(f"TFMOT works on models of tf_keras (Keras 2) only, and this is {what}. {remedy}")


class TfmotRefusedError(UserError):
    """TFMOT has no way for this model."""

    def __init__(self, step: str, reason: str) -> None:
        self.step = step
        super().__init__(
            f"TFMOT cannot {step} this model: {reason}. It takes Sequential and functional models of layers "
            "that it knows; leave this step out for others."
        )


class StepWithoutEffectError(AyniError):
    """The training that a step needed did not happen as it should."""

    def __init__(self, *, wanted: float, reached: float) -> None:
        self.wanted, self.reached = wanted, reached
        super().__init__(
            f"Pruning should end at a sparsity of {wanted:.0%} and ended at {reached:.0%}. "
            "Pass the callbacks on to fit, and train at least until end_step."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TfmotResult:
    """A new model and what was done to it.

    layers: names of the layers that changed; sparsity: zeros / weights in their kernels;
    num_clusters: the largest number of distinct values in one kernel, None when not clustered.
    """

    model: Any
    step: Literal["prune", "cluster", "aware"]
    layers: tuple[str, ...]
    sparsity: float
    num_clusters: int | None


def prune_with_tfmot(
    model: Any,
    train: TrainLegacy,
    *,
    sparsity: float,
    end_step: int,
    begin_step: int = 0,
    frequency: int = 10,
) -> TfmotResult:
    """Prune the kernels of a tf_keras model while it is trained further.

    Args:
        model: built; is not changed.
        train: runs at least `end_step` optimizer steps.
        sparsity: of each kernel in the end, inside (0, 1).
        end_step: here the final sparsity is reached, along the cubic schedule.
        begin_step: until here nothing is pruned.
        frequency: steps between two updates of the masks.

    Raises:
        LegacyKerasOnlyError: not a tf_keras model.
        TfmotRefusedError: TFMOT cannot wrap it.
        StepWithoutEffectError: training ended before the sparsity was reached.
        MissingExtraError: TFMOT is not installed.
    """
    if not 0 < sparsity < 1:
        raise ValueError(f"a sparsity lies between 0 and 1, not at {sparsity}")
    if not 0 <= begin_step < end_step:
        raise ValueError(f"pruning cannot begin at step {begin_step} and end at {end_step}")
    tfmot = _import_tfmot(model)
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=begin_step,
        end_step=end_step,
        frequency=frequency,
    )
    wrapped = _wrapped(
        "prune",
        model,
        lambda copy: tfmot.sparsity.keras.prune_low_magnitude(copy, pruning_schedule=schedule),
    )
    train(wrapped, [tfmot.sparsity.keras.UpdatePruningStep()])
    result = _result("prune", tfmot.sparsity.keras.strip_pruning(wrapped), None)
    if result.sparsity < sparsity - 0.02:
        raise StepWithoutEffectError(wanted=sparsity, reached=result.sparsity)
    return result


def cluster_with_tfmot(model: Any, train: TrainLegacy, *, num_clusters: int) -> TfmotResult:
    """Let each kernel of a tf_keras model share `num_clusters` values, which training adapts.

    Bits for a weight are then ceil(log2(num_clusters)) plus the table; the model's file shrinks only when it
    is packed or compressed.

    Raises:
        LegacyKerasOnlyError, TfmotRefusedError, MissingExtraError: see prune_with_tfmot.
    """
    if num_clusters < 2:
        raise ValueError(f"{num_clusters} clusters hold no information; take at least 2")
    tfmot = _import_tfmot(model)
    clustering = tfmot.clustering.keras
    first_values = clustering.CentroidInitialization.KMEANS_PLUS_PLUS
    wrapped = _wrapped(
        "cluster",
        model,
        lambda copy: clustering.cluster_weights(
            copy, number_of_clusters=num_clusters, cluster_centroids_init=first_values
        ),
    )
    train(wrapped, [])
    return _result("cluster", clustering.strip_clustering(wrapped), num_clusters)


def train_aware_with_tfmot(model: Any, train: TrainLegacy) -> TfmotResult:
    """Train a tf_keras model further with 8-bit rounding in its forward pass.

    The result keeps the ranges that it learned. Convert it with the form dynamic-int8: the converter finds
    the ranges in the graph and makes full integers of them, without calibration inputs.

    Raises:
        LegacyKerasOnlyError, TfmotRefusedError, MissingExtraError: see prune_with_tfmot.
    """
    tfmot = _import_tfmot(model)
    wrapped = _wrapped("aware", model, tfmot.quantization.keras.quantize_model)
    train(wrapped, [])
    return _result("aware", wrapped, None)


def _import_tfmot(model: Any) -> Any:
    """TFMOT, after a look at the model: what it is decides, whether or not TFMOT is installed."""
    if not any(base.__module__.split(".")[0] == "tf_keras" for base in type(model).__mro__):
        raise LegacyKerasOnlyError(model)
    try:
        import tensorflow_model_optimization as tfmot
    except ImportError as error:
        raise MissingExtraError(extra="tfmot", package="tensorflow-model-optimization") from error
    return tfmot


def _wrapped(step: str, model: Any, wrap: Callable[[Any], Any]) -> Any:
    """A wrapped copy: TFMOT's wrappers share the weights of what they wrap."""
    import tf_keras

    try:
        copy = tf_keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return wrap(copy)
    except (ValueError, RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        raise TfmotRefusedError(step, (str(error).splitlines() or [type(error).__name__])[0]) from error


def _result(step: Literal["prune", "cluster", "aware"], model: Any, num_clusters: int | None) -> TfmotResult:
    kernels = {
        layer.name: np.concatenate([weight.numpy().ravel() for weight in layer_kernels])
        for layer in model.layers
        if (layer_kernels := [weight for weight in layer.weights if _is_kernel(weight.name)])
    }
    num_zeros = sum(int((kernel == 0).sum()) for kernel in kernels.values())
    return TfmotResult(
        model=model,
        step=step,
        layers=tuple(kernels),
        sparsity=num_zeros / max(1, sum(kernel.size for kernel in kernels.values())),
        num_clusters=None
        if num_clusters is None
        else max((len(np.unique(kernel)) for kernel in kernels.values()), default=0),
    )


def _is_kernel(name: str) -> bool:
    """Yes for "dense/kernel:0" and "depthwise_kernel:0", no for learned ranges such as "kernel_min:0"."""
    return re.search(r"kernel(:\d+)?$", name) is not None

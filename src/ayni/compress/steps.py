"""The steps that a pipeline is made of, as a job names them.

Light on purpose (no torch): `ayni plan` reads them too. Field names are the keys of job.yaml. What a step
does to a model is in `ayni.compress.draft`, how its result is stored in `ayni.compress.stored_forms`.

    change the model      prune, factorize, fold, distill, recover    each goes on from the one before it
    store it in a form    quantize, share, half                       each begins with the model before them

Not covered: embeddings that are factorized, activations below 8 bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

PruneMethod = Literal["sparsegpt", "wanda", "magnitude", "global_magnitude"]
QuantizeMode = Literal["auto", "static", "asymmetric", "dynamic", "smoothed", "mixed", "weights"]
QuantizeMethod = Literal["gptq", "nearest"]
QuantizeRuntime = Literal["onnxruntime", "openvino", "torch", "packed", "litert", "keras"]
HalfType = Literal["bfloat16", "float16"]

FORBID_EXTRA: dict[str, str] = {"extra": "forbid"}
DEFAULT_CHANNELS = 0.5
DEFAULT_RATIO = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneStep:
    """Remove what matters least: exactly one of channels, heads, weights, pattern and threshold.

    channels: fraction of the channels of every layer that goes, lowest magnitude first, so that the model is
        really smaller and really faster. The layers that make the output keep theirs. 0.5, which is taken
        where nothing is named, leaves about a quarter of the parameters.
    heads: fraction of the attention heads that goes, those that add least to their layer's output.
    weights: fraction of single weights that become zero. Makes files smaller, and no CPU faster.
    pattern: n of every m neighbouring weights stay, as in "2:4".
    threshold: weights with |w| <= threshold become zero. A fixed number fits one model and not the next.
    method: how single weights are chosen. "sparsegpt" moves the others to make up for them; "wanda" weighs
        them by their inputs; "magnitude" by size alone in each layer, "global_magnitude" in the whole model.
    across_layers: rank channels or heads of all layers together, so that unimportant layers lose more.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    channels: float | None = None
    heads: float | None = None
    weights: float | None = None
    pattern: str | None = None
    threshold: float | None = None
    method: PruneMethod = "sparsegpt"
    across_layers: bool = False

    def __post_init__(self) -> None:
        named = [name for name in _PRUNED if getattr(self, name) is not None]
        if not named:
            object.__setattr__(self, "channels", DEFAULT_CHANNELS)
        if len(named) > 1:
            raise ValueError(f"prune names one of {', '.join(_PRUNED)}, not {' and '.join(named)}")
        for name in ("channels", "heads", "weights"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"prune.{name} is a fraction between 0 and 1, not {value}")
        if self.threshold is not None and not self.threshold > 0:
            raise ValueError(f"prune.threshold must be above 0, not {self.threshold}")
        if self.pattern is not None and not _is_n_of_m(self.pattern):
            raise ValueError(f"prune.pattern is n:m with 0 < n < m, as in '2:4', not {self.pattern!r}")

    @property
    def makes_masks(self) -> bool:
        """Whether single weights become zero; else whole channels or heads go."""
        return self.channels is None and self.heads is None


_PRUNED = ("channels", "heads", "weights", "pattern", "threshold")


def _is_n_of_m(pattern: str) -> bool:
    parts = pattern.split(":")
    return len(parts) == 2 and all(part.isdecimal() for part in parts) and 0 < int(parts[0]) < int(parts[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorizeStep:
    """Put two thin layers in the place of each large one; train afterwards, for it costs much quality.

    energy: keep so much of the sum of squared singular values in each layer.
    ratio: weights after over weights before, over all layers together; 0.5 where neither is named.
    uses_data: let the error count where the training data's inputs are.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    energy: float | None = None
    ratio: float | None = None
    uses_data: bool = True

    def __post_init__(self) -> None:
        if self.energy is None and self.ratio is None:
            object.__setattr__(self, "ratio", DEFAULT_RATIO)
        if self.energy is not None and self.ratio is not None:
            raise ValueError("factorize names energy or ratio, not both")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ValueError(f"factorize.energy is above 0 and at most 1, not {self.energy}")
        if self.ratio is not None and not 0 < self.ratio < 1:
            raise ValueError(f"factorize.ratio is between 0 and 1, not {self.ratio}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldStep:
    """Fold batch norms into the layers before them: one map less in each pair."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverStep:
    """Train on with the task's own loss; zeros of a pruned model stay zero.

    epochs: passes over the training split. learning_rate: peak of AdamW's cosine schedule.
    sparsity: prune gradually to this fraction of zeros meanwhile, fast at first and slower towards the end.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    epochs: int = 3
    learning_rate: float = 5e-3
    batch_size: int = 32
    sparsity: float | None = None

    def __post_init__(self) -> None:
        _check_training("recover", self.epochs, self.batch_size, self.learning_rate)
        if self.sparsity is not None and not 0 < self.sparsity < 1:
            raise ValueError(f"recover.sparsity is a fraction between 0 and 1, not {self.sparsity}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillStep:
    """Train the model to give the full model's answers again.

    temperature: T of the softened softmax, no unit; 4 is the common choice for ten or so classes.
    epochs: passes over the training split; a short recovery, not a second training.
    hard_label_weight: share of the task's own loss, the rest follows the teacher.
    learning_rate: peak of AdamW's cosine schedule; above the usual 1e-3, because a few epochs must do.
    batch_size: examples in one step; small, because recovery needs steps (3 epochs of the digits example
        with half of the channels gone: 0.2 points of test accuracy lost with 32 at 0.005, 0.7 with 64 at
        0.002).
    student: a method of the task that builds another, smaller model to be taught, instead of the pruned one.
    teacher: a model of the local hub (owner/name) that teaches instead of the full model; its code is run.
    features: pairs [layer of the student, layer of the teacher] whose outputs are compared too.
    feature_weight: of that comparison beside the answers.
    new_tokens: of language models; above 0 the teacher writes so many tokens after the beginning of each
        training example (of prompt_tokens), and the student learns to write the same.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    temperature: float = 4.0
    epochs: int = 3
    hard_label_weight: float = 0.3
    learning_rate: float = 5e-3
    batch_size: int = 32
    student: str | None = None
    teacher: str | None = None
    features: tuple[tuple[str, str], ...] = ()
    feature_weight: float = 1.0
    new_tokens: int = 0
    prompt_tokens: int = 16

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", tuple((str(a), str(b)) for a, b in map(_pair, self.features)))
        _check_training("distill", self.epochs, self.batch_size, self.learning_rate)
        if self.temperature <= 0:
            raise ValueError(f"distill.temperature must be above 0, not {self.temperature}")
        if not 0 <= self.hard_label_weight <= 1:
            raise ValueError(f"distill.hard_label_weight is between 0 and 1, not {self.hard_label_weight}")
        if self.feature_weight <= 0:
            raise ValueError(f"distill.feature_weight must be above 0, not {self.feature_weight}")
        if self.new_tokens < 0 or self.prompt_tokens < 1:
            raise ValueError(
                f"distill.new_tokens is at least 0 and prompt_tokens at least 1, not {self.new_tokens} and "
                f"{self.prompt_tokens}"
            )
        if self.new_tokens and self.features:
            raise ValueError("distill.features compares answers to the same text: not with new_tokens")


def _pair(pair: object) -> tuple[str, str]:
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return pair[0], pair[1]
    raise ValueError(f"distill.features is a list of pairs [student layer, teacher layer], not {pair!r}")


def _check_training(step: str, epochs: int, batch_size: int, learning_rate: float) -> None:
    if epochs < 1 or batch_size < 1:
        raise ValueError(
            f"{step} needs at least 1 epoch of batches of 1, not epochs {epochs} and batch_size {batch_size}"
        )
    if learning_rate <= 0:
        raise ValueError(f"{step}.learning_rate must be above 0, not {learning_rate}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeStep:
    """Store weights as integers; with 8 bits, compute with them.

    bits: 8, 4, 3 or 2 of each weight.
    runtime: what runs the result. "onnxruntime" (8 and 4 bits) and "openvino" (8 and 4, an extra) compute
        with integers; "torch" unpacks a small file once and computes in floats; "packed" (8 and 4) computes
        with the packed weights in 16 bits, which makes language models write faster. Of models of Keras
        "litert" (8 bits) computes with integers; "keras" (8 and 4) makes the file smaller and the model
        slower. By default onnxruntime for 8 bits and torch below; of Keras litert for 8 and keras for 4.
    mode: of 8 bits in onnxruntime, openvino and litert. "static" fixes the range of activations from training
        data, "asymmetric" does so with a zero point for each (openvino), "dynamic" measures it in each call,
        "smoothed" moves outliers of activations into the weights before, "mixed" gives activations with
        outliers a range for each block, "weights" leaves activations as floats; "auto" is static for
        networks with convolutions and no attention, where it is the faster one, and dynamic for others:
        transformers lose far more accuracy to fixed ranges. In litert "auto" is dynamic.
    method: of torch and packed. "gptq" lets the other weights make up for each rounding error.
    group_size: weights that share a scale, below 8 bits.
    embedding_bits: 8, or 32 to leave embeddings alone.
    average_bits: of torch: choose the bits of each layer by its sensitivity, so that they are so many on
        average; `bits` is not looked at.
    epochs: of torch: train with rounded weights for so many passes (quantization-aware training).
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    bits: int = 8
    runtime: QuantizeRuntime | None = None
    mode: QuantizeMode = "auto"
    method: QuantizeMethod = "gptq"
    group_size: int = 32
    embedding_bits: int = 8
    average_bits: float | None = None
    epochs: int = 0

    def __post_init__(self) -> None:
        if self.bits not in (8, 4, 3, 2):
            raise ValueError(f"quantize.bits can be 8, 4, 3 or 2, not {self.bits}")
        self._check_runtime()
        if self.group_size < 2 or self.embedding_bits not in (8, 32) or self.epochs < 0:
            raise ValueError(
                f"quantize.group_size is at least 2, embedding_bits 8 or 32 and epochs at least 0, not "
                f"{self.group_size}, {self.embedding_bits} and {self.epochs}"
            )
        if self.average_bits is not None and not 2 < self.average_bits < 9:
            raise ValueError(f"quantize.average_bits is between 2 and 9, not {self.average_bits}")

    @property
    def torch_runtime(self) -> QuantizeRuntime:
        """What runs the result of a torch model."""
        if self.runtime is not None:
            return self.runtime
        is_packed = self.bits < 8 or self.average_bits is not None or self.epochs > 0
        return "torch" if is_packed else "onnxruntime"

    def _check_runtime(self) -> None:
        runtime = self.torch_runtime
        if runtime != "torch" and self.bits < 4:
            raise ValueError(f"{self.bits} bits run with `runtime: torch` only, not {runtime}")
        if runtime == "litert" and self.bits != 8:
            raise ValueError(f"`runtime: litert` has 8 bits, not {self.bits}. Use `runtime: keras` for 4")
        if runtime != "torch" and (self.average_bits is not None or self.epochs):
            raise ValueError("quantize.average_bits and quantize.epochs go with `runtime: torch`")
        if self.mode not in ("auto", "weights") and self.bits != 8:
            raise ValueError(f"quantize.mode {self.mode} is one of 8 bits, not of {self.bits}")
        if self.mode != "auto" and runtime not in ("onnxruntime", "openvino", "litert"):
            raise ValueError(f"quantize.mode goes with onnxruntime, openvino and litert, not with {runtime}")
        if self.mode in ("smoothed", "mixed") and runtime != "onnxruntime":
            raise ValueError(f"quantize.mode {self.mode} goes with onnxruntime")
        if self.mode == "asymmetric" and runtime != "openvino":
            raise ValueError("quantize.mode asymmetric goes with openvino")
        if self.mode == "weights" and runtime == "litert":
            raise ValueError("quantize.mode of litert is dynamic or static, not weights")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareStep:
    """Let the weights of each layer share a few values; a weight is then the number of one of them.

    values: of each layer; 16 take 4 bits a weight.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    values: int = 16

    def __post_init__(self) -> None:
        if not 2 <= self.values <= 256:
            raise ValueError(f"share.values is between 2 and 256, not {self.values}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfStep:
    """Compute and store in 16-bit floats, run by torch: fast where the processor multiplies them itself."""

    __pydantic_config__: ClassVar[dict[str, str]] = FORBID_EXTRA

    dtype: HalfType = "bfloat16"


Step = PruneStep | FactorizeStep | FoldStep | RecoverStep | DistillStep | QuantizeStep | ShareStep | HalfStep
STEP_CLASSES: Mapping[str, type[Step]] = {
    "prune": PruneStep,
    "factorize": FactorizeStep,
    "fold": FoldStep,
    "recover": RecoverStep,
    "distill": DistillStep,
    "quantize": QuantizeStep,
    "share": ShareStep,
    "half": HalfStep,
}
NUM_CALIBRATION_EXAMPLES = 256
STORING_STEPS = (QuantizeStep, ShareStep, HalfStep)
"""They end a pipeline: nothing can train what they make."""


def looks_at_data(step: Step) -> bool:
    """Whether a step takes statistics of calibration examples layer by layer, which takes long."""
    if isinstance(step, PruneStep):
        return step.heads is not None or (
            step.threshold is None and step.makes_masks and step.method in ("sparsegpt", "wanda")
        )
    if isinstance(step, QuantizeStep):
        is_packed = step.torch_runtime in ("torch", "packed") and not step.epochs
        return is_packed and (step.method == "gptq" or step.average_bits is not None)
    return isinstance(step, FactorizeStep) and step.uses_data

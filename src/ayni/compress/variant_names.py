"""Names of variants: what was done last, numbered where it was done before."""

from collections import Counter
from collections.abc import Iterable, Sequence

from ayni.compress.config import CompressConfig
from ayni.compress.steps import (
    DistillStep,
    FactorizeStep,
    FoldStep,
    HalfStep,
    PruneStep,
    QuantizeStep,
    RecoverStep,
    ShareStep,
    Step,
)


def variant_names(config: CompressConfig) -> list[str]:
    """Names of the candidates, in the order of the steps: pruned, distilled, int8; repeats are numbered."""
    return numbered(stem_of(entry.step) for entry in config.steps)


def numbered(stems: Iterable[str]) -> list[str]:
    """The same, where the second of a kind is called kind-2."""
    counts: Counter[str] = Counter()
    names = []
    for stem in stems:
        counts[stem] += 1
        names.append(stem if counts[stem] == 1 else f"{stem}-{counts[stem]}")
    return names


def pipeline_name(steps: Sequence[Step]) -> str:
    """One name for a whole pipeline, as in pruned50-recovered-int8."""
    return "-".join(f"{stem_of(step)}{_strength(step)}" for step in steps)


def stem_of(step: Step) -> str:
    """What a step makes, in a word."""
    if isinstance(step, PruneStep):
        return "sparse" if step.makes_masks else ("pruned" if step.channels is not None else "fewer-heads")
    if isinstance(step, QuantizeStep):
        return _quantized(step)
    if isinstance(step, HalfStep):
        return step.dtype
    return next(word for made, word in _WORDS.items() if isinstance(step, made))


_WORDS: dict[type[Step], str] = {
    FactorizeStep: "low-rank",
    FoldStep: "folded",
    RecoverStep: "recovered",
    DistillStep: "distilled",
    ShareStep: "shared",
}


def _quantized(step: QuantizeStep) -> str:
    bits = f"int{step.bits}" if step.average_bits is None else "mixed-bits"
    if step.mode in ("weights", "mixed", "smoothed", "asymmetric"):
        bits += f"-{step.mode}"
    runtime = step.torch_runtime
    is_usual = runtime == ("onnxruntime" if step.bits == 8 else "torch")
    return bits if is_usual or step.average_bits is not None else f"{bits}-{_SHORT[str(runtime)]}"


_SHORT = {"onnxruntime": "onnx", "openvino": "openvino", "torch": "stored", "packed": "packed"}


def _strength(step: Step) -> str:
    """How strong a step is, in percent; empty where its name says it."""
    if isinstance(step, PruneStep):
        share = step.channels or step.heads or step.weights
        return f"{100 * share:.0f}" if share else (step.pattern or f"{step.threshold:g}").replace(":", "of")
    if isinstance(step, FactorizeStep):
        return f"{100 * (step.ratio or step.energy or 0):.0f}"
    return str(step.values) if isinstance(step, ShareStep) else ""

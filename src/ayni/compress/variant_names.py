"""Names of variants: what was done last, numbered where it was done before."""

from collections.abc import Sequence

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
    names: list[str] = []
    for entry in config.steps:
        stem = stem_of(entry.step)
        count = sum(name == stem or name.startswith(f"{stem}-") for name in names)
        names.append(stem if count == 0 else f"{stem}-{count + 1}")
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
    if step.mode in ("weights", "mixed"):
        bits += f"-{step.mode}"
    is_usual = step.runtime == ("onnxruntime" if step.bits == 8 else "torch")
    return bits if is_usual or step.average_bits is not None else f"{bits}-{_SHORT[str(step.runtime)]}"


_SHORT = {"onnxruntime": "onnx", "openvino": "openvino", "torch": "stored", "packed": "packed"}


def _strength(step: Step) -> str:
    """How strong a step is, in percent; empty where its name says it."""
    if isinstance(step, PruneStep):
        share = step.channels or step.heads or step.weights
        return f"{100 * share:.0f}" if share else (step.pattern or f"{step.threshold:g}").replace(":", "of")
    if isinstance(step, FactorizeStep):
        return f"{100 * (step.ratio or step.energy or 0):.0f}"
    return str(step.values) if isinstance(step, ShareStep) else ""

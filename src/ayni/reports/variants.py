"""Which variant of a run's object is which, in what order they are read, and how they compare in speed.

A speed-up has two readings: against the model as it was trained, and against the same model in the same
runtime. The second is what compression did; the rest is what the runtime does for any model.

Not covered: choosing; that was done on the validation data before the object was written.
"""

from collections.abc import Mapping
from typing import Any

View = Mapping[str, Any]
Variant = Mapping[str, Any]

RUNTIMES = {
    "torch": "PyTorch",
    "packed": "PyTorch, packed weights",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "keras": "Keras",
    "litert": "LiteRT",
}
MAX_UNFOLDED = 8
"""As many variants fit a screen; of more, those that nobody would choose are folded away."""
ABOUT_THE_SAME = 1.05
"""Ratio of two medians within which neither is called faster."""


def chosen_variant(view: View) -> dict[str, Any] | None:
    """The variant that was chosen; None when none was."""
    return next((variant for variant in view["variants"] if variant["name"] == view["chosen"]), None)


def full_variant(view: View) -> dict[str, Any] | None:
    """The model that the variants are compared with: the first of the list."""
    return view["variants"][0] if view["variants"] else None


def kept_variant(view: View) -> dict[str, Any] | None:
    """What a user of the run ends up with: the chosen variant, else the full model."""
    return chosen_variant(view) or full_variant(view)


def same_runtime_variant(view: View, variant: Variant) -> dict[str, Any] | None:
    """The model without compression in the runtime of a variant; None when that was not measured."""
    runtime = "torch" if variant["runtime"] == "packed" else variant["runtime"]
    return next(
        (other for other in view["variants"] if other["runtime"] == runtime and not other["is_candidate"]),
        None,
    )


def speed_up(before: Variant, after: Variant) -> float | None:
    """How many times as fast the second is; None when a latency is unknown or not to be quoted."""
    seconds = [one["latency_p50_seconds"] for one in (before, after) if not one["latency_problem"]]
    return seconds[0] / seconds[1] if len(seconds) == 2 and all(seconds) else None


def is_slower(view: View, variant: Variant) -> bool:
    """Whether an inference takes longer than with the full model; unknown counts as no."""
    full = full_variant(view)
    ratio = None if full is None else speed_up(full, variant)
    return ratio is not None and ratio * ABOUT_THE_SAME < 1


def hidden_losses(variant: Variant) -> list[dict[str, Any]]:
    """Classes and slices that lost more than the whole did, beyond chance; the worst first.

    None of a variant that does not qualify: its mean tells already.
    """
    groups = (variant["changes"] or {}).get("groups", []) if variant["qualifies"] else []
    return sorted((group for group in groups if group["is_hidden_loss"]), key=lambda group: -group["drop"])


def in_reading_order(view: View) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Variants to show, and those to fold away.

    First what was not compressed and the chosen one, then the front, then the others by their score.
    Folded is, where there are many, what is neither of those, or loses too much. As listed where no front
    is known.
    """
    variants = list(view["variants"])
    if all(variant["is_on_front"] is None for variant in variants):
        return variants, []
    ordered = sorted(variants, key=lambda variant: _place(view, variant))
    if len(ordered) <= MAX_UNFOLDED:
        return ordered, []
    num_shown = sum(_rank(view, variant) < _BESIDE_THE_FRONT for variant in ordered)
    return ordered[:num_shown], ordered[num_shown:]


_ON_THE_FRONT, _BESIDE_THE_FRONT = 2, 3


def _place(view: View, variant: Variant) -> tuple[int, float]:
    # Without a score last; those that were not compressed stay as they are.
    score = -1e300 if variant["score"] is None else variant["score"]
    return _rank(view, variant), 0.0 if not variant["is_candidate"] else -score


def _rank(view: View, variant: Variant) -> int:
    if not variant["is_candidate"]:
        return 0
    if variant["name"] == view["chosen"]:
        return 1
    if not variant["qualifies"]:
        return _BESIDE_THE_FRONT + 1
    return _ON_THE_FRONT if variant["is_on_front"] else _BESIDE_THE_FRONT

"""Can an attribution be believed? Three checks and a verdict, stated beside the picture.

1. Deletion and insertion curves against random ink: see `curves.py`.
2. Randomisation: an attribution that looks the same when the model has forgotten all it learned does not
   tell of the model. Signed rank correlation between the attributions of the trained model and of the
   same model with re-initialised parameters, over the parts that carry something. Without signs, or with
   blank parts, any two maps are alike: the blank ones get 0 in both.
3. Completeness: integrated gradients and DeepLift promise to add up to f(x) - f(reference); how far they
   are off.

The verdict:

    not faithful   neither curve is better than random ink beyond chance, or the map does not depend on
                   what was learned (2 above its bound)
    faithful       both curves are, the map depends on what was learned or that could not be tested, and
                   the sum is right where it is promised
    unsure         anything else: the curves contradict each other, the sum is off, too few examples

Better beyond chance: the 95 % interval over examples of the difference of areas lies on the right side
of 0, and the gain is at least MIN_GAIN of what was left to gain: from the area of random ink down to 0, or up
to the highest probability on the curve. Chance alone is not enough. The map of an untrained network, shown
for a trained one, may beat random ink by luck of its weights: of 72 such maps on three networks of digits the
weaker of the two gains was 17 % at most, of the networks' own maps 51 to 80 %. Of a model that learned
nothing even the best order changes next to nothing, and there is no decision to explain.

Source: Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018, arXiv:1810.03292 (2; they compare
absolute values too and set no bound); Petsiuk et al. 2018 and Samek et al. 2017 (1); Sundararajan, Taly,
Yan, "Axiomatic attribution for deep networks", ICML 2017, arXiv:1703.01365 (3).

Not covered: re-initialising layer by layer; whether people understand the picture.
"""

import copy
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ayni.explain.attribution import Attributed, Method, class_logits
from ayni.explain.curves import CURVE_PASSES, Curves, draw_curves
from ayni.explain.explanation import Curve, SanityChecks, Verdict
from ayni.explain.parts import Parts

MAX_CHECKED, MIN_CHECKED = 64, 8
MAX_FORGOTTEN = 16
MAX_REINITIALISED = 3
BUDGET_FLOPS = 1e12
"""Of each check, about: some ten seconds on one core. Larger models get fewer examples, down to eight."""
RANDOMISATION_BOUND = 0.5
COMPLETENESS_BOUND = 0.1
MIN_GAIN = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is checked: test examples, those of them that are attributed again, by how many models."""

    num_examples: int = MAX_CHECKED
    num_forgotten: int = MAX_FORGOTTEN
    num_reinitialised: int = MAX_REINITIALISED


class _NothingToForgetError(Exception):
    """Internal: the model cannot be re-initialised, for this reason."""


def check_attributions(
    model: nn.Module, attributed: Attributed, *, effort: Effort, rng: np.random.Generator
) -> SanityChecks:
    """All checks on some examples, and the verdict.

    Args:
        model: In evaluation mode, on the CPU.
        attributed: What is checked; attributions of re-initialised models are made by the same method.
        effort: For the randomisation; the inputs are as many as they are.
        rng: Draws orders and parameters.

    Raises:
        UncheckableError: see `draw_curves`.
    """
    curves = draw_curves(model, attributed, rng=rng)
    correlation, notes = _randomisation(model, attributed.first(effort.num_forgotten), effort, rng)
    error = _completeness_error(model, attributed) if attributed.method.is_complete else None
    verdict, reasons = judge(curves, correlation, error)
    return SanityChecks(
        deletion=curves.deletion,
        insertion=curves.insertion,
        randomisation_correlation=correlation,
        randomisation_bound=RANDOMISATION_BOUND,
        completeness_error=error,
        verdict=verdict,
        reasons=reasons,
        notes=notes,
    )


def judge(curves: Curves, correlation: float | None, error: float | None) -> tuple[Verdict, list[str]]:
    """The verdict of the rules above, and its reasons in sentences."""
    deletion, insertion = curves.deletion, curves.insertion
    gains = gain_of_deletion(deletion), gain_of_insertion(insertion)
    better = (
        gains[0] >= MIN_GAIN and (deletion.difference_high or 0) < 0,
        gains[1] >= MIN_GAIN and (insertion.difference_low or 0) > 0,
    )
    reasons = [
        _told("Deleting first what it rates highest", deletion, gains[0], better[0]),
        _told("Inserting first what it rates highest", insertion, gains[1], better[1]),
    ]
    forgets = correlation is not None and correlation > RANDOMISATION_BOUND
    if correlation is not None:
        reasons.append(
            f"Its rank correlation with the attributions of an untrained model is {correlation:.2f}: "
            + (
                f"above {RANDOMISATION_BOUND}, so it does not tell what was learned."
                if forgets
                else f"at most {RANDOMISATION_BOUND}, so it depends on what was learned."
            )
        )
    is_off = error is not None and error > COMPLETENESS_BOUND
    if error is not None:
        verb = "more than" if is_off else "within"
        reasons.append(
            f"Its sum misses the change it explains by {error:.1%} ({verb} {COMPLETENESS_BOUND:.0%})."
        )
    if deletion.difference_low is None:
        return "unsure", [*reasons, f"{deletion.num_examples} examples are too few to tell from chance."]
    if forgets or not any(better):
        return "not faithful", reasons
    return ("faithful" if all(better) and not is_off else "unsure"), reasons


def gain_of_deletion(curve: Curve) -> float:
    """Share of random ink's area that the attributions take away; 1 is all."""
    return (curve.area_random - curve.area_attributed) / curve.area_random if curve.area_random > 0 else 0.0


def gain_of_insertion(curve: Curve) -> float:
    """Share that is won of what random ink leaves below the highest probability on the curve.

    Which may be higher than that of the whole input: parts that speak against the answer are still missing.
    """
    room = max(curve.attributed) - curve.area_random
    return (curve.area_attributed - curve.area_random) / room if room > 0 else 0.0


def _told(order: str, curve: Curve, gain: float, is_better: bool) -> str:
    interval = (
        ""
        if curve.difference_low is None
        else f" (difference {curve.difference_low:+.3f} to {curve.difference_high:+.3f})"
    )
    verdict = "better" if is_better else "not enough"
    return (
        f"{order} gives the answer a mean probability of {curve.area_attributed:.3f} along the way, random "
        f"order {curve.area_random:.3f}{interval}: a gain of {gain:.0%} of what is possible, "
        f"{verdict} ({MIN_GAIN:.0%} and beyond chance is asked for)."
    )


def affordable_effort(model: nn.Module, example: torch.Tensor, method: Method) -> Effort:
    """What fits into the budget, by the operations that torch counts in one forward pass.

    Counted, not timed, so that the same job makes the same checks on every machine.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(example)
    flops = max(1, counter.get_total_flops())
    num_examples = int(BUDGET_FLOPS / (flops * (CURVE_PASSES + method.passes)))
    num_examples = min(MAX_CHECKED, max(MIN_CHECKED, num_examples))
    num_forgotten = min(MAX_FORGOTTEN, num_examples)
    num_models = int(BUDGET_FLOPS / (flops * method.passes * num_forgotten))
    return Effort(
        num_examples=num_examples,
        num_forgotten=num_forgotten,
        num_reinitialised=min(MAX_REINITIALISED, max(1, num_models)),
    )


def _randomisation(
    model: nn.Module, attributed: Attributed, effort: Effort, rng: np.random.Generator
) -> tuple[float | None, list[str]]:
    """Mean signed rank correlation with re-initialised models; None and the reason without one."""
    parts, found = attributed.parts, []
    try:
        for _ in range(effort.num_reinitialised):
            untrained = reinitialised(model, seed=int(rng.integers(2**31)))
            forgot = attributed.method.attribute(untrained, parts.inputs, attributed.classes)
            found.append(rank_correlation(parts, attributed.values, forgot))
    except _NothingToForgetError as error:
        return None, [f"Not compared with an untrained model: {error}."]
    known = [each for each in found if each is not None]
    if not known:
        return None, ["Not compared with an untrained model: its attributions, or these, are all the same."]
    return float(np.mean(known)), []


def reinitialised(model: nn.Module, *, seed: int) -> nn.Module:
    """A copy of the model that has forgotten all it learned.

    Modules that know how (`reset_parameters`) draw their parameters anew; others' are drawn from a normal
    distribution with the mean and standard deviation that they have, and those that are all the same
    stay. Statistics of normalisation layers start over.
    """
    try:
        untrained = copy.deepcopy(model)
    except Exception as error:  # of the user's model
        raise _NothingToForgetError(f"the model cannot be copied ({type(error).__name__})") from error
    before = {name: value.detach().clone() for name, value in untrained.named_parameters()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in untrained.modules():
            reset: Any = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for value in module.parameters(recurse=False):
                if value.is_floating_point() and value.numel() > 1:
                    value.copy_(torch.randn_like(value) * value.std() + value.mean())
    if all(torch.equal(value, before[name]) for name, value in untrained.named_parameters()):
        raise _NothingToForgetError("the model has no parameters that can be drawn anew")
    return untrained.eval()


def rank_correlation(parts: Parts, first: torch.Tensor, second: torch.Tensor) -> float | None:
    """Mean signed Spearman correlation over the parts that carry something; None when nothing varies."""
    from scipy.stats import rankdata

    found = []
    for carries, *rows in zip(
        parts.carries.numpy(), parts.scores(first).numpy(), parts.scores(second).numpy(), strict=True
    ):
        ranks = [rankdata(row[carries]) for row in rows]
        if carries.sum() > 1 and all(np.ptp(rank) > 0 for rank in ranks):
            found.append(float(np.corrcoef(*ranks)[0, 1]))
    return float(np.mean(found)) if found else None


def _completeness_error(model: nn.Module, attributed: Attributed) -> float | None:
    """Mean error of the sum over the mean change, so that no single input that changes nothing decides."""
    inputs, rows = attributed.parts.inputs, torch.arange(len(attributed.classes))
    with torch.no_grad():
        whole, blank = class_logits(model(inputs)), attributed.method.blank_logits(model, inputs)
    change = (whole - blank)[rows, attributed.classes]
    scale = float(change.abs().mean())
    error = float((attributed.values.flatten(1).sum(1) - change).abs().mean()) / scale if scale else math.nan
    return error if math.isfinite(error) else None

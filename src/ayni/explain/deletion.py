"""The deletion check: is what an attribution names really what the answer rests on?

Legend: N examples, P parts of one input (pixels, features, symbols).

Source: Samek et al., "Evaluating the visualization of what a deep neural network has learned", 2017,
arXiv:1509.06321 (region perturbation). Ours removes all parts at once, and compares with random parts
that carry something (random ink, not random paper), without which any map looks right.

Not covered: inputs without any part carry no decision; replaced parts may look like nothing that the
model was trained on, which hurts both sides of the comparison.
"""

import math

import numpy as np
import torch
from torch import nn

from ayni.explain.attribution import REFERENCE, class_probabilities
from ayni.explain.explanation import DeletionCheck

DELETED_FRACTION = 0.2
NUM_RANDOM_DRAWS = 5


def check_by_deletion(
    model: nn.Module,
    inputs: torch.Tensor,
    attributions: torch.Tensor,
    classes_N: torch.Tensor,
    *,
    rng: np.random.Generator,
) -> DeletionCheck:
    """Mean probability of the answer before and after removing the top fifth, or a random fifth."""
    flat_NP = inputs.flatten(1)
    carries_NP = flat_NP != REFERENCE
    top = _highest(attributions.flatten(1), carries_NP)
    random_draws = [
        _highest(torch.from_numpy(rng.random(flat_NP.shape)), carries_NP) for _ in range(NUM_RANDOM_DRAWS)
    ]

    def probability(mask_NP: torch.Tensor) -> float:
        changed = flat_NP.masked_fill(mask_NP, REFERENCE).view(inputs.shape)
        return float(class_probabilities(model, changed)[torch.arange(len(inputs)), classes_N].mean())

    return DeletionCheck(
        num_examples=len(inputs),
        fraction=DELETED_FRACTION,
        probability_before=probability(torch.zeros_like(carries_NP)),
        probability_after_top=probability(top),
        probability_after_random=sum(map(probability, random_draws)) / NUM_RANDOM_DRAWS,
    )


def _highest(ranking_NP: torch.Tensor, carries_NP: torch.Tensor) -> torch.Tensor:
    """Mask of the highest-ranked fifth (rounded up) of the parts of each example that carry something."""
    mask_NP = torch.zeros_like(carries_NP)
    for row, carries_P in enumerate(carries_NP):
        parts = carries_P.nonzero().flatten()
        count = math.ceil(DELETED_FRACTION * len(parts))
        if count:
            mask_NP[row, parts[ranking_NP[row, parts].topk(count).indices]] = True
    return mask_NP

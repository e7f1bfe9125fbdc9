"""Covariance of few examples: the sample's own, drawn towards a sphere by as much as it is uncertain.

Legend: N examples, D numbers each.

Not covered: other targets than a multiple of the identity.
"""

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def ledoit_wolf(centred_ND: NDArray[np.floating]) -> tuple[Doubles, float]:
    """Covariance [D, D] of centred examples, and how far it was shrunk, from 0 to 1.

        S* = (1 - a) S + a m I,   m = trace(S) / D
        d2 = |S - m I|^2 / D,   b2 = min(d2, sum_n |x_n x_n' - S|^2 / (N^2 D)),   a = b2 / d2

    S is the mean of x x' over N. Without spread at all, or with one example, a is 1. Cost: O(N D^2).

    Source: Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88, 2004, section 3.3.
    """
    x_ND = np.asarray(centred_ND, dtype=np.float64)
    num, size = x_ND.shape
    sample_DD = x_ND.T @ x_ND / num
    mean_variance = float(np.trace(sample_DD)) / size
    squares_N = (x_ND**2).sum(axis=1)
    total = float((sample_DD**2).sum())
    distance = total / size - mean_variance**2
    # |x x' - S|^2 summed over examples is sum |x|^4 - N |S|^2.
    noise = (float((squares_N**2).sum()) / num - total) / (num * size)
    share = 1.0 if distance <= 0 or num < 2 else min(1.0, max(0.0, noise / distance))
    shrunk_DD = (1 - share) * sample_DD + share * mean_variance * np.eye(size)
    return shrunk_DD, share

"""Rules that make one update of many, some of which may be wrong: a reference to read, and to test against.

| rule | withstands f wrong among N updates | cost | judges |
|---|---|---|---|
| `mean` | none; cut to twice the median length they do bounded harm | O(N D) | - |
| `trimmed_mean`, `median` | N >= 2f + 1 | O(N (log N)^2 D) | each coordinate |
| `krum`, `multi_krum` | N >= 2f + 3 | O(N^2 D) | distances |
| `bulyan` | N >= 4f + 3 | O(N^2 D) | distances, then each coordinate |
| `geometric_median` | N >= 2f + 1 | O(N^2 D) | distances |
| `centered_clip` | N >= 2f + 1 | O(N^2 D) | distances |

Every rule but `mean` counts each update once, whatever the examples behind it: a learner that has done
much must not count as a majority. Here each rule takes whole updates; merge.py applies the same functions
chunk by chunk. Those that judge by distance need only inner products (gram_weights.py) and give a
weighted sum; those that judge each coordinate use sorted rows (sorting_network.py).

Not covered: liars who stay as close to the others as honest learners do and push a little each round;
no rule that ignores history can find them. Learners with very different data look like liars: `bucketing`
helps. Values must be finite: merge.check_update refuses others before a rule sees them.

Legend: N updates, M updates after grouping, D parameters flattened.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.errors import UserError
from ayni.train import gram_weights
from ayni.train.gram_weights import gram_matrix
from ayni.train.sorting_network import reduce_sorted, sum_of_ranks
from ayni.train.strategy_config import SMALLEST_COHORT, RuleName

Array: TypeAlias = NDArray[Any]

# With the last aggregate as its start one step is enough (the paper); the others are for the first round.
CENTERED_CLIP_ITERATIONS = 3


class CohortTooSmallError(UserError):
    """Too few updates for a rule to withstand the wrong ones that it should."""

    def __init__(self, *, rule: str, num_updates: int, num_faulty: int, needed: int) -> None:
        self.rule = rule
        self.num_updates = num_updates
        self.num_faulty = num_faulty
        self.needed = needed
        fewest = 2 * num_faulty + 1
        other = f", or choose a rule that needs fewer (trimmed_mean: {fewest})" if fewest < needed else ""
        super().__init__(
            f"aggregation.rule {rule} withstands {num_faulty} wrong of {needed} updates or more, and there "
            f"are {num_updates}. Raise train.learners, lower aggregation.num_faulty{other}."
        )


def check_cohort(rule: RuleName, num_updates: int, num_faulty: int, *, bucket_size: int = 1) -> None:
    """Refuse a cohort in which the rule promises nothing.

    Raises:
        CohortTooSmallError: fewer updates than the rule needs, times the size of the groups.
    """
    smallest: Callable[[int], int] = SMALLEST_COHORT[rule]
    needed = smallest(num_faulty) * bucket_size
    if num_updates < needed:
        raise CohortTooSmallError(rule=rule, num_updates=num_updates, num_faulty=num_faulty, needed=needed)


def mean(updates_ND: Array, weights_N: Array) -> Array:
    """Weighted mean, out = sum_i w_i x_i / sum w.

    Tolerates nobody: one update moves it anywhere, unless `norm_clip` came before. Needs one update.
    Cost: O(N D).
    """
    shares_N = np.asarray(weights_N, np.float64) / np.sum(weights_N)
    return _combine(shares_N, updates_ND)


def norm_clip(updates_ND: Array, *, factor: float = 2.0) -> Array:
    """The updates, none longer than `factor` times the median length.

        x_i min(1, c / ||x_i||),    c = factor * median_j ||x_j||

    Tolerates up to (N - 1) / 2 updates of any length, in so far as the cut ones do no more harm than
    honest ones that are wrong. Needs three; fewer are returned as they are. Cost: O(N D).

    Source: Sun et al., "Can You Really Backdoor Federated Learning?", 2019, section 4, arXiv:1911.07963.
    They choose c by hand; ours is a multiple of the median, which needs no choice.
    """
    squares_N = np.einsum("nd,nd->n", updates_ND, updates_ND, dtype=np.float64)
    scales_N = gram_weights.clip_scales(squares_N, factor=factor)
    clipped_ND: Array = updates_ND * scales_N.astype(updates_ND.dtype)[:, None]
    return clipped_ND


def bucketing(updates_ND: Array, *, bucket_size: int, seed: int) -> Array:
    """Means of random groups of `bucket_size` updates, [M, D] with M = ceil(N / bucket_size).

    For learners with different data: the groups differ less from each other than their members do, so that
    a rule takes fewer honest ones for liars. f liars spoil at most f groups: the rule afterwards must
    withstand f among M. Cost: O(N D).

    Source: Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing",
    ICLR 2022, algorithm 1, arXiv:2006.09365 (s = 2 there).
    """
    mix_MN = gram_weights.bucket_matrix(len(updates_ND), bucket_size, seed=seed)
    buckets_MD: Array = mix_MN.astype(updates_ND.dtype) @ updates_ND
    return buckets_MD


def trimmed_mean(updates_ND: Array, *, num_trimmed: int) -> Array:
    """Mean of each coordinate without its num_trimmed lowest and highest values.

        out[d] = mean(sort(updates[:, d])[num_trimmed : N - num_trimmed])

    Tolerates num_trimmed wrong updates: the result stays between honest values in each coordinate. Needs
    2 num_trimmed + 1. Cost: O(N (log N)^2 D).

    Source: Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML
    2018, definition 2, arXiv:1803.01498. Ours takes a count, the paper a fraction.

    Raises:
        CohortTooSmallError: fewer updates than that.
    """
    num_updates = len(updates_ND)
    check_cohort("trimmed_mean", num_updates, num_trimmed)
    summed_D = sum_of_ranks(updates_ND, num_trimmed, num_updates - num_trimmed)
    summed_D /= num_updates - 2 * num_trimmed
    return summed_D


def median(updates_ND: Array) -> Array:
    """Middle value of each coordinate; the mean of the two middle ones when N is even.

    Tolerates (N - 1) // 2 wrong updates, with an error that grows with the square root of D. Needs one.
    Cost: O(N (log N)^2 D).

    Source: Yin et al., ICML 2018, definition 1, arXiv:1803.01498.
    """
    return trimmed_mean(updates_ND, num_trimmed=(len(updates_ND) - 1) // 2)


def krum(updates_ND: Array, *, num_faulty: int) -> Array:
    """The update that is closest to its nearest N - f - 2 others.

        score(i) = sum of ||x_i - x_j||^2 over the N - f - 2 nearest j;    out = x_argmin

    Tolerates f wrong updates, at the price of throwing away the work of all but one. Needs 2f + 3.
    Cost: O(N^2 D).

    Source: Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent",
    NIPS 2017, section 4, arXiv:1703.02757.

    Raises:
        CohortTooSmallError: fewer updates than that.
    """
    check_cohort("krum", len(updates_ND), num_faulty)
    return multi_krum(updates_ND, num_faulty=num_faulty, num_kept=1)


def multi_krum(updates_ND: Array, *, num_faulty: int, num_kept: int | None = None) -> Array:
    """Mean of the `num_kept` updates with the best Krum scores; N - f of them when not given.

    Tolerates f wrong updates. Needs 2f + 3. Cost: O(N^2 D).

    Source: Blanchard et al., NIPS 2017, section 6, arXiv:1703.02757. The proof of El Mhamdi, Guerraoui and
    Rouault ("Fast and Robust Distributed Learning in High Dimension", 2019, arXiv:1905.04374) keeps at most
    N - f - 2; we keep N - f, so that no honest work is lost when the wrong ones stand out.

    Raises:
        CohortTooSmallError: fewer updates than that.
    """
    num_updates = len(updates_ND)
    check_cohort("multi_krum", num_updates, num_faulty)
    num_kept = num_updates - num_faulty if num_kept is None else num_kept
    weights_N = gram_weights.multi_krum_weights(
        gram_matrix(updates_ND), num_faulty=num_faulty, num_kept=num_kept
    )
    return _combine(weights_N, updates_ND)


def bulyan(updates_ND: Array, *, num_faulty: int) -> Array:
    """Select theta = N - 2f updates by Krum, then of each coordinate the mean of those nearest its median.

        selection: theta times the Krum choice among what is left;    beta = theta - 2f
        out[d] = mean of the beta selected values closest to their median

    Tolerates f wrong updates, also those that hide a big error in few coordinates, which Krum alone lets
    through. Needs 4f + 3. Cost: O(N^2 D).

    Source: El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium",
    ICML 2018, section 4, arXiv:1802.07927. The authors' later code selects N - 2f - 2; ours follows the
    paper, and Krum counts at least one neighbour when few updates are left.

    Raises:
        CohortTooSmallError: fewer updates than that.
    """
    check_cohort("bulyan", len(updates_ND), num_faulty)
    selected = gram_weights.bulyan_selection(gram_matrix(updates_ND), num_faulty=num_faulty)
    return mean_around_median(updates_ND[selected], num_kept=len(selected) - 2 * num_faulty)


def mean_around_median(updates_ND: Array, *, num_kept: int) -> Array:
    """Mean of the `num_kept` values of each coordinate that are closest to its median.

    In sorted order these are neighbours, so that the window of `num_kept` whose farther end is nearest to
    the median holds them; of two equally good windows the lower one. Cost: O(N (N + (log N)^2) D).
    """
    num_updates = len(updates_ND)

    def best_window(rows: list[Array], out_B: Array) -> None:
        median_B = rows[(num_updates - 1) // 2] / 2 + rows[num_updates // 2] / 2
        nearest_B = np.full_like(median_B, np.inf)
        for start in range(num_updates - num_kept + 1):
            window = rows[start : start + num_kept]
            reach_B = np.maximum(median_B - window[0], window[-1] - median_B)
            is_better_B = reach_B < nearest_B
            np.copyto(nearest_B, reach_B, where=is_better_B)
            np.copyto(out_B, sum(window[1:], window[0]) / num_kept, where=is_better_B)

    return reduce_sorted(updates_ND, best_window)


def geometric_median(updates_ND: Array) -> Array:
    """The point with the smallest sum of distances to the updates (RFA).

        out = argmin_v sum_i ||v - x_i||,    by smoothed Weiszfeld steps

    Tolerates (N - 1) // 2 wrong updates. Needs one. Cost: O(N^2 D), the steps themselves nothing.

    Source: Pillutla, Kakade, Harchaoui, "Robust Aggregation for Federated Learning", IEEE TSP 2022,
    algorithm 2, arXiv:1912.13445. They weight by examples and take a few steps over the updates; ours
    counts each update once and goes on to convergence, for the steps run on inner products.
    """
    return _combine(gram_weights.geometric_median_weights(gram_matrix(updates_ND)), updates_ND)


def centered_clip(
    updates_ND: Array, *, previous_D: Array | None = None, num_iterations: int = CENTERED_CLIP_ITERATIONS
) -> Array:
    """The last aggregate, moved by the mean of the clipped differences from it.

        v <- v + mean_i (x_i - v) min(1, tau / ||x_i - v||),    tau = median_i ||x_i - v||

    v starts at `previous_D`, the aggregate of the round before, or at zero. Tolerates (N - 1) // 2 wrong
    updates; because it remembers, small pushes in the same direction are bounded too. Needs one.
    Cost: O(N^2 D).

    Source: Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization", ICML 2021,
    equation CC, arXiv:2012.10333. The paper fixes tau and averages gradients with momentum on the workers;
    ours takes the median distance, and an update of many local steps in the place of the momentum.
    """
    start_D = np.zeros_like(updates_ND[0]) if previous_D is None else previous_D
    rows = np.concatenate([start_D[None], updates_ND])
    weights = gram_weights.centered_clip_weights(gram_matrix(rows), num_iterations=num_iterations)
    return _combine(weights, rows)


def rda_merge(updates_ND: Array, sample_weights_N: Array) -> Array:
    """Mean length times mean direction; for one tensor at a time.

        (sum_i w_i ||x_i|| / sum w) phi(sum_i w_i phi(x_i)),    phi(x) = x / ||x||

    The mean of N updates that partly disagree gets shorter as N grows; this one does not, so that the outer
    rate need not change when learners come or go. Tolerates nobody. Needs one update. Cost: O(N^2 D).

    Source: "Decoupled DiLoCo", 2026, arXiv:2604.21428, as described by others; the paper's formula for the
    length is said to be inconsistent. There w = tokens^2 / steps, which is proportional to the examples when
    all learners have the same batch size, as ours have.
    """
    weights_N = gram_weights.rda_weights(gram_matrix(updates_ND), np.asarray(sample_weights_N, np.float64))
    return _combine(weights_N, updates_ND)


def _combine(weights_N: Array, updates_ND: Array) -> Array:
    """sum_i weights[i] updates[i], without rows of weight zero: 0 times a huge value may be NaN."""
    used = np.flatnonzero(weights_N)
    combined_D: Array = weights_N[used].astype(updates_ND.dtype) @ updates_ND[used]
    return combined_D

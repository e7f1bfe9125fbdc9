"""What the distance-based rules need of a model: one small matrix of inner products.

        gram[i, j] = <x_i, x_j>,    ||x_i - x_j||^2 = gram[i, i] + gram[j, j] - 2 gram[i, j]

Inner products add up over the chunks of a model, gram = sum_p X_p X_p^T, so a model is never stacked in
memory: one pass over the chunks sums the matrix, the functions below turn it into a weight for each
update, and a second pass forms the weighted sum. Each of them is O(N^2) to O(N^3), whatever the model's
size. What the rules tolerate and where they come from is in aggregation.py.

Not covered: too small cohorts; aggregation.check_cohort refuses them before.

Legend: N updates, M updates left after grouping, B coordinates of one block.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

# Bytes of one block in float64: small enough for the cache, long enough for the matrix product.
BLOCK_BYTES = 2**20
# Distances below this share of the median length count as equal to it; keeps 1 / distance finite.
SMOOTHING = 1e-6
WEISZFELD_STEPS = 100
# Two updates have no middle one: the median length would be pulled up by the longer.
SMALLEST_CLIPPED = 3


def gram_matrix(rows: Sequence[Array] | Array) -> Array:
    """Inner products of N flat arrays, float64 [N, N].

    Products and sums in float64: the squares of float32 values do not overflow there, and the differences
    of inner products that make a distance keep their digits. Cost: O(N^2 E), one block of memory.
    """
    num_rows, num_coordinates = len(rows), len(rows[0])
    gram_NN = np.zeros((num_rows, num_rows))
    block = max(1024, BLOCK_BYTES // (8 * num_rows))
    block_NB = np.empty((num_rows, min(block, num_coordinates)))
    for start in range(0, num_coordinates, block):
        stop = min(start + block, num_coordinates)
        for row, values in enumerate(rows):
            block_NB[row, : stop - start] = values[start:stop]
        part_NB = block_NB[:, : stop - start]
        gram_NN += part_NB @ part_NB.T
    return gram_NN


def squared_distances(gram_NN: Array) -> Array:
    """||x_i - x_j||^2 for each pair; rounding cannot make one negative."""
    squares_N = np.diag(gram_NN)
    # The sum with its transpose makes both triangles equal to the last bit, so that ties are ties.
    products_NN = gram_NN + gram_NN.T
    distances_NN: Array = np.maximum(squares_N[:, None] + squares_N[None, :] - products_NN, 0.0)
    np.fill_diagonal(distances_NN, 0.0)
    return distances_NN


def clip_scales(squared_lengths_N: Array, *, factor: float) -> Array:
    """min(1, factor * median length / length) for each update; 1 for all of fewer than three."""
    lengths_N = np.sqrt(np.asarray(squared_lengths_N, np.float64))
    if len(lengths_N) < SMALLEST_CLIPPED:
        return np.ones(len(lengths_N))
    # A limit of zero means that more than half are zero: the rest is cut to zero too, as the formula says.
    return _shares_within(factor * float(np.median(lengths_N)), lengths_N)


def bucket_matrix(num_updates: int, bucket_size: int, *, seed: int) -> Array:
    """Means of random groups as a matrix: row m holds 1 / size for the members of group m. [M, N]."""
    order_N = np.random.default_rng(seed).permutation(num_updates)
    num_buckets = -(-num_updates // bucket_size)
    mix_MN = np.zeros((num_buckets, num_updates))
    for bucket in range(num_buckets):
        members = order_N[bucket * bucket_size : (bucket + 1) * bucket_size]
        mix_MN[bucket, members] = 1 / len(members)
    return mix_MN


def krum_scores(gram_NN: Array, *, num_faulty: int) -> Array:
    """Sum of the squared distances to the N - num_faulty - 2 nearest others, at least one."""
    sorted_NN = np.sort(squared_distances(gram_NN), axis=1)
    num_neighbours = max(1, len(gram_NN) - num_faulty - 2)
    # Column 0 is the distance to itself.
    scores_N: Array = sorted_NN[:, 1 : 1 + num_neighbours].sum(axis=1)
    return scores_N


def krum_order(gram_NN: Array, *, num_faulty: int) -> list[int]:
    """Updates from the best Krum score to the worst.

    With one neighbour the two of the closest pair have the same score; then the one that is nearer to all
    others comes first, so that the order of the learners does not decide.
    """
    totals_N = squared_distances(gram_NN).sum(axis=1)
    order = np.lexsort((totals_N, krum_scores(gram_NN, num_faulty=num_faulty)))
    return [int(index) for index in order]


def multi_krum_weights(gram_NN: Array, *, num_faulty: int, num_kept: int) -> Array:
    """Equal weights for the `num_kept` updates with the lowest Krum scores."""
    weights_N = np.zeros(len(gram_NN))
    weights_N[krum_order(gram_NN, num_faulty=num_faulty)[:num_kept]] = 1 / num_kept
    return weights_N


def bulyan_selection(gram_NN: Array, *, num_faulty: int) -> list[int]:
    """N - 2 num_faulty updates, each the Krum choice among those not chosen before, in ascending order."""
    remaining = list(range(len(gram_NN)))
    selected: list[int] = []
    for _ in range(len(gram_NN) - 2 * num_faulty):
        order = krum_order(gram_NN[np.ix_(remaining, remaining)], num_faulty=num_faulty)
        selected.append(remaining.pop(order[0]))
    return sorted(selected)


def geometric_median_weights(gram_NN: Array) -> Array:
    """Weights of the point with the smallest sum of distances to all updates (smoothed Weiszfeld).

        a_i <- 1 / max(nu, ||v - x_i||), scaled to sum 1;    v = sum_i a_i x_i
        ||v - x_i||^2 = a^T G a - 2 (G a)_i + G_ii

    Starts at the mean; ends when v moves by less than 1e-6 of the median distance, or after 100 steps.
    """
    squares_N = np.diag(gram_NN)
    nu = max(SMOOTHING * float(np.sqrt(np.median(squares_N))), np.finfo(np.float64).tiny)
    weights_N: Array = np.full(len(gram_NN), 1 / len(gram_NN))
    for _ in range(WEISZFELD_STEPS):
        distances_N = np.maximum(nu, _distances_to(gram_NN, weights_N))
        before_N, weights_N = weights_N, 1 / distances_N / np.sum(1 / distances_N)
        # Measured on v: the weight of a huge outlier must go on shrinking when it is far below 1e-9.
        step_N = weights_N - before_N
        if step_N @ gram_NN @ step_N <= (SMOOTHING * float(np.median(distances_N))) ** 2:
            break
    return weights_N


def centered_clip_weights(gram_NN: Array, *, num_iterations: int) -> Array:
    """Weights of the clipped mean; row 0 of the matrix is the start, the others are the updates.

    v <- v + mean_i (x_i - v) min(1, tau / ||x_i - v||),    tau = median_i ||x_i - v||
    """
    num_updates = len(gram_NN) - 1
    weights_N = np.zeros(len(gram_NN))
    weights_N[0] = 1.0
    for _ in range(num_iterations):
        distances = _distances_to(gram_NN, weights_N)[1:]
        shares = _shares_within(float(np.median(distances)), distances) / num_updates
        weights_N *= 1 - shares.sum()
        weights_N[1:] += shares
    return weights_N


def rda_weights(gram_NN: Array, sample_weights_N: Array) -> Array:
    """Weights whose sum has the mean length and the mean direction of the updates.

        L = sum_i w_i ||x_i|| / sum w,    s = sum_i w_i x_i / ||x_i||,    out = L s / ||s||
        ||s||^2 = u^T G u,    u_i = w_i / ||x_i||

    Updates of length zero count for the length and have no direction; directions that cancel give zero.
    """
    lengths_N = np.sqrt(np.maximum(np.diag(gram_NN), 0.0))
    has_length_N = lengths_N > 0
    directed_N = np.divide(sample_weights_N, lengths_N, out=np.zeros(len(lengths_N)), where=has_length_N)
    squared = float(directed_N @ gram_NN @ directed_N)
    # Unit vectors weighted by w that cancel leave rounding errors of about 1e-16 (sum w)^2.
    if squared <= 1e-12 * float(np.sum(sample_weights_N)) ** 2:
        return np.zeros(len(lengths_N))
    mean_length = float(sample_weights_N @ lengths_N / np.sum(sample_weights_N))
    weights_N: Array = directed_N * (mean_length / np.sqrt(squared))
    return weights_N


def _distances_to(gram_NN: Array, weights_N: Array) -> Array:
    """||x_i - v|| for v = sum_j weights[j] x_j."""
    products_N = gram_NN @ weights_N
    squared_N = weights_N @ products_N - 2 * products_N + np.diag(gram_NN)
    distances_N: Array = np.sqrt(np.maximum(squared_N, 0.0))
    return distances_N


def _shares_within(limit: float, lengths_N: Array) -> Array:
    """min(1, limit / length), 1 for a length of zero."""
    return np.divide(limit, lengths_N, out=np.ones(len(lengths_N)), where=lengths_N > limit)

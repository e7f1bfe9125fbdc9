"""Gaussian copula for tables: each column keeps its own distribution, and a Gaussian ties them together.

For each class, a column is described by quantiles (numbers) or by the shares of its values (whole numbers
of few values, categories). Values become normal scores; their shrunk correlation is what is kept.

    fit:     s_j = Phi^-1(F_j(x_j)), where F_j jumps E(z | x_j);   R_ij = cov(s_i, s_j) / (var s_i var s_j)
    sample:  z ~ N(0, R);   x_j = F_j^-1(Phi(z_j))

A column that jumps says less than its hidden score, so that the correlation of what it says would be too
small: the two variances in R are below 1 there and make up for it. For two such columns that is the first
term of a series in R (Mehler's), for one it is exact.

Source: Nelsen, "An Introduction to Copulas", 2006, chapter 2; Olsson, Drasgow & Dorans, "The polyserial
correlation coefficient", Psychometrika 47, 1982 (a column that jumps and one that does not).

Legend: K classes, F columns, Q quantiles or values of a column.

Not covered: images (use the Gaussian), dependence that a correlation of scores cannot say, and order
among categories, which get that of their numbers.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.generation.gaussian import Arrays, Floats
from ayni.data.generation.input_form import InputForm
from ayni.data.generation.shrinkage import ledoit_wolf
from ayni.data.records import RecordsError
from ayni.errors import MissingExtraError

# Quantiles of a column. Fewer than examples, so that single values are blurred and not kept.
MAX_QUANTILES = 33
MAX_COLUMNS = 512
_EDGE = 1e-6
_LARGEST_CORRELATION = 0.99


def fit_copula(flat_NF: Floats, labels_N: NDArray[np.int64], form: InputForm) -> Arrays:
    """Distributions of the columns and correlation of their scores, of each class.

    Raises:
        RecordsError: more than MAX_COLUMNS columns.
        MissingExtraError: scipy is not installed.
    """
    if flat_NF.shape[1] > MAX_COLUMNS:
        raise RecordsError(
            f"A copula is for tables of at most {MAX_COLUMNS} columns; there are {flat_NF.shape[1]}. "
            "Use --kind gaussian, flow or vae."
        )
    jumps = {*form.whole, *form.categories}
    classes = np.unique(labels_N)
    arrays: Arrays = {"classes": classes.astype(np.float32)}
    for index, label in enumerate(classes):
        own_NF = flat_NF[labels_N == label].astype(np.float64)
        scores_NF = np.empty_like(own_NF)
        for column in range(own_NF.shape[1]):
            values_Q, shares_Q = _column(own_NF[:, column], jumps=column in jumps)
            arrays[f"{index}.{column}.values"] = values_Q.astype(np.float32)
            arrays[f"{index}.{column}.shares"] = shares_Q.astype(np.float32)
            scores_NF[:, column] = _scores(own_NF[:, column], values_Q, shares_Q)
        arrays[f"{index}.factor"] = _correlation_factor(scores_NF).astype(np.float32)
    return arrays


def sample_copula(
    arrays: Arrays, labels_N: NDArray[np.int64], rng: np.random.Generator, *, num_columns: int
) -> Floats:
    """One row [F] for each label."""
    ndtr, _ = _normal()
    drawn_NF = np.empty((len(labels_N), num_columns), np.float32)
    noise_NF = rng.standard_normal((len(labels_N), num_columns))
    for index, label in enumerate(arrays["classes"].astype(np.int64)):
        rows = np.flatnonzero(labels_N == label)
        uniform_NF = ndtr(noise_NF[rows] @ arrays[f"{index}.factor"].astype(np.float64).T)
        for column in range(num_columns):
            values_Q = arrays[f"{index}.{column}.values"].astype(np.float64)
            shares_Q = arrays[f"{index}.{column}.shares"].astype(np.float64)
            drawn_NF[rows, column] = _inverse(uniform_NF[:, column], values_Q, shares_Q)
    return drawn_NF


def _column(values_N: NDArray[np.float64], *, jumps: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(values, shares at or below each) of a column that jumps, (quantiles, []) of one that does not."""
    distinct, counts = np.unique(values_N, return_counts=True)
    if jumps and len(distinct) <= MAX_QUANTILES:
        return distinct, np.cumsum(counts) / len(values_N)
    num = int(np.clip(len(values_N) // 2, 2, MAX_QUANTILES))
    return np.quantile(values_N, np.linspace(0, 1, num)), np.empty(0)


def _scores(
    values_N: NDArray[np.float64], values_Q: NDArray[np.float64], shares_Q: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Normal scores of a column: of the ranks, or the mean of all scores that mean the same value."""
    _, ndtri = _normal()
    if len(shares_Q):
        edges_Q = ndtri(np.clip(np.concatenate([[0.0], shares_Q]), _EDGE, 1 - _EDGE))
        density_Q = np.exp(-(edges_Q**2) / 2) / np.sqrt(2 * np.pi)
        means_Q = -np.diff(density_Q) / np.diff(np.concatenate([[0.0], shares_Q]))
        return np.asarray(means_Q[np.searchsorted(values_Q, values_N)], dtype=np.float64)
    _, places_N, counts = np.unique(values_N, return_inverse=True, return_counts=True)
    middles = np.cumsum(counts) - counts / 2
    return np.asarray(ndtri(middles / len(values_N))[places_N], dtype=np.float64)


def _inverse(
    uniform_N: NDArray[np.float64], values_Q: NDArray[np.float64], shares_Q: NDArray[np.float64]
) -> NDArray[np.float64]:
    if len(shares_Q):
        place_N = np.searchsorted(shares_Q, uniform_N, side="left")
        return values_Q[np.minimum(place_N, len(values_Q) - 1)]
    return np.interp(uniform_N, np.linspace(0, 1, len(values_Q)), values_Q)


def _correlation_factor(scores_NF: NDArray[np.float64]) -> NDArray[np.float64]:
    """L with L L' = R, shrunk by as much as Ledoit and Wolf would shrink the covariance of the scores."""
    centred_NF = scores_NF - scores_NF.mean(axis=0)
    _, share = ledoit_wolf(centred_NF)
    variance_F = np.maximum(centred_NF.var(axis=0), _EDGE)
    hidden_FF = (centred_NF.T @ centred_NF / len(scores_NF)) / np.outer(variance_F, variance_F)
    hidden_FF = (1 - share) * np.clip(hidden_FF, -_LARGEST_CORRELATION, _LARGEST_CORRELATION)
    np.fill_diagonal(hidden_FF, 1.0)
    # Correlations that were each made up for need not fit together: take the nearest that do.
    values_F, vectors_FF = np.linalg.eigh(hidden_FF)
    fitting_FF = (vectors_FF * np.maximum(values_F, _EDGE)) @ vectors_FF.T
    deviation_F = np.sqrt(np.diag(fitting_FF))
    factor_FF = np.linalg.cholesky(fitting_FF / np.outer(deviation_F, deviation_F))
    return np.asarray(factor_FF, dtype=np.float64)


def _normal() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The normal distribution function, and its inverse."""
    try:
        from scipy.special import ndtr, ndtri
    except ImportError as error:
        raise MissingExtraError(extra="data", package="scipy") from error
    return ndtr, ndtri

"""One Gaussian for each class, with a shrunk covariance: the generator that costs nothing.

Legend: K classes, D numbers of an encoded input (input_form.py).

Not covered: mixtures; a class of several shapes becomes one cloud around their mean.
"""

import numpy as np
from numpy.typing import NDArray

from ayni.data.generation.shrinkage import ledoit_wolf
from ayni.data.records import RecordsError

Arrays = dict[str, NDArray[np.float32]]
Floats = NDArray[np.float32]
# The file of ten classes has 42 MB at this width.
MAX_WIDTH = 1024
# Of the largest variance: columns that never change have no variance of their own.
_SMALLEST_VARIANCE = 1e-6


def fit_gaussian(
    encoded_ND: Floats, labels_N: NDArray[np.int64], *, shrinkage: float | None = None
) -> Arrays:
    """Mean and factor L of the covariance L L' of each class; by Ledoit and Wolf without `shrinkage`.

    Raises:
        RecordsError: inputs are wider than MAX_WIDTH.
    """
    width = encoded_ND.shape[1]
    if width > MAX_WIDTH:
        raise RecordsError(
            f"A Gaussian keeps {width} x {width} numbers a class, and inputs may have {MAX_WIDTH} at most. "
            "Use --kind flow or vae, or smaller images."
        )
    classes = np.unique(labels_N)
    means, factors = [], []
    for label in classes:
        own_ND = encoded_ND[labels_N == label].astype(np.float64)
        mean_D = own_ND.mean(axis=0)
        covariance_DD, _ = ledoit_wolf(own_ND - mean_D)
        if shrinkage is not None:
            centred = own_ND - mean_D
            sample_DD = centred.T @ centred / len(own_ND)
            sphere = np.trace(sample_DD) / width
            covariance_DD = (1 - shrinkage) * sample_DD + shrinkage * sphere * np.eye(width)
        means.append(mean_D)
        factors.append(_factor(covariance_DD))
    return {
        "classes": classes.astype(np.float32),
        "mean": np.stack(means).astype(np.float32),
        "factor": np.stack(factors).astype(np.float32),
    }


def _factor(covariance_DD: NDArray[np.float64]) -> NDArray[np.float64]:
    """L with L L' = covariance."""
    floor = max(float(np.diag(covariance_DD).max()) * _SMALLEST_VARIANCE, 1e-12)
    return np.asarray(
        np.linalg.cholesky(covariance_DD + floor * np.eye(len(covariance_DD))), dtype=np.float64
    )


def sample_gaussian(arrays: Arrays, labels_N: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """One encoded input for each label, x = mean + L z."""
    width = arrays["mean"].shape[1]
    drawn_ND = np.empty((len(labels_N), width), np.float32)
    noise_ND = rng.standard_normal((len(labels_N), width), dtype=np.float32)
    for index, label in enumerate(arrays["classes"].astype(np.int64)):
        rows = np.flatnonzero(labels_N == label)
        drawn_ND[rows] = arrays["mean"][index] + noise_ND[rows] @ arrays["factor"][index].T
    return drawn_ND

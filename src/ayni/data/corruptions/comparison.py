"""Clean, absolute, mean and relative corruption error of a model, always together.

    CE_kind          = sum_s E(s, kind) / sum_s E_ref(s, kind)
    relative CE_kind = sum_s (E(s, kind) - E_clean) / sum_s (E_ref(s, kind) - E_ref,clean)

The mean of CE over the kinds is mCE, 100 for the reference itself. Which reference that is belongs to the
number: published tables use AlexNet, ours say what they used, and the two cannot be compared. One number
alone misleads: a model that is bad on clean images has little left to lose, and looks robust by relative CE.

Intervals are of a bootstrap over the examples, the same draw for the model and the reference.

Source: Hendrycks and Dietterich, ICLR 2019, arXiv:1903.12261, section 4. Where we differ: kinds that do the
reference no harm have no ratio; they are left out and named.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.data.corruptions.errors import CorruptionErrors
from ayni.data.corruptions.kinds import KINDS, SEVERITIES

_NUM_DRAWS = 1000
_PERCENTILES = (2.5, 97.5)
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorruptionSummary:
    """The four numbers of a model with their 95 % intervals. Errors are shares, the others percent.

    Attributes:
        model, reference: Names; the two last numbers mean nothing without that of the reference, and there
            are none when it is None.
        clean_error: Of the images as they are.
        mean_error: Over the 75 settings.
        mce_percent: Mean corruption error; 100 is as bad as the reference. None without any kind.
        relative_mce_percent: The same of what the corruptions add to the clean error.
        ce_percent: By kind; None where the reference makes no error, or where there is no reference.
        left_out: Kinds that add nothing to the reference's error, and are not in the relative number.
        intervals: Of the four numbers by name; empty when single answers are not known.
    """

    model: str
    reference: str | None
    num_examples: int
    clean_error: float
    mean_error: float
    mce_percent: float | None
    relative_mce_percent: float | None
    ce_percent: Mapping[str, float | None]
    left_out: tuple[str, ...]
    intervals: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **asdict(self),
            "left_out": list(self.left_out),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CorruptionSummary":
        """The value that `to_json` wrote."""
        intervals = {name: (ends[0], ends[1]) for name, ends in data["intervals"].items()}
        return cls(**{**data, "left_out": tuple(data["left_out"]), "intervals": intervals})


def mean_corruption_error(
    of: CorruptionErrors, *, reference: CorruptionErrors | None = None
) -> CorruptionSummary:
    """The numbers of a model, against a reference that saw the same images where there is one.

    Raises:
        ValueError: the two were measured on different numbers of examples.
    """
    if reference is not None and of.num_examples != reference.num_examples:
        raise ValueError(
            f"{of.model} was measured on {of.num_examples} examples and {reference.model} on "
            f"{reference.num_examples}: expected the same ones"
        )
    own = _Shares.of(of)
    ce = relative = np.full(len(KINDS), np.nan)
    if reference is not None:
        others = _Shares.of(reference)
        ce, relative = _ratios(own.sums, others.sums), _ratios(own.added, others.added)
    left_out = [] if reference is None else np.flatnonzero(np.isnan(relative)).tolist()
    return CorruptionSummary(
        model=of.model,
        reference=None if reference is None else reference.model,
        num_examples=of.num_examples,
        clean_error=of.clean_error,
        mean_error=of.mean_error,
        mce_percent=_mean(ce),
        relative_mce_percent=_mean(relative),
        ce_percent=dict(zip(KINDS, map(_known, ce), strict=True)),
        left_out=tuple(KINDS[index] for index in left_out),
        intervals=_intervals(of, reference),
    )


@dataclass(frozen=True, slots=True)
class _Shares:
    """Errors of one model; `sums` and `added` have the kinds as last axis, whatever comes before."""

    clean: NDArray[np.float64]
    mean: NDArray[np.float64]
    sums: NDArray[np.float64]
    added: NDArray[np.float64]

    @classmethod
    def of(cls, errors: CorruptionErrors) -> "_Shares":
        table = np.array([errors.errors[kind] for kind in KINDS]).reshape(-1)
        return cls.from_settings(np.concatenate([[errors.clean_error], table]))

    @classmethod
    def from_settings(cls, shares: NDArray[np.float64]) -> "_Shares":
        """From shares [..., 1 + 75], clean ones first."""
        clean, rest = shares[..., 0], shares[..., 1:]
        sums = rest.reshape(*rest.shape[:-1], len(KINDS), len(SEVERITIES)).sum(axis=-1)
        return cls(clean, rest.mean(axis=-1), sums, sums - len(SEVERITIES) * clean[..., None])


def _ratios(own: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """In percent; NaN where the reference loses nothing (1e-9: sums of shares are not exact)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(others > 1e-9, 100 * own / others, np.nan)


def _mean(ratios: NDArray[np.float64]) -> float | None:
    return None if np.isnan(ratios).all() else float(np.nanmean(ratios))


def _known(ratio: float) -> float | None:
    return None if np.isnan(ratio) else float(ratio)


def _intervals(of: CorruptionErrors, reference: CorruptionErrors | None) -> dict[str, Interval]:
    """Of what is known answer by answer: a reference that was read from a file gives no ratios."""
    if of.wrong is None:
        return {}
    num = of.num_examples
    counts = np.random.default_rng(0).multinomial(num, np.full(num, 1 / num), size=_NUM_DRAWS) / num
    own = _Shares.from_settings(counts @ of.wrong.T.astype(float))
    found = {"clean_error": own.clean, "mean_error": own.mean}
    if reference is not None and reference.wrong is not None:
        others = _Shares.from_settings(counts @ reference.wrong.T.astype(float))
        found["mce_percent"] = _nanmean(_ratios(own.sums, others.sums))
        found["relative_mce_percent"] = _nanmean(_ratios(own.added, others.added))
    return {
        name: (float(low), float(high))
        for name, values in found.items()
        if not np.isnan(values).all()
        for low, high in [np.nanpercentile(values, _PERCENTILES)]
    }


def _nanmean(ratios: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the kinds that have a ratio in a draw; NaN where none has."""
    known = ~np.isnan(ratios)
    counts = known.sum(axis=-1)
    sums = np.where(known, ratios, 0.0).sum(axis=-1)
    means: NDArray[np.float64] = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means

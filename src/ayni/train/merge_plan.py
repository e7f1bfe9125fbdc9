"""What happens to each tensor when updates become one, decided from a few numbers about the updates.

A plan gives each group of tensors a *treatment*: which weighted sums ("rows") to form of the updates, and
how the rows become one. Weighted means have one row; rules that judge each coordinate have several.

    group            rule mean                   merge rda              any other rule
    trained tensors  mean of clipped updates     one plan a tensor      the rule, on clipped updates in groups
    plain tensors    mean of clipped updates     the same               trimmed mean

Plain tensors are judged apart from the trained ones: running statistics may be a thousand times longer than
what was learned, and would hide a lie in it; and who is honest in one may lie in the other.

Not covered: reading updates; merge.py sums the inner products and carries the plan out.

Legend: N updates, M rows, E coordinates.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.train.aggregation import (
    CENTERED_CLIP_ITERATIONS,
    check_cohort,
    mean_around_median,
    median,
    trimmed_mean,
)
from ayni.train.config import MergeName
from ayni.train.gram_weights import (
    SMALLEST_CLIPPED,
    bucket_matrix,
    bulyan_selection,
    centered_clip_weights,
    clip_scales,
    geometric_median_weights,
    multi_krum_weights,
    rda_weights,
)
from ayni.train.layout import Chunk
from ayni.train.strategy_config import AggregationConfig

Array: TypeAlias = NDArray[Any]

# Groups of tensors. With merge "rda" each trained tensor is a group of its own, named as it is.
TRAINED = "<trained>"
PLAIN = "<plain>"
DISTANCE_RULES = ("krum", "multi_krum", "bulyan", "geometric_median", "centered_clip")


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRules:
    """How the updates of one round are merged.

    Attributes:
        aggregation: The rule.
        merge: "mean" or "rda", with rule "mean".
        plain_names: Tensors that are merged plainly: buffers, and with "rda" embeddings.
            Embeddings: each row is touched by few examples, so that the length of the whole means little.
        seed: Of the random groups of `bucket_size`; give each round its own.
        num_refused: Updates of the round that were refused as nonsense. They were among the `num_faulty`, so
            that fewer are left among the others: four updates are enough for Krum when a fifth was NaN.
    """

    aggregation: AggregationConfig
    merge: MergeName = "mean"
    plain_names: frozenset[str] = frozenset()
    seed: int = 0
    num_refused: int = 0

    @property
    def num_faulty(self) -> int:
        """Wrong updates that may still be among those to merge."""
        return max(0, self.aggregation.num_faulty - self.num_refused)

    def check_cohort(self, num_updates: int) -> None:
        """Refuse too few updates.

        Raises:
            CohortTooSmallError: the rule promises nothing for so few.
            ValueError: there is none.
        """
        if num_updates == 0:
            raise ValueError("there is no update to merge")
        check_cohort(self.aggregation.rule, num_updates, self.num_faulty, bucket_size=self.bucket_size)

    @property
    def bucket_size(self) -> int:
        """Updates in a random group; the mean of groups would be the mean again."""
        return 1 if self.aggregation.rule == "mean" else self.aggregation.bucket_size

    def group_of(self, name: str) -> str:
        """The group that a tensor belongs to."""
        if name in self.plain_names:
            return PLAIN
        return name if self.merge == "rda" else TRAINED

    @property
    def needs_gram(self) -> bool:
        """Whether the trained tensors need all inner products instead of lengths."""
        return self.merge == "rda" or self.aggregation.rule in DISTANCE_RULES

    def needs_lengths(self, num_updates: int) -> bool:
        """Whether an update can be too long: two have no middle one."""
        return num_updates >= SMALLEST_CLIPPED

    def runs(self, chunk: Chunk) -> Iterator[tuple[str, int, int]]:
        """Neighbouring pieces of one group as (group, start, stop) within the chunk."""
        start = stop = 0
        current = self.group_of(chunk[0].name)
        for piece in chunk:
            group = self.group_of(piece.name)
            if group != current:
                yield current, start, stop
                current, start = group, stop
            stop += piece.num_elements
        yield current, start, stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment:
    """rows_ME = mix_MN @ updates_NE, then `reduce` makes one of the rows, which is not needed for one row.

    `start_weight` times the last aggregate is added (centred clipping).
    """

    mix_MN: Array  # noqa: N815
    reduce: Callable[[Array], Array] | None = None
    start_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """A treatment for each group, and what to tell the user.

    Attributes:
        rules: What the plan was made by.
        treatments: By group.
        scales: What each update's trained tensors were multiplied by; below 1 it was cut as too long.
        weights: Share of each update in the trained tensors, cut included; None where each tensor or each
            coordinate has its own.
    """

    rules: MergeRules
    treatments: Mapping[str, Treatment]
    scales: tuple[float, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Sums over all chunks, by group: inner products [N, N] or squared lengths [N].

    Row 0 of the trained ones belongs to the last aggregate when `has_previous`.
    """

    by_group: Mapping[str, Array] = field(default_factory=dict)
    has_previous: bool = False

    def squares(self, group: str) -> Array:
        """Squared lengths of the updates in a group, [N]."""
        found = self.by_group[group]
        squares_N = np.diag(found) if found.ndim == 2 else found
        return squares_N[1:] if self.has_previous and group != PLAIN else squares_N


def make_plan(products: Products, sample_weights: Sequence[float], rules: MergeRules) -> MergePlan:
    """Decide from lengths and inner products how the updates become one.

    Raises:
        CohortTooSmallError: too few updates for the rule.
        ValueError: no update, or weights that do not fit.
    """
    weights_N = np.asarray(sample_weights, np.float64)
    if len(weights_N) == 0 or (weights_N < 0).any() or not 0 < weights_N.sum() < np.inf:
        raise ValueError(f"cannot merge updates with the weights {list(sample_weights)}")
    rules.check_cohort(len(weights_N))
    trained = [group for group in products.by_group if group != PLAIN]
    squares_N = sum((products.squares(group) for group in trained), np.zeros(len(weights_N)))
    scales_N = clip_scales(squares_N, factor=rules.aggregation.clip_factor)
    treatments = {group: _treat(products, group, weights_N, scales_N, rules) for group in trained}
    if PLAIN in products.by_group:
        treatments[PLAIN] = _treat_plain(products, weights_N, rules)
    only = treatments[TRAINED] if trained == [TRAINED] else None
    is_weighted_sum = only is not None and only.reduce is None
    return MergePlan(
        rules=rules,
        treatments=treatments,
        scales=tuple(map(float, scales_N)),
        weights=tuple(map(float, only.mix_MN[0])) if only is not None and is_weighted_sum else None,
    )


def _treat(products: Products, group: str, weights_N: Array, scales_N: Array, rules: MergeRules) -> Treatment:
    """Treatment of trained tensors."""
    config, found = rules.aggregation, products.by_group[group]
    if rules.merge == "rda":
        scaled_NN = found * scales_N[:, None] * scales_N[None, :]
        return Treatment(mix_MN=(rda_weights(scaled_NN, weights_N) * scales_N)[None])
    if config.rule == "mean":
        return Treatment(mix_MN=(weights_N / weights_N.sum() * scales_N)[None])
    mix_MN = bucket_matrix(len(weights_N), rules.bucket_size, seed=rules.seed) * scales_N
    match config.rule:
        case "trimmed_mean":
            return Treatment(mix_MN=mix_MN, reduce=partial(trimmed_mean, num_trimmed=rules.num_faulty))
        case "median":
            return Treatment(mix_MN=mix_MN, reduce=median)
        case "centered_clip":
            return _treat_by_clipping(found, mix_MN, has_previous=products.has_previous)
        case _:
            return _treat_by_distance(mix_MN @ found @ mix_MN.T, mix_MN, rules)


def _treat_by_distance(gram_MM: Array, mix_MN: Array, rules: MergeRules) -> Treatment:
    rule, num_rows, num_faulty = rules.aggregation.rule, len(gram_MM), rules.num_faulty
    if rule == "bulyan":
        selected = bulyan_selection(gram_MM, num_faulty=num_faulty)
        num_kept = len(selected) - 2 * num_faulty
        return Treatment(mix_MN=mix_MN[selected], reduce=partial(mean_around_median, num_kept=num_kept))
    if rule == "geometric_median":
        weights_M = geometric_median_weights(gram_MM)
    else:
        num_kept = 1 if rule == "krum" else num_rows - num_faulty
        weights_M = multi_krum_weights(gram_MM, num_faulty=num_faulty, num_kept=num_kept)
    return Treatment(mix_MN=(weights_M @ mix_MN)[None])


def _treat_by_clipping(gram: Array, mix_MN: Array, *, has_previous: bool) -> Treatment:
    """Centred clipping: the last aggregate, or zero, is one more row that no group takes in."""
    if not has_previous:
        gram = np.pad(gram, ((1, 0), (1, 0)))
    mix = np.pad(mix_MN, ((1, 0), (1, 0)))
    mix[0, 0] = 1.0
    weights = centered_clip_weights(mix @ gram @ mix.T, num_iterations=CENTERED_CLIP_ITERATIONS)
    start_weight = float(weights[0]) if has_previous else 0.0
    return Treatment(mix_MN=(weights[1:] @ mix_MN)[None], start_weight=start_weight)


def _treat_plain(products: Products, weights_N: Array, rules: MergeRules) -> Treatment:
    config = rules.aggregation
    if config.rule == "mean":
        scales_N = clip_scales(products.squares(PLAIN), factor=config.clip_factor)
        return Treatment(mix_MN=(weights_N / weights_N.sum() * scales_N)[None])
    # Every rule needs at least the 2 f + 1 that a trimmed mean does.
    mix_MN = bucket_matrix(len(weights_N), rules.bucket_size, seed=rules.seed)
    return Treatment(mix_MN=mix_MN, reduce=partial(trimmed_mean, num_trimmed=rules.num_faulty))

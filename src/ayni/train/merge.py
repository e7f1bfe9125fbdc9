"""Updates of one round become one, chunk by chunk: what the coordinator does between two rounds.

    check_update   once for each update, when it arrives: every frame is whole, fits and is finite
    plan_merge     reads the updates once more, if the rule compares them; decides the weights
    merge_chunks   reads them chunk by chunk and yields the merged values

Memory: one chunk of each update, whatever the size of the model. Plain means read each update once here,
because check_update has measured their lengths. Updates that the plan leaves out are not decoded.

Not covered: what the merged update does to the model (outer.py), and which updates belong together
(rounds.py).

Legend: N updates, M rows of a treatment, E elements of a chunk.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ayni.train.codec import FrameError, decode_frame
from ayni.train.engine import Frame
from ayni.train.gram_weights import gram_matrix
from ayni.train.layout import Chunk, num_elements
from ayni.train.merge_plan import (
    PLAIN,
    TRAINED,
    MergePlan,
    MergeRules,
    Products,
    Treatment,
    make_plan,
)
from ayni.train.strategy_config import AggregationConfig

T = TypeVar("T")
Array: TypeAlias = NDArray[Any]
# An update: one frame for each chunk, read when it is indexed; so it may be on disk.
UpdateSource: TypeAlias = Sequence[Frame]

# Elements that are scaled and added at once; the scratch stays in the cache.
BLOCK_ELEMENTS = 2**15
# Squares of so many float32 values are summed before float64 takes over.
_ROW_ELEMENTS = 2**10


class FrameCountError(FrameError):
    """An update has another number of frames than the model has chunks."""

    def __init__(self, chunk: Chunk, *, found: int, expected: int) -> None:
        self.found = found
        self.expected = expected
        super().__init__(
            chunk, f"belongs to an update of {found} frames, and the model has {expected} chunks"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SquaredLengths:
    """Squared Euclidean length of an update: of its trained tensors, and of its plain ones (buffers)."""

    trained: float
    plain: float


def one_by_one(do: Callable[[int], T], number: int) -> list[T]:
    """do(0), do(1), ... in this thread."""
    return [do(index) for index in range(number)]


def check_update(
    frames: UpdateSource,
    chunks: Sequence[Chunk],
    *,
    plain_names: frozenset[str] = frozenset(),
    run: Callable[[Callable[[int], dict[str, float]], int], list[dict[str, float]]] = one_by_one,
) -> SquaredLengths:
    """Decode every frame once, so that an update that cannot be merged is refused before it changes anything.

    Args:
        frames: Of the update.
        chunks: That they belong to.
        plain_names: Tensors that are averaged plainly; their length is told apart.
        run: Calls a function with each index below a number, perhaps in several threads.

    Raises:
        FrameError: a frame is missing, damaged, for other tensors, or holds a value that is not finite.
    """
    if len(frames) != len(chunks):
        raise FrameCountError(chunks[0] if chunks else (), found=len(frames), expected=len(chunks))
    rules = MergeRules(aggregation=AggregationConfig(), plain_names=plain_names)

    def squared(index: int) -> dict[str, float]:
        values_E = decode_frame(frames[index], chunks[index])
        found = {TRAINED: 0.0, PLAIN: 0.0}
        for group, start, stop in rules.runs(chunks[index]):
            found[group] += _squared_length(values_E[start:stop])
        return found

    of_chunks = run(squared, len(chunks))
    return SquaredLengths(
        trained=sum(found[TRAINED] for found in of_chunks), plain=sum(found[PLAIN] for found in of_chunks)
    )


def plan_merge(
    updates: Sequence[UpdateSource],
    chunks: Sequence[Chunk],
    weights_N: Sequence[float],
    rules: MergeRules,
    *,
    previous: Sequence[Array] | None = None,
    lengths: Sequence[SquaredLengths] | None = None,
) -> MergePlan:
    """Decide how much each update counts.

    Args:
        updates: In the order of the learners, so that a repeated run gives the same bits.
        chunks: Of the model, or of the fragment that the updates are about.
        weights_N: Examples behind each update; they count for the plain mean and "rda" only.
        rules: The rule and what it needs to know.
        previous: Merged chunks of the round before, for centred clipping; None starts from zero.
        lengths: What check_update returned for each update; saves the plain mean a pass over them.

    Raises:
        CohortTooSmallError: too few updates for the rule.
        ValueError: no update, or weights that do not fit.
    """
    if len(updates) != len(weights_N):
        raise ValueError(f"{len(updates)} updates and {len(weights_N)} weights: give one for each update")
    rules.check_cohort(len(updates))
    products = None if rules.needs_gram else _known_products(len(updates), chunks, rules, lengths)
    return make_plan(products or _sum_products(updates, chunks, rules, previous), weights_N, rules)


def merge_chunks(
    updates: Sequence[UpdateSource],
    chunks: Sequence[Chunk],
    plan: MergePlan,
    *,
    previous: Sequence[Array] | None = None,
    are_known: bool = False,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Carry a plan out: yields (index, merged_E) for each chunk; merged_E belongs to the caller.

    The arguments are those that the plan was made with; `are_known` says that check_update saw the frames.
    Cost: O(N E) for weighted sums.
    """
    for index, chunk in enumerate(chunks):
        yield index, merge_chunk(updates, index, chunk, plan, previous=previous, are_known=are_known)


def merge_chunk(
    updates: Sequence[UpdateSource],
    index: int,
    chunk: Chunk,
    plan: MergePlan,
    *,
    previous: Sequence[Array] | None = None,
    are_known: bool = False,
) -> NDArray[np.float32]:
    """One chunk of `merge_chunks`; several can be merged at the same time in several threads."""
    parts = [(plan.treatments[group], slice(*bounds)) for group, *bounds in plan.rules.runs(chunk)]
    forming = [_Rows(treatment, part.stop - part.start) for treatment, part in parts]
    for learner, frames in enumerate(updates):
        # What no row takes in is not decoded.
        if any(treatment.mix_MN[:, learner].any() for treatment, _ in parts):
            values_E = decode_frame(frames[index], chunk, is_known=are_known)
            for rows, (_, part) in zip(forming, parts, strict=True):
                rows.add(learner, values_E[part])
    if len(parts) == 1 and previous is None:
        return forming[0].reduce()
    merged_E = np.empty(num_elements(chunk), np.float32)
    for rows, (treatment, part) in zip(forming, parts, strict=True):
        merged_E[part] = rows.reduce()
        if previous is not None and treatment.start_weight:
            _add_scaled(merged_E[part], previous[index][part], treatment.start_weight)
    return merged_E


class _Rows:
    """The weighted sums of one treatment within one chunk, growing update by update."""

    def __init__(self, treatment: Treatment, num_elements: int) -> None:
        self._treatment = treatment
        self._rows_ME = np.empty((len(treatment.mix_MN), num_elements), np.float32)
        self._is_begun = [False] * len(treatment.mix_MN)

    def add(self, learner: int, values_E: Array) -> None:
        for row, weight in enumerate(self._treatment.mix_MN[:, learner]):
            if weight == 0:
                continue
            if self._is_begun[row]:
                _add_scaled(self._rows_ME[row], values_E, float(weight))
            else:
                np.multiply(values_E, np.float32(weight), out=self._rows_ME[row])
                self._is_begun[row] = True

    def reduce(self) -> Array:
        for row, is_begun in enumerate(self._is_begun):
            if not is_begun:
                self._rows_ME[row] = 0
        reduce = self._treatment.reduce
        return self._rows_ME[0] if reduce is None else reduce(self._rows_ME)


def _add_scaled(target_E: Array, values_E: Array, weight: float) -> None:
    """Add weight * values, in blocks, so that the product never leaves the cache."""
    scratch_B = np.empty(min(BLOCK_ELEMENTS, len(values_E)), np.float32)
    for start in range(0, len(values_E), BLOCK_ELEMENTS):
        part = slice(start, min(start + BLOCK_ELEMENTS, len(values_E)))
        product_B = np.multiply(values_E[part], np.float32(weight), out=scratch_B[: part.stop - part.start])
        target_E[part] += product_B


def _known_products(
    num_updates: int, chunks: Sequence[Chunk], rules: MergeRules, lengths: Sequence[SquaredLengths] | None
) -> Products | None:
    """What can be said without reading the updates: lengths that were measured, or that nobody needs."""
    if lengths is None and rules.needs_lengths(num_updates):
        return None
    trained = [found.trained for found in lengths] if lengths else [1.0] * num_updates
    plain = [found.plain for found in lengths] if lengths else [1.0] * num_updates
    squares = {TRAINED: np.array(trained), PLAIN: np.array(plain)}
    groups = {group for chunk in chunks for group, _, _ in rules.runs(chunk)}
    return Products(by_group={group: squares[group] for group in sorted(groups)})


def _sum_products(
    updates: Sequence[UpdateSource],
    chunks: Sequence[Chunk],
    rules: MergeRules,
    previous: Sequence[Array] | None,
) -> Products:
    """Inner products of all updates, or their lengths where these are enough, summed over the chunks."""
    has_previous = previous is not None and rules.aggregation.rule == "centered_clip"
    by_group: dict[str, Array] = {}
    for index, chunk in enumerate(chunks):
        decoded = [decode_frame(frames[index], chunk) for frames in updates]
        for group, start, stop in rules.runs(chunk):
            rows = [values_E[start:stop] for values_E in decoded]
            if group == PLAIN or not rules.needs_gram:
                found = np.array([_squared_length(row) for row in rows])
            elif previous is not None and has_previous:
                found = gram_matrix([previous[index][start:stop], *rows])
            else:
                found = gram_matrix(rows)
            by_group[group] = by_group.get(group, 0.0) + found
    return Products(by_group=by_group, has_previous=has_previous)


def _squared_length(values_E: Array) -> float:
    """Sum of squares: rows in float32, their sums in float64.

    Not by BLAS, whose threads would spin beside the learners, and all in float64 only where a square does
    not fit into float32: that takes five times as long.
    """
    whole = len(values_E) // _ROW_ELEMENTS * _ROW_ELEMENTS
    rows_RE, rest_E = values_E[:whole].reshape(-1, _ROW_ELEMENTS), values_E[whole:]
    sums_R = np.einsum("re,re->r", rows_RE, rows_RE)
    total = float(sums_R.sum(dtype=np.float64)) + float(np.einsum("e,e->", rest_E, rest_E))
    if not np.isfinite(total):
        total = float(np.einsum("e,e->", values_E, values_E, dtype=np.float64, casting="same_kind"))
    return total

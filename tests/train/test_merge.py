import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.train import aggregation
from ayni.train.aggregation import CohortTooSmallError
from ayni.train.codec import FrameError, NotFiniteError, encode_chunk, make_frame
from ayni.train.config import MergeName
from ayni.train.engine import Frame
from ayni.train.layout import Chunk, make_chunks, num_elements, put_chunk_, take_chunk
from ayni.train.merge import FrameCountError, check_update, merge_chunks, plan_merge
from ayni.train.merge_plan import MergeRules
from ayni.train.named_arrays import NamedArrays, make_manifest
from ayni.train.strategy_config import SMALLEST_COHORT, AggregationConfig, RuleName

SHAPES = {"embedding": (40, 5), "norm": (7,), "running_mean": (9,), "head": (3, 11)}
BUFFERS = frozenset({"running_mean"})
TRAINED = [name for name in SHAPES if name not in BUFFERS]
CHUNKS = make_chunks(
    make_manifest({name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}), max_elements=64
)


def merge_updates(
    updates: Sequence[Any],
    chunks: Sequence[Any],
    weights_N: Sequence[float],
    config: AggregationConfig,
    merge: str,
    *,
    previous: Sequence[Any] | None = None,
    lengths: Sequence[Any] | None = None,
    **rules: Any,
) -> Iterator[tuple[int, Any]]:
    """Plan and merge in one go."""
    if "rng_seed" in rules:
        rules["seed"] = rules.pop("rng_seed")
    plan = plan_merge(
        updates,
        chunks,
        weights_N,
        MergeRules(aggregation=config, merge=merge, **rules),  # type: ignore[arg-type]
        previous=previous,
        lengths=lengths,
    )
    return merge_chunks(updates, chunks, plan, previous=previous, are_known=lengths is not None)


def _updates(num_updates: int, seed: int) -> list[NamedArrays]:
    rng = np.random.default_rng(seed)
    shared = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    return [
        {
            name: (shared[name] + 0.5 * rng.normal(size=shape)).astype(np.float32)
            for name, shape in SHAPES.items()
        }
        for _ in range(num_updates)
    ]


def _frames(update: NamedArrays) -> list[Frame]:
    return [encode_chunk(take_chunk(update, chunk), chunk, "fp32") for chunk in CHUNKS]


def _merge(
    updates: list[NamedArrays],
    config: AggregationConfig,
    *,
    merge: MergeName = "mean",
    plain_names: frozenset[str] = BUFFERS,
    weights: list[float] | None = None,
    previous: NamedArrays | None = None,
) -> NamedArrays:
    merged: NamedArrays = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    chunks = merge_updates(
        [_frames(update) for update in updates],
        CHUNKS,
        weights or [1.0] * len(updates),
        config,
        merge,
        plain_names=plain_names,
        rng_seed=3,
        previous=None if previous is None else [take_chunk(previous, chunk) for chunk in CHUNKS],
    )
    for index, merged_E in chunks:
        put_chunk_(merged, CHUNKS[index], merged_E)
    return merged


def _flat(update: NamedArrays, names: Sequence[str]) -> np.ndarray:
    return np.concatenate([update[name].reshape(-1) for name in names])


def _oracle(rule: RuleName, updates_ND: np.ndarray, num_faulty: int) -> np.ndarray:
    match rule:
        case "mean":
            return aggregation.mean(updates_ND, np.ones(len(updates_ND)))
        case "trimmed_mean":
            return aggregation.trimmed_mean(updates_ND, num_trimmed=num_faulty)
        case "median" | "geometric_median" | "centered_clip":
            merged_D: np.ndarray = getattr(aggregation, rule)(updates_ND)
            return merged_D
        case _:
            merged_D = getattr(aggregation, rule)(updates_ND, num_faulty=num_faulty)
            return merged_D


@pytest.mark.parametrize("bucket_size", [1, 2])
@pytest.mark.parametrize("rule", SMALLEST_COHORT)
def test_chunk_by_chunk_is_the_rule_on_whole_updates(rule: RuleName, bucket_size: int) -> None:
    num_faulty = 0 if rule == "mean" else 1
    updates = _updates(15, seed=1)
    updates[0] = {name: -50 * array for name, array in updates[0].items()}

    merged = _merge(updates, AggregationConfig(rule=rule, num_faulty=num_faulty, bucket_size=bucket_size))

    trained_ND = aggregation.norm_clip(np.stack([_flat(update, TRAINED) for update in updates]))
    plain_ND = np.stack([_flat(update, sorted(BUFFERS)) for update in updates])
    if rule == "mean":
        expected_plain_D = _oracle("mean", aggregation.norm_clip(plain_ND), 0)
    else:
        trained_ND = aggregation.bucketing(trained_ND, bucket_size=bucket_size, seed=3)
        buckets_MD = aggregation.bucketing(plain_ND, bucket_size=bucket_size, seed=3)
        expected_plain_D = aggregation.trimmed_mean(buckets_MD, num_trimmed=1)
    np.testing.assert_allclose(_flat(merged, TRAINED), _oracle(rule, trained_ND, num_faulty), atol=2e-5)
    np.testing.assert_allclose(_flat(merged, sorted(BUFFERS)), expected_plain_D, atol=2e-5)


def test_rda_is_the_merge_of_each_tensor_and_the_plain_mean_of_buffers() -> None:
    updates, weights = _updates(4, seed=2), [1.0, 2.0, 3.0, 4.0]

    merged = _merge(updates, AggregationConfig(), merge="rda", weights=weights)

    for name in TRAINED:
        stacked_ND = np.stack([update[name].reshape(-1) for update in updates])
        expected_D = aggregation.rda_merge(stacked_ND, np.array(weights))
        np.testing.assert_allclose(merged[name].reshape(-1), expected_D, atol=1e-5)
    plain_ND = np.stack([update["running_mean"] for update in updates])
    np.testing.assert_allclose(
        merged["running_mean"], aggregation.mean(plain_ND, np.array(weights)), atol=1e-5
    )


def test_centered_clipping_starts_at_the_last_aggregate() -> None:
    updates, previous = _updates(5, seed=3), _updates(1, seed=4)[0]

    merged = _merge(updates, AggregationConfig(rule="centered_clip", num_faulty=1), previous=previous)

    clipped_ND = aggregation.norm_clip(np.stack([_flat(update, TRAINED) for update in updates]))
    expected_D = aggregation.centered_clip(clipped_ND, previous_D=_flat(previous, TRAINED))
    np.testing.assert_allclose(_flat(merged, TRAINED), expected_D, atol=1e-5)


@given(st.integers(1, 5), st.lists(st.integers(1, 1000), min_size=5, max_size=5))
@settings(max_examples=20)
def test_the_mean_is_weighted_by_the_examples_of_each_update(num_updates: int, weights: list[int]) -> None:
    updates = _updates(num_updates, seed=5)
    weights = weights[:num_updates]

    merged = _merge(
        updates, AggregationConfig(clip_factor=1e9), weights=[float(weight) for weight in weights]
    )

    stacked_ND = np.stack([_flat(update, list(SHAPES)) for update in updates])
    np.testing.assert_allclose(
        _flat(merged, list(SHAPES)), np.average(stacked_ND, axis=0, weights=weights), atol=1e-5
    )


def test_known_lengths_save_the_first_pass_and_change_nothing() -> None:
    updates = _updates(4, seed=6)
    updates[3] = {name: 100 * array for name, array in updates[3].items()}
    counted = [_Counted(_frames(update)) for update in updates]
    lengths = [check_update(_frames(update), CHUNKS, plain_names=BUFFERS) for update in updates]
    rules = MergeRules(aggregation=AggregationConfig(), plain_names=BUFFERS)

    plan = plan_merge(counted, CHUNKS, [1.0] * 4, rules, lengths=lengths)
    merged = [merged_E for _, merged_E in merge_chunks(counted, CHUNKS, plan)]

    assert all(frames.num_reads == len(CHUNKS) for frames in counted)
    again = plan_merge(counted, CHUNKS, [1.0] * 4, rules)
    assert plan.scales == pytest.approx(again.scales)
    assert plan.scales[3] < 0.1
    for found_E, (_, expected_E) in zip(merged, merge_chunks(counted, CHUNKS, again), strict=True):
        np.testing.assert_allclose(found_E, expected_E, rtol=1e-6)


def test_an_update_that_the_plan_leaves_out_is_not_read_again() -> None:
    updates = _updates(5, seed=7)
    updates[2] = {name: -array for name, array in updates[2].items()}
    counted = [_Counted(_frames(update)) for update in updates]
    rules = MergeRules(aggregation=AggregationConfig(rule="multi_krum", num_faulty=1))

    plan = plan_merge(counted, CHUNKS, [1.0] * 5, rules)
    list(merge_chunks(counted, CHUNKS, plan))

    assert plan.weights is not None
    assert plan.weights[2] == 0
    assert [frames.num_reads // len(CHUNKS) for frames in counted] == [2, 2, 1, 2, 2]


def test_a_cohort_that_is_too_small_is_refused_before_anything_is_read() -> None:
    counted = [_Counted(_frames(update)) for update in _updates(4, seed=8)]

    with pytest.raises(CohortTooSmallError):
        merge_updates(counted, CHUNKS, [1.0] * 4, AggregationConfig(rule="krum", num_faulty=1), "mean")

    assert [frames.num_reads for frames in counted] == [0] * 4


def test_weights_for_other_updates_are_refused() -> None:
    with pytest.raises(ValueError, match="1 updates and 2 weights"):
        merge_updates([_frames(_updates(1, seed=9)[0])], CHUNKS, [1.0, 1.0], AggregationConfig(), "mean")


def test_the_check_measures_trained_tensors_and_buffers_apart() -> None:
    update = _updates(1, seed=10)[0]

    lengths = check_update(_frames(update), CHUNKS, plain_names=BUFFERS)

    assert lengths.trained == pytest.approx(float(np.sum(_flat(update, TRAINED) ** 2)), rel=1e-5)
    assert lengths.plain == pytest.approx(float(np.sum(update["running_mean"] ** 2)), rel=1e-5)


def test_the_check_refuses_missing_frames_nan_and_frames_of_another_chunk() -> None:
    frames = _frames(_updates(1, seed=11)[0])
    poison_E = np.full(num_elements(CHUNKS[1]), np.nan, np.float32)

    with pytest.raises(FrameCountError, match=f"{len(CHUNKS) - 1} frames, and the model has {len(CHUNKS)}"):
        check_update(frames[:-1], CHUNKS)
    with pytest.raises(NotFiniteError):
        check_update([frames[0], make_frame([poison_E], CHUNKS[1], "fp32"), *frames[2:]], CHUNKS)
    with pytest.raises(FrameError):
        check_update([frames[1], frames[0], *frames[2:]], CHUNKS)


def test_an_update_of_the_largest_numbers_does_not_overflow_the_merge() -> None:
    updates = _updates(5, seed=12)
    updates[4] = {name: np.full_like(array, np.finfo(np.float32).max) for name, array in updates[4].items()}

    for rule in SMALLEST_COHORT:
        if rule != "bulyan":
            num_faulty = 0 if rule == "mean" else 1
            merged = _merge(updates, AggregationConfig(rule=rule, num_faulty=num_faulty))
            assert np.abs(_flat(merged, list(SHAPES))).max() < 30, rule


def test_memory_is_one_chunk_of_each_update_whatever_the_model() -> None:
    chunk_elements, num_updates = 2**16, 4
    peaks = []
    for num_chunks in (2, 8):
        shape = (num_chunks * chunk_elements,)
        chunks = make_chunks({"w": [list(shape), "float32"]}, max_elements=chunk_elements)
        updates = [_Lazy(chunks, seed) for seed in range(num_updates)]
        tracemalloc.start()
        for _ in merge_updates(
            updates,
            chunks,
            [1.0] * num_updates,
            AggregationConfig(rule="krum", num_faulty=1),
            "mean",
            num_refused=1,
        ):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    assert peaks[1] < 1.1 * peaks[0]


class _Counted(Sequence[Frame]):
    """Frames that know how often they were read."""

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames
        self.num_reads = 0

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        self.num_reads += 1
        return self._frames[index]

    def __iter__(self) -> Iterator[Frame]:
        raise AssertionError("frames are read by index, one at a time")


class _Lazy(Sequence[Frame]):
    """Frames that are made when they are read, like those on disk."""

    def __init__(self, chunks: tuple[Chunk, ...], seed: int) -> None:
        self._chunks = chunks
        self._seed = seed

    def __len__(self) -> int:
        return len(self._chunks)

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | Sequence[Frame]:
        assert isinstance(index, int)
        chunk = self._chunks[index]
        rng = np.random.default_rng((self._seed, index))
        return encode_chunk(rng.normal(size=num_elements(chunk)).astype(np.float32), chunk, "int8")

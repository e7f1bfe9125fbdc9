from collections.abc import Sequence

import numpy as np
import pytest

from ayni.train.codec import decode_frame, encode_chunk
from ayni.train.config import TrainConfig
from ayni.train.engine import Frame
from ayni.train.layout import make_chunks
from ayni.train.merge import check_update
from ayni.train.named_arrays import NamedArrays, make_manifest
from ayni.train.shared_model import KeptUpdate, MergeTerms, SharedModel, StaleModelError
from ayni.train.strategy_config import StreamingConfig


def parameters() -> NamedArrays:
    rng = np.random.default_rng(1)
    return {
        "a.weight": rng.normal(size=(6, 5)).astype(np.float32),
        "a.bias": rng.normal(size=6).astype(np.float32),
    }


def shared(**changes: object) -> SharedModel:
    return SharedModel(TrainConfig(**changes), parameters(), plain_names=frozenset())  # type: ignore[arg-type]


def kept(model: SharedModel, values: float, round_: int = 1) -> KeptUpdate:
    chunks = model.chunks_of(round_)
    frames = [
        encode_chunk(
            np.full(sum(piece.stop - piece.start for piece in chunk), values, np.float32), chunk, "fp32"
        )
        for chunk in chunks
    ]
    return KeptUpdate(frames=frames, num_samples=8, lengths=check_update(frames, chunks))


def apply(model: SharedModel, values: float, round_: int = 1, **terms: float) -> None:
    model.apply_updates([kept(model, values, round_)], round_=round_, terms=MergeTerms(seed=0, **terms))  # type: ignore[arg-type]


def decoded(model: SharedModel, frames: Sequence[Frame], round_: int = 1) -> np.ndarray:
    chunks = model.chunks_of(round_)
    return np.concatenate([decode_frame(frame, chunk) for frame, chunk in zip(frames, chunks, strict=True)])


def flat(arrays: NamedArrays) -> np.ndarray:
    return np.concatenate([array.reshape(-1) for array in arrays.values()])


def test_the_first_model_need_not_travel_and_a_held_one_does_not_travel_again() -> None:
    model = shared()

    assert model.model_for(held=None).kind == "untrained"
    assert model.model_for(held=0).kind == "held"
    assert model.model_for(held=None, is_rebuildable=False).kind == "full"


@pytest.mark.parametrize("small_bytes", [2**20, 0])
def test_an_exact_model_travels_whole_and_is_counted(
    small_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ayni.train.shared_model.SMALL_BYTES", small_bytes)
    model = shared()
    apply(model, 0.5)
    assert model.bytes_down == 0

    found = model.model_for(held=0)
    values = decoded(model, found.frames)

    assert (found.version, found.kind) == (1, "full")
    np.testing.assert_array_equal(values, flat(model.parameters))
    assert model.bytes_down == values.nbytes + 128


@pytest.mark.parametrize("codec", ["bf16", "int8", "e3m0", "int2", "topk"])
def test_what_learners_hold_follows_the_exact_model_whatever_the_codec_loses(codec: str) -> None:
    model = shared(download_codec=codec, topk_fraction=0.2, outer_learning_rate=1.0, outer_momentum=0.0)
    held = flat(parameters())
    rng = np.random.default_rng(2)
    for round_ in range(1, 30):
        apply(model, float(rng.normal()) / round_**2, round_)
        change = model.model_for(held=round_ - 1)
        assert change.kind == "change"
        held = held + decoded(model, change.frames)

    assert np.abs(held - flat(model.parameters)).max() < 0.05
    np.testing.assert_allclose(held, flat(model.mirror), atol=1e-6)


def test_a_learner_that_missed_a_version_gets_exactly_what_the_others_hold() -> None:
    model = shared(download_codec="int8")
    apply(model, 0.5)
    apply(model, 0.25, 2)

    late = model.model_for(held=0)

    assert late.kind == "full"
    np.testing.assert_array_equal(decoded(model, late.frames), flat(model.mirror))


def test_a_small_model_on_its_way_stays_as_it_was() -> None:
    model = shared()
    apply(model, 0.5)
    before = flat(model.parameters)
    on_its_way = model.model_for(held=None)

    apply(model, 0.5, 2)
    apply(model, 0.5, 3)

    np.testing.assert_array_equal(decoded(model, on_its_way.frames), before)


def test_a_large_model_that_moved_on_while_it_was_sent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayni.train.shared_model.SMALL_BYTES", 0)
    model = shared()
    apply(model, 0.5)
    on_its_way = model.model_for(held=None)

    apply(model, 0.5, 2)

    with pytest.raises(StaleModelError, match="version 1"):
        on_its_way.frames[0]


def test_without_a_barrier_a_model_on_its_way_stays_as_it_was() -> None:
    model = shared(strategy="async")
    apply(model, 0.5)
    before = flat(model.parameters)
    on_its_way = model.model_for(held=None)

    apply(model, 0.5, 2)

    np.testing.assert_array_equal(decoded(model, on_its_way.frames), before)
    assert not np.array_equal(before, flat(model.parameters))


def test_a_streamed_part_is_the_fragment_of_its_round_only() -> None:
    model = shared(strategy="streaming", streaming=StreamingConfig(fragments=2))
    untouched = {name: array.copy() for name, array in model.parameters.items()}
    names = {piece.name for chunk in model.chunks_of(1) for piece in chunk}

    apply(model, 0.5)
    part = model.part_for(1)

    assert part.kind == "full"
    assert 0 < len(names) < 2
    for name, array in model.parameters.items():
        assert np.array_equal(array, untouched[name]) == (name not in names)
    values = decoded(model, part.frames)
    np.testing.assert_array_equal(values, flat({name: model.parameters[name] for name in names}))


def test_a_smaller_rate_moves_the_model_less() -> None:
    whole, half = shared(), shared()

    apply(whole, 0.5)
    apply(half, 0.5, rate_scale=0.5)

    moved = flat(parameters()) - flat(whole.parameters)
    np.testing.assert_allclose(flat(parameters()) - flat(half.parameters), moved / 2, rtol=1e-5)


def test_a_smaller_rate_leaves_averages_of_buffers_alone() -> None:
    model = SharedModel(TrainConfig(outer_momentum=0.0), parameters(), plain_names=frozenset({"a.bias"}))

    apply(model, 0.5, rate_scale=0.5)

    before = parameters()
    np.testing.assert_allclose(before["a.bias"] - model.parameters["a.bias"], 0.5, rtol=1e-6)
    moved = before["a.weight"] - model.parameters["a.weight"]
    np.testing.assert_allclose(moved, 0.5 * 0.5 * TrainConfig().outer_learning_rate, rtol=1e-5)


def test_groups_hold_all_that_a_checkpoint_needs() -> None:
    assert set(shared().groups) >= {"parameters"}
    assert "mirror" in shared(download_codec="int8").groups
    assert make_manifest(shared().groups["parameters"]) == make_manifest(parameters())
    assert make_chunks(make_manifest(parameters())) == shared().chunks_of(1)


def test_embeddings_are_averaged_plainly_by_rda_and_by_rda_only() -> None:
    made = {
        merge: SharedModel(
            TrainConfig(merge=merge),  # type: ignore[arg-type]
            parameters(),
            plain_names=frozenset({"a.bias"}),
            embedding_names=frozenset({"a.weight"}),
        )
        for merge in ("mean", "rda")
    }

    assert made["mean"].plain_names == {"a.bias"}
    assert made["rda"].plain_names == {"a.bias", "a.weight"}

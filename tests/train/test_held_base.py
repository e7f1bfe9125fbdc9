from collections.abc import Callable

import numpy as np
import pytest

from ayni.train.codec import ChecksumError, encode_chunk
from ayni.train.engine import Frame, MergedPart, Model, ModelKind
from ayni.train.held_base import BaseMissingError, HeldBase
from ayni.train.layout import make_chunks, num_elements
from ayni.train.named_arrays import NamedArrays, make_manifest

LIKE = {"w": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)}
# A chunk for each array.
CHUNKS = make_chunks(make_manifest(LIKE), max_elements=6)


def frames(*values: float) -> tuple[Frame, ...]:
    """One frame a chunk, all its values alike."""
    return tuple(
        encode_chunk(np.full(num_elements(chunk), value, np.float32), chunk, "fp32")
        for chunk, value in zip(CHUNKS, values, strict=False)
    )


def model(kind: ModelKind, version: int, *values: float) -> Model:
    return Model(version=version, kind=kind, frames=frames(*values))


def untrained() -> NamedArrays:
    return {name: np.full_like(array, 7.0) for name, array in LIKE.items()}


def not_untrained() -> None:
    """The model that is built here is not the job's."""


def base_of(version: int) -> HeldBase:
    """A base whose w is 1 and whose b is 2."""
    base = HeldBase(LIKE, learner=3, chunks=CHUNKS)
    base.take(model("full", version, 1.0, 2.0), not_untrained, CHUNKS)
    return base


def values_of(base: HeldBase) -> tuple[float, float]:
    w, b = base.arrays["w"], base.arrays["b"]
    assert (w == w[0, 0]).all() and (b == b[0]).all()
    return float(w[0, 0]), float(b[0])


def damaged(sent: tuple[Frame, ...], place: int) -> tuple[Frame, ...]:
    spoiled = [frame.copy() for frame in sent]
    spoiled[place][-1] ^= 255
    return tuple(spoiled)


def test_a_whole_model_is_taken_by_whoever_held_anything_or_nothing() -> None:
    base = base_of(4)

    base.take(model("full", 9, 5.0, 6.0), not_untrained, CHUNKS)

    assert (base.version, values_of(base)) == (9, (5.0, 6.0))


def test_a_change_is_added_to_the_version_before() -> None:
    base = base_of(4)

    base.take(model("change", 5, 0.5, 0.25), not_untrained, CHUNKS)

    assert (base.version, values_of(base)) == (5, (1.5, 2.25))


def test_a_change_of_some_chunks_leaves_the_others() -> None:
    base = base_of(4)

    base.take(model("change", 5, 0.5), not_untrained, CHUNKS[:1])

    assert (base.version, values_of(base)) == (5, (1.5, 2.0))


def test_a_change_that_an_earlier_attempt_took_in_is_not_added_again() -> None:
    base, change = base_of(4), model("change", 5, 0.5, 0.25)
    base.take(change, not_untrained, CHUNKS)

    base.take(change, not_untrained, CHUNKS)

    assert values_of(base) == (1.5, 2.25)


def test_a_held_model_is_taken_as_it_is() -> None:
    base = base_of(4)

    base.take(model("held", 4), not_untrained, CHUNKS)

    assert (base.version, values_of(base)) == (4, (1.0, 2.0))


def test_the_untrained_model_is_built_and_copied() -> None:
    base, built = HeldBase(LIKE, learner=3, chunks=CHUNKS), untrained()

    base.take(model("untrained", 0), lambda: built, CHUNKS)
    built["w"][:] = -1.0

    assert (base.version, values_of(base)) == (0, (7.0, 7.0))


@pytest.mark.parametrize(
    ("kind", "version", "build"),
    [
        ("held", 5, untrained),
        ("change", 6, untrained),
        ("change", 3, untrained),
        ("untrained", 0, not_untrained),
    ],
)
def test_what_cannot_be_had_from_what_is_held_is_asked_for_whole(
    kind: ModelKind, version: int, build: Callable[[], NamedArrays | None]
) -> None:
    base = base_of(4)

    with pytest.raises(BaseMissingError, match=f"holds version 4 and was to start from version {version}"):
        base.take(model(kind, version, 0.5, 0.5), build, CHUNKS)

    assert (base.version, values_of(base)) == (4, (1.0, 2.0))


def test_a_learner_that_holds_nothing_says_so() -> None:
    base = HeldBase(LIKE, learner=3, chunks=CHUNKS)

    with pytest.raises(BaseMissingError, match="Learner 3 holds no model") as caught:
        base.take(model("held", 2), untrained, CHUNKS)

    assert (caught.value.learner, caught.value.wanted_version) == (3, 2)


@pytest.mark.parametrize("kind", ["full", "change"])
def test_a_model_that_came_in_half_leaves_no_base_and_a_whole_one_mends_it(kind: ModelKind) -> None:
    base = base_of(4)
    torn = Model(version=5, kind=kind, frames=damaged(frames(3.0, 3.0), place=1))

    with pytest.raises(ChecksumError):
        base.take(torn, not_untrained, CHUNKS)

    assert base.version is None
    with pytest.raises(BaseMissingError):
        base.take(model("change", 5, 0.5, 0.25), not_untrained, CHUNKS)
    base.take(model("full", 5, 8.0, 9.0), not_untrained, CHUNKS)
    assert (base.version, values_of(base)) == (5, (8.0, 9.0))


def test_a_merged_part_replaces_its_chunks_or_is_added_to_them() -> None:
    base = base_of(4)

    base.take_part(MergedPart(round=5, version=5, kind="full", frames=frames(3.0)), CHUNKS[:1])
    base.take_part(MergedPart(round=6, version=6, kind="change", frames=frames(0.5)), CHUNKS[:1])

    assert (base.version, values_of(base)) == (6, (3.5, 2.0))


def test_a_part_that_does_not_follow_on_the_base_is_refused() -> None:
    base = base_of(4)

    with pytest.raises(BaseMissingError, match="was to start from version 5"):
        base.take_part(MergedPart(round=6, version=6, kind="change", frames=frames(0.5)), CHUNKS[:1])

    assert (base.version, values_of(base)) == (4, (1.0, 2.0))


def test_a_damaged_part_leaves_no_base() -> None:
    base = base_of(4)
    torn = MergedPart(round=5, version=5, kind="change", frames=damaged(frames(0.5), place=0))

    with pytest.raises(ChecksumError):
        base.take_part(torn, CHUNKS[:1])

    assert base.version is None


def test_a_base_is_no_view_of_the_model_that_it_is_like() -> None:
    base = base_of(4)

    assert not any(np.shares_memory(base.arrays[name], array) for name, array in LIKE.items())
    assert all((array == 0).all() for array in LIKE.values())

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.train.fragments import TooManyFragmentsError, fragment_chunks, fragment_of_round, make_fragments
from ayni.train.layout import Manifest


def gpt(num_layers: int) -> Manifest:
    """Embedding, layers with a buffer each, norm and head."""
    layers = {
        f"blocks.{layer}.{name}": [shape, "float32"]
        for layer in range(num_layers)
        for name, shape in (("attention.weight", [8, 8]), ("dense.weight", [8, 32]), ("seen", []))
    }
    beside = {"embedding.weight": [50, 8], "norm.weight": [8], "head.weight": [50, 8]}
    return {name: [shape, "float32"] for name, shape in beside.items()} | layers


def sizes_of(manifest: Manifest, num_fragments: int) -> list[int]:
    return [
        sum(piece.num_elements for chunk in chunks for piece in chunk)
        for chunks in fragment_chunks(manifest, num_fragments)
    ]


def test_layers_are_dealt_out_in_turn_and_buffers_stay_with_them() -> None:
    fragments = make_fragments(gpt(num_layers=6), 3)

    layers = [{name.split(".")[1] for name in names if name.startswith("blocks")} for names in fragments]
    assert layers == [{"0", "3"}, {"1", "4"}, {"2", "5"}]
    assert all(len([name for name in names if name.endswith("seen")]) == 2 for names in fragments)


def test_what_stands_beside_the_layers_fills_the_smallest_fragments() -> None:
    fragments = make_fragments(gpt(num_layers=2), 4)

    owner = {name: place for place, names in enumerate(fragments) for name in names}
    assert owner["embedding.weight"] != owner["head.weight"]
    assert {owner["embedding.weight"], owner["head.weight"]} == {2, 3}


@given(num_layers=st.integers(0, 9), num_fragments=st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_every_array_is_in_one_fragment_and_no_fragment_is_empty(num_layers: int, num_fragments: int) -> None:
    manifest = gpt(num_layers)
    if num_fragments > len(manifest):
        return

    fragments = make_fragments(manifest, num_fragments)

    assert sorted(name for names in fragments for name in names) == sorted(manifest)
    assert all(fragments)
    assert make_fragments(manifest, num_fragments) == fragments


@given(num_layers=st.integers(4, 24), num_fragments=st.integers(2, 4))
@settings(max_examples=50, deadline=None)
def test_no_fragment_is_larger_than_the_smallest_by_more_than_a_layer_or_the_largest_array(
    num_layers: int, num_fragments: int
) -> None:
    sizes = sizes_of(gpt(num_layers), num_fragments)

    assert max(sizes) - min(sizes) <= 8 * 8 + 8 * 32 + 1 + 50 * 8


def test_a_model_with_few_layers_is_dealt_out_by_arrays() -> None:
    manifest = {f"dense.{name}": [[4, 4], "float32"] for name in "abcd"}

    assert [len(names) for names in make_fragments(manifest, 4)] == [1, 1, 1, 1]


def test_too_many_fragments_are_refused_with_the_number_that_would_do() -> None:
    with pytest.raises(TooManyFragmentsError, match="Lower it to at most 2"):
        make_fragments({"weight": [[2], "float32"], "bias": [[2], "float32"]}, 3)


def test_fragments_take_turns() -> None:
    assert [fragment_of_round(round_, 3) for round_ in range(1, 8)] == [0, 1, 2, 0, 1, 2, 0]

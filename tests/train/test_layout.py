import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.layout import Piece, add_chunk_, make_chunks, num_elements, put_chunk_, take_chunk, views

shapes = st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8)


def make_arrays(all_shapes: list[list[int]], dtype: str = "float32") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {f"t{i}": rng.standard_normal(shape).astype(dtype) for i, shape in enumerate(all_shapes)}


def manifest_of(arrays: dict[str, np.ndarray]) -> dict[str, list[object]]:
    return {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()}


@given(shapes, st.integers(1, 50))
def test_every_element_is_in_exactly_one_chunk_and_in_order(
    all_shapes: list[list[int]], max_elements: int
) -> None:
    arrays = make_arrays(all_shapes)

    chunks = make_chunks(manifest_of(arrays), max_elements=max_elements)

    assert all(1 <= num_elements(chunk) <= max_elements for chunk in chunks)
    flat = np.concatenate([array.ravel() for array in arrays.values()])
    taken = [take_chunk(arrays, chunk) for chunk in chunks]
    assert np.array_equal(flat, np.concatenate(taken) if taken else [])


@given(shapes, st.integers(1, 50))
def test_a_tensor_that_fits_into_a_chunk_is_not_cut(all_shapes: list[list[int]], max_elements: int) -> None:
    arrays = make_arrays(all_shapes)

    pieces = [
        piece for chunk in make_chunks(manifest_of(arrays), max_elements=max_elements) for piece in chunk
    ]

    for name, array in arrays.items():
        num_pieces = sum(piece.name == name for piece in pieces)
        assert num_pieces == -(-array.size // max_elements)


def test_small_tensors_share_a_chunk_and_a_big_one_is_cut_at_multiples() -> None:
    manifest = {name: [[size], "float32"] for name, size in {"a": 3, "b": 4, "c": 25, "d": 5}.items()}

    chunks = make_chunks(manifest, max_elements=10)

    assert [[(piece.name, piece.start, piece.stop) for piece in chunk] for chunk in chunks] == [
        [("a", 0, 3), ("b", 0, 4)],
        [("c", 0, 10)],
        [("c", 10, 20)],
        [("c", 20, 25), ("d", 0, 5)],
    ]


@given(shapes, st.integers(1, 50), st.sampled_from(["float32", "float64"]))
def test_what_is_put_and_added_to_chunks_is_in_the_arrays(
    all_shapes: list[list[int]], max_elements: int, dtype: str
) -> None:
    source, target = make_arrays(all_shapes), make_arrays(all_shapes, dtype)

    for chunk in make_chunks(manifest_of(source), max_elements=max_elements):
        put_chunk_(target, chunk, take_chunk(source, chunk))
        add_chunk_(target, chunk, take_chunk(source, chunk))

    assert all(np.allclose(target[name], 2 * source[name]) for name in source)


def test_one_piece_of_float32_is_a_view_and_several_are_a_copy() -> None:
    arrays = {"a": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.float32)}
    one, both = make_chunks({"a": [[2, 3], "float32"]}), make_chunks(manifest_of(arrays))

    assert np.shares_memory(take_chunk(arrays, one[0]), arrays["a"])
    assert not np.shares_memory(take_chunk(arrays, both[0]), arrays["a"])


def test_writing_to_views_writes_to_the_arrays() -> None:
    arrays = make_arrays([[2, 3], []])
    (chunk,) = make_chunks(manifest_of(arrays))

    for view in views(arrays, chunk):
        view[:] = 0

    assert not any(array.any() for array in arrays.values())


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({}, "there is no array w"),
        ({"w": np.zeros((3, 2), np.float32)}, r"w has shape \(3, 2\)"),
        ({"w": np.zeros((3, 2), np.float32).T}, "not contiguous"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays: dict[str, np.ndarray], complaint: str) -> None:
    (chunk,) = make_chunks({"w": [[2, 3], "float32"]})

    with pytest.raises(ValueError, match=complaint):
        put_chunk_(arrays, chunk, np.ones(6, np.float32))


def test_values_of_another_length_are_refused_before_anything_changes() -> None:
    arrays = make_arrays([[4], [3]])
    before = {name: array.copy() for name, array in arrays.items()}
    (chunk,) = make_chunks(manifest_of(arrays))

    with pytest.raises(ValueError, match=r"values have shape \(8,\), and the chunk 7 elements"):
        add_chunk_(arrays, chunk, np.ones(8, np.float32))

    assert all(np.array_equal(arrays[name], before[name]) for name in arrays)


def test_empty_pieces_and_chunks_are_refused() -> None:
    with pytest.raises(ValueError, match="holds nothing"):
        Piece("w", 3, 3)
    with pytest.raises(ValueError, match="max_elements must be at least 1, not 0"):
        make_chunks({}, max_elements=0)

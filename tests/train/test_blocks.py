import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.blocks import BLOCK_ELEMENTS, make_blocks


@given(st.lists(st.integers(1, 3 * BLOCK_ELEMENTS), min_size=1, max_size=5).map(tuple))
def test_blocks_cover_everything_once_and_never_span_two_tensors(all_sizes: tuple[int, ...]) -> None:
    blocks = make_blocks(all_sizes)

    borders = set(np.cumsum(all_sizes).tolist())
    assert np.array_equal(np.cumsum(blocks.lengths)[:-1], blocks.starts[1:])
    assert borders <= set((blocks.starts + blocks.lengths).tolist())
    assert blocks.num_elements == sum(all_sizes)
    assert blocks.lengths.max() <= BLOCK_ELEMENTS
    assert len(blocks.lengths) == sum(-(-size // BLOCK_ELEMENTS) for size in all_sizes)
    assert sum(matrix.size for matrix in blocks.matrices(np.zeros(sum(all_sizes)))) == sum(all_sizes)


def test_a_run_reaches_over_neighbours_of_one_length() -> None:
    blocks = make_blocks((2 * BLOCK_ELEMENTS + 3, 5))

    assert blocks.runs == (
        (0, 2, 0, BLOCK_ELEMENTS),
        (2, 1, 2 * BLOCK_ELEMENTS, 3),
        (3, 1, 2 * BLOCK_ELEMENTS + 3, 5),
    )

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ayni.reports.labels import CHARACTER_WIDTH, LINE_HEIGHT, place_labels, spread_apart

FRAME = (0.0, 0.0, 400.0, 300.0)


def test_names_of_two_points_at_one_place_do_not_cover_each_other() -> None:
    placed = place_labels(["full", "full-onnx"], [(200, 100), (200, 100)], frame=FRAME)

    (left, top), (other_left, other_top) = [
        (x if anchor == "start" else x - CHARACTER_WIDTH * len(name), y)
        for name, (x, y, anchor) in zip(["full", "full-onnx"], placed, strict=True)
    ]
    apart = abs(left - other_left) >= CHARACTER_WIDTH * 4 or abs(top - other_top) >= LINE_HEIGHT
    assert apart


def test_a_name_at_the_right_edge_is_written_to_the_left() -> None:
    ((_, _, anchor),) = place_labels(["distilled"], [(395, 100)], frame=FRAME)

    assert anchor == "end"


@given(st.lists(st.floats(min_value=0, max_value=300), min_size=1, max_size=8))
def test_spread_positions_keep_their_order_and_their_distance(positions: list[float]) -> None:
    moved = spread_apart(positions, gap=17)

    ordered = [new for _, new in sorted(zip(positions, moved, strict=True))]
    assert all(after - before >= 17 - 1e-6 for before, after in itertools.pairwise(ordered))
    assert all(new >= old for old, new in zip(positions, moved, strict=True))


@given(st.lists(st.floats(min_value=0, max_value=300), min_size=1, max_size=8))
def test_positions_with_an_end_do_not_go_below_it(positions: list[float]) -> None:
    moved = spread_apart(positions, gap=17, lowest=300)

    ordered = [new for _, new in sorted(zip(positions, moved, strict=True))]
    assert max(moved) <= 300
    assert all(after - before >= 17 - 1e-6 for before, after in itertools.pairwise(ordered))

import xml.etree.ElementTree as ET
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from ayni.reports.plots import (
    Figure,
    Point,
    Series,
    line_plot,
    pareto_front,
    ring_radii,
    short,
    split_far,
    trade_off_plot,
)

HOSTILE = '</svg><script>alert("1")</script> & \' {{ 7*7 }}'
SVG = "{http://www.w3.org/2000/svg}"


def figure(title: str = "accuracy against size") -> Figure:
    return Figure(
        key="one",
        title=title,
        description="int8: 97.8 % at 67 kB.",
        x_label="Size",
        y_label="Accuracy",
        write_x="{:g} kB".format,
        write_y="{:.1%}".format,
    )


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


POINTS = [
    Point(name="full", x=832, y=0.983, y_low=0.973, y_high=0.989),
    Point(name="int8", x=67, y=0.978, y_low=0.967, y_high=0.985, is_chosen=True),
    Point(name="pruned", x=213, y=0.41),
]


def test_a_figure_has_a_title_and_a_description_for_those_who_cannot_see_it() -> None:
    root = parsed(trade_off_plot(figure(), POINTS, is_higher_better=True))

    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "one-title one-desc"
    assert [root.find(f"{SVG}{tag}").text for tag in ("title", "desc")] == [  # type: ignore[union-attr]
        "accuracy against size",
        "int8: 97.8 % at 67 kB.",
    ]


def test_every_variant_is_named_in_the_figure() -> None:
    root = parsed(trade_off_plot(figure(), POINTS, is_higher_better=True, reference=("logistic", 0.894)))

    texts = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert all(name in texts for name in ("full", "int8", "pruned 41.0%", "logistic 89.4%"))


def test_names_from_users_stay_text() -> None:
    point = Point(name=HOSTILE, x=1, y=0.5)
    svg = trade_off_plot(figure(HOSTILE), [point], is_higher_better=True, reference=(HOSTILE, 0.9))
    svg += line_plot(figure(HOSTILE), [Series(name=HOSTILE, points=[(0, 1), (1, 2)])])

    assert "<script" not in svg
    parsed(f"<svg >{svg}</svg>")


def test_figures_take_their_colours_from_the_page() -> None:
    svg = trade_off_plot(figure(), POINTS, is_higher_better=True)

    assert "#" not in svg
    assert "style=" not in svg


def test_without_points_there_is_no_figure() -> None:
    assert line_plot(figure(), [Series(name="validation", points=[])]) == ""
    assert trade_off_plot(figure(), [], is_higher_better=True) == ""


def test_one_single_point_can_be_drawn() -> None:
    parsed(line_plot(figure(), [Series(name="validation", points=[(10, 0.5)])]))
    parsed(trade_off_plot(figure(), POINTS[:1], is_higher_better=False))


def test_a_point_far_below_the_others_does_not_flatten_them() -> None:
    near, far = split_far(POINTS, is_higher_better=True)

    assert [point.name for point in near] == ["full", "int8"]
    assert [point.name for point in far] == ["pruned"]


def test_for_a_metric_that_should_be_low_far_means_high() -> None:
    points = [Point(name=str(y), x=1, y=y) for y in (2.1, 2.2, 9.0)]

    assert [point.name for point in split_far(points, is_higher_better=False)[1]] == ["9.0"]


def test_differences_are_far_by_the_scale_of_what_they_are_differences_of() -> None:
    losses = [Point(name=str(y), x=1, y=y) for y in (0.0, 0.0, 0.004, 0.03, 0.5)]

    assert [p.name for p in split_far(losses, is_higher_better=False)[1]] == ["0.004", "0.03", "0.5"]
    assert [p.name for p in split_far(losses, is_higher_better=False, scale=0.98)[1]] == ["0.5"]


def test_far_points_without_names_are_counted_in_one_line() -> None:
    far = [Point(name=f"n{y}", x=9, y=y, is_named=False) for y in (0.5, 0.6, 0.7)]
    root = parsed(trade_off_plot(figure(), [*POINTS, *far], is_higher_better=True))

    texts = [text.text or "" for text in root.iter(f"{SVG}text")]
    assert any("3 more, from 70.0%" in text for text in texts)
    assert any("pruned 41.0%" in text for text in texts)
    assert not any("n0." in text for text in texts)


def test_a_pale_point_is_small_and_has_no_bar() -> None:
    pale = Point(name="beaten", x=400, y=0.975, y_low=0.9, y_high=1.0, is_pale=True, is_named=False)
    root = parsed(trade_off_plot(figure(), [*POINTS[:2], pale], is_higher_better=True))

    (drawn,) = [group for group in root.iter(f"{SVG}g") if group.get("class") == "point pale"]
    assert [child.tag for child in drawn] == [f"{SVG}circle"]
    assert float(drawn[0].get("r") or 0) < 5
    assert "beaten" not in " ".join(text.text or "" for text in root.iter(f"{SVG}text"))


COORDINATES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(st.lists(COORDINATES, min_size=1, max_size=9), st.booleans())
def test_the_front_holds_exactly_the_values_that_nothing_beats(
    places: list[tuple[int, int]], is_higher_better: bool
) -> None:
    sign = 1 if is_higher_better else -1
    points = [Point(name="p", x=x, y=y) for x, y in places]

    front = {(p.x, p.y) for p in pareto_front(points, is_higher_better=is_higher_better)}

    unbeaten = {
        (p.x, p.y)
        for p in points
        if not any(q.x <= p.x and sign * q.y >= sign * p.y and (q.x, q.y) != (p.x, p.y) for q in points)
    }
    assert front == unbeaten
    assert all(a[0] != b[0] for a, b in combinations(front, 2))


def test_round_numbers_lose_the_zeros_of_precision() -> None:
    assert [short(text) for text in ("50.0 kB", "0.500", "97.5 %", "1,000 J", "100")] == [
        "50 kB",
        "0.5",
        "97.5 %",
        "1,000 J",
        "100",
    ]


def test_the_chosen_point_lies_on_top_of_one_at_its_place_which_becomes_a_ring() -> None:
    hidden = Point(name="full", x=67, y=0.978)
    for points in ([POINTS[1], hidden], [hidden, POINTS[1]]):
        svg = str(trade_off_plot(figure(), points, is_higher_better=True))

        assert svg.index('<circle class="ring"') < svg.index('class="point chosen"')


def test_rings_around_one_place_grow_and_marks_apart_have_none() -> None:
    first, second, third, apart = ring_radii([(10, 10), (10, 10), (12, 11), (60, 10)])

    assert first is None and apart is None
    assert second is not None and third is not None
    assert 8 < second < third

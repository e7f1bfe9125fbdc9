import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.reports.sustainability.plots import (
    HEIGHT,
    MAX_ROWS,
    WIDTH,
    Bar,
    BarFigure,
    month_plot,
    months_between,
    ranked_plot,
)

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = '</svg><script>alert("1")</script> & \' {{ 7*7 }}'
FIGURE = BarFigure(
    key="one", title="Energy by month", label="Energy by month", write=lambda value: f"{value:g} kWh"
)
MONTHS = [
    Bar(name="2026-01", value=4.0, low=2.0, high=8.0),
    Bar(name="2026-03", value=2.0, low=1.0, high=4.0, is_complete=False),
]


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(str(svg).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def bars(root: ET.Element) -> list[ET.Element]:
    return list(root.iter(f"{SVG}rect"))


def texts(root: ET.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_the_description_says_every_number_with_its_interval() -> None:
    root = parsed(month_plot(FIGURE, MONTHS))

    assert root.find(f"{SVG}desc").text == (  # type: ignore[union-attr]
        "2026-01 4 kWh (2 kWh to 8 kWh); 2026-03 at least 2 kWh (1 kWh to 4 kWh)."
    )


def test_bars_begin_at_zero_and_are_as_high_as_their_values() -> None:
    first, second = bars(parsed(month_plot(FIGURE, MONTHS)))

    heights = [float(bar.get("height", 0)) for bar in (first, second)]
    floors = [float(bar.get("y", 0)) + float(bar.get("height", 0)) for bar in (first, second)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert floors[0] == pytest.approx(floors[1], abs=0.2)


def test_a_month_without_figures_keeps_its_place() -> None:
    root = parsed(month_plot(FIGURE, MONTHS))

    assert texts(root)[-4:] == ["Jan", "2026", "Feb", "Mar"]
    centres = [float(bar.get("x", 0)) + float(bar.get("width", 0)) / 2 for bar in bars(root)]
    assert centres[1] - centres[0] == pytest.approx(2 * (WIDTH - 62 - 12) / 3, abs=0.2)


def test_a_sum_with_unknown_parts_is_hollow_and_one_without_interval_has_no_line() -> None:
    drawn = str(month_plot(FIGURE, [MONTHS[1], Bar(name="2026-04", value=1.0, is_imported=True)]))

    assert 'class="column metered incomplete"' in drawn
    assert 'class="column imported"' in drawn
    assert drawn.count('class="interval"') == 2  # the line with one end, and the other end


def test_rows_are_ranked_and_the_largest_come_first() -> None:
    rows = [Bar(name=f"member-{number:02d}", value=float(number)) for number in range(1, 20)]

    root = parsed(ranked_plot(FIGURE, rows))

    names = [text for text in texts(root) if text.startswith("member")]
    assert names == [f"member-{number:02d}" for number in range(19, 19 - MAX_ROWS, -1)]


def test_a_long_name_is_cut_and_stays_whole_in_the_description() -> None:
    name = "a-job-with-a-very-long-name-that-goes-on-and-on"

    root = parsed(ranked_plot(FIGURE, [Bar(name=name, value=1.0)]))

    assert name[:37] + "\N{HORIZONTAL ELLIPSIS}" in texts(root)
    assert name in (root.find(f"{SVG}desc").text or "")  # type: ignore[union-attr]


def test_names_stay_text() -> None:
    root = parsed(ranked_plot(FIGURE, [Bar(name=HOSTILE, value=1.0, low=0.5, high=2.0)]))

    assert not list(root.iter(f"{SVG}script"))
    assert any(text.startswith(HOSTILE[:30]) for text in texts(root))


@pytest.mark.parametrize("draw", [month_plot, ranked_plot])
def test_nothing_is_drawn_of_nothing(draw: object) -> None:
    assert draw(FIGURE, []) == ""  # type: ignore[operator]
    assert draw(FIGURE, [Bar(name="2026-01", value=0.0)]) == ""  # type: ignore[operator]


def test_months_between_two_are_all_of_them() -> None:
    assert months_between("2025-11", "2026-02") == ["2025-11", "2025-12", "2026-01", "2026-02"]
    assert months_between("2026-02", "2026-02") == ["2026-02"]


MONTH_BARS = st.lists(
    st.builds(
        lambda index, low, up, over: Bar(
            name=f"{2020 + index // 12:04d}-{index % 12 + 1:02d}",
            value=low + up,
            low=low,
            high=low + up + over,
        ),
        st.integers(0, 90),
        st.floats(0, 1e6),
        st.floats(1e-6, 1e6),
        st.floats(0, 1e9),
    ),
    min_size=1,
    max_size=20,
    unique_by=lambda bar: bar.name,
)


@given(MONTH_BARS)
def test_whatever_the_values_everything_is_inside_the_picture(drawn: list[Bar]) -> None:
    root = parsed(month_plot(FIGURE, drawn))

    for bar in bars(root):
        x, y, width, height = (float(bar.get(name, -1)) for name in ("x", "y", "width", "height"))
        assert x >= 0 and x + width <= WIDTH
        assert y >= 0 and y + height <= HEIGHT + 1
    assert parsed(ranked_plot(FIGURE, drawn)) is not None

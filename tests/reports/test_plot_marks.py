import xml.etree.ElementTree as ET

from markupsafe import Markup

from ayni.reports.plot_marks import key_of
from ayni.reports.plots import Figure, Point, trade_off_plot


def plot(*points: Point) -> Markup:
    figure = Figure(
        key="one",
        title="loss",
        description="",
        x_label="x",
        y_label="y",
        write_x=str,
        write_y=str,
    )
    return trade_off_plot(figure, points, is_higher_better=False, scale=1.0)


CHOSEN = Point(name="int8", x=1, y=0.01, is_chosen=True)
FULL = Point(name="full", x=9, y=0.0)


def meanings(*plots: Markup) -> str:
    return " ".join(entry.meaning for entry in key_of(plots))


def test_only_marks_that_are_drawn_are_explained() -> None:
    assert meanings(plot(CHOSEN)) == "The chosen variant."
    assert "front" in meanings(plot(CHOSEN, FULL))
    assert "Another variant beats it" in meanings(plot(CHOSEN, Point(name="bad", x=9, y=0.02, is_pale=True)))
    assert "ring" in meanings(plot(CHOSEN, Point(name="twin", x=1, y=0.01)))
    assert "intervals" in meanings(plot(Point(name="int8", x=1, y=0.01, y_low=0.0, y_high=0.02)))
    assert meanings() == ""


def test_a_mark_of_one_plot_is_enough_and_is_explained_once() -> None:
    assert meanings(plot(FULL), plot(CHOSEN), plot(CHOSEN)) == "The chosen variant."


def test_the_marks_of_the_key_are_drawn_whole() -> None:
    for entry in key_of([plot(CHOSEN, FULL, Point(name="twin", x=1, y=0.01, y_low=0.0, y_high=0.02))]):
        ET.fromstring(str(entry.drawn))

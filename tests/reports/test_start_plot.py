"""The drawing of when to run stands alone and says in words what it shows."""

from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import pytest

from ayni.footprint.grid.basis import Basis
from ayni.footprint.grid.intensity_series import IntensitySeries
from ayni.footprint.grid.scheduling import Work, when_to_run
from ayni.reports.start_plot import start_plot

SUNNY_DAY = [300.0] * 12 + [100.0] * 4 + [200.0] * 8
SVG = "{http://www.w3.org/2000/svg}"


def view_of(days: list[float], *, num_days: int = 30, zone: str = "DE", within: float = 24) -> dict[str, Any]:
    series = IntensitySeries(
        zone=zone,
        basis=Basis(),
        source="a test",
        first_hour=datetime(2026, 3, 1, tzinfo=UTC),
        grams_co2e_per_kwh=tuple(days * num_days),
    )
    advice = when_to_run(Work(hours=4, within_hours=within), now=series.end, series=series)
    return {**advice.to_json(), "hours": 4, "zone": zone, "not_before": series.end.isoformat()}


def drawn(view: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(start_plot(view))


def texts(root: ElementTree.Element) -> list[str]:
    return [text.text or "" for text in root.iter(f"{SVG}text")]


def test_both_starts_stand_where_their_hours_are() -> None:
    root = drawn(view_of(SUNNY_DAY))

    now, then = (rect for rect in root.iter(f"{SVG}rect") if rect.get("class") in ("now", "then"))
    widths = [float(rect.get("width", 0)) for rect in (now, then)]
    # Twelve hours lie between the starts, and each lasts four.
    assert widths[0] == pytest.approx(widths[1], abs=0.2)
    assert float(then.get("x", 0)) - float(now.get("x", 0)) == pytest.approx(3 * widths[0], abs=0.5)
    assert {"at once 300", "then 100"} <= set(texts(root))


def test_the_past_stands_below_and_is_left_out_where_nobody_knows_it() -> None:
    whole, short = drawn(view_of(SUNNY_DAY)), drawn(view_of(SUNNY_DAY, num_days=3))

    assert len(list(whole.iter(f"{SVG}polyline"))) == 2
    assert any(text.startswith("Past: 529 starts saved") for text in texts(whole))
    assert len(list(short.iter(f"{SVG}polyline"))) == 1
    assert not any(text.startswith("Past") for text in texts(short))


def test_it_says_in_words_what_it_shows_and_takes_no_markup_from_a_file() -> None:
    root = drawn(view_of(SUNNY_DAY, zone="<b>&DE"))

    title, description = root.find(f"{SVG}title"), root.find(f"{SVG}desc")
    assert title is not None
    assert title.text == "4 h of work in <b>&DE: wait until Tue 31 Mar 12:00 UTC"
    assert description is not None
    assert "got worse" in (description.text or "")
    assert root.get("role") == "img"


def test_a_flat_grid_has_one_start_and_no_reason_to_wait() -> None:
    root = drawn(view_of([500.0] * 24))

    assert "4 h of work in DE: no use waiting" in texts(root)
    assert not any(rect.get("class") == "then" for rect in root.iter(f"{SVG}rect"))


def test_a_long_time_has_few_ticks() -> None:
    root = drawn(view_of(SUNNY_DAY, within=24 * 10))

    assert sum(text.endswith(":00") for text in texts(root)) <= 10


def test_without_hours_there_is_nothing_to_draw() -> None:
    view = {**view_of(SUNNY_DAY), "grams_per_kwh_by_hour": []}

    with pytest.raises(ValueError, match="nothing to draw"):
        start_plot(view)

"""The verdict stands beside each picture, curves and bars say the numbers, and old runs are still read."""

import re
from pathlib import Path
from typing import Any

import pytest

from ayni.explain.pictures import draw_attribution
from ayni.reports.explain_page import write_explain_page
from ayni.reports.explain_section import (
    coefficient_bars,
    curve_plots,
    importance_bars,
    mark,
    weight_pictures,
)
from ayni.reports.html_report import render_report

np = pytest.importorskip("numpy")


@pytest.mark.parametrize(
    ("verdict", "kind", "text"),
    [
        ("faithful", "good", "checked"),
        ("not faithful", "bad", "explains nothing"),
        ("unsure", "open", "unsure"),
    ],
)
def test_each_picture_carries_the_verdict(view: dict[str, Any], verdict: str, kind: str, text: str) -> None:
    view["explain"]["checks"]["verdict"] = verdict

    page = render_report(view)

    found = mark(view)
    assert found is not None and (found.kind, found.text) == (kind, text)
    assert page.count(f'<span class="verdict {kind}"') == 1 + len(view["explain"]["items"])
    assert page.count('<li class="doubtful">') == (len(view["explain"]["items"]) if kind == "bad" else 0)


def test_without_attributions_there_is_no_verdict(view: dict[str, Any]) -> None:
    view["explain"].update(checks=None, deletion=None)

    assert mark(view) is None
    assert curve_plots(view) == []
    assert 'class="verdict' not in render_report(view)


def test_both_curves_are_drawn_with_their_areas(view: dict[str, Any]) -> None:
    deletion, insertion = curve_plots(view)

    area = view["explain"]["checks"]["deletion"]["area_attributed"]
    assert f">{area:.3f}<" in deletion
    assert 'id="deletion-curve-title"' in deletion and 'id="insertion-curve-title"' in insertion
    assert deletion.count("<polyline") == insertion.count("<polyline") == 2


def test_bars_share_a_scale_that_holds_zero(view: dict[str, Any]) -> None:
    view["baseline"]["coefficients"] = [
        {"answer": "yes", "feature": "good", "weight": 3.0},
        {"answer": "yes", "feature": "bad", "weight": -1.0},
        {"answer": "no", "feature": "bad", "weight": 2.0},
    ]

    yes, no = coefficient_bars(view["baseline"])

    assert (yes.title, yes.zero) == ("For yes", 25.0)
    assert [(bar.start, bar.width, bar.is_negative) for bar in yes.bars] == [
        (25.0, 75.0, False),
        (0.0, 25.0, True),
    ]
    assert (no.zero, no.bars[0].width) == (0.0, 100.0)


def test_importance_is_told_in_points_with_its_interval(view: dict[str, Any]) -> None:
    features = [
        {"name": f"column {number}", "mean_drop": 0.2 - number / 100, "low": 0.1, "high": 0.3}
        for number in range(15)
    ]
    view["explain"]["importance"] = [
        {
            "of": "model",
            "metric": "accuracy",
            "features": features,
            "num_examples": 9,
            "num_repeats": 10,
            "note": "N.",
        },
    ]

    (bars,) = importance_bars(view)

    assert bars.title == "For the full model"
    assert len(bars.bars) == 12 and bars.note == "3 more, each worth less, are not shown. N."
    assert bars.bars[0].written.startswith("20.0") and "to 30.0" in bars.bars[0].range
    assert "What each feature is worth" in render_report(view)


def test_what_flipped_is_shown_as_a_third_picture(view: dict[str, Any], tmp_path: Path) -> None:
    draw_attribution(np.eye(3), tmp_path / "change.png")
    item = next(item for item in view["explain"]["items"] if item["kind"] == "disagreement")
    item.update(change_image=str(tmp_path / "change.png"), input_image=str(tmp_path / "change.png"))

    page = render_report(view)

    assert "what flipped" in page and f"rather than {item['variant_prediction']}" in page


def test_weights_of_a_linear_model_are_pictures(view: dict[str, Any], tmp_path: Path) -> None:
    draw_attribution(np.eye(3), tmp_path / "weights.png")
    view["baseline"]["images"] = [{"answer": "seven", "image": str(tmp_path / "weights.png")}]

    (found,) = weight_pictures(view["baseline"])

    assert found["picture"].startswith("data:image/png")
    assert "Weights of the baseline for seven" in render_report(view)


def test_the_page_alone_holds_the_same_section_and_asks_nothing_of_a_network(
    view: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"

    write_explain_page(view["explain"], path, name="me/<b>", variant="int8")

    page = path.read_text()
    assert "Why me/&lt;b&gt; answers as it does" in page
    assert "Is the attribution to be believed?" in page and "int8" in page
    assert not re.search(r"https?://|<script", page.replace("http-equiv", ""))

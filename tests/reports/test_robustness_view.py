"""The section on corrupted images: numbers together, one curve a model in every plot, names escaped."""

from pathlib import Path
from typing import Any

import pytest

from ayni.reports import robustness_view
from ayni.reports.robustness_page import section, write_robustness_page


@pytest.fixture
def result(view: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = view["robustness"]
    return found


def test_rows_have_the_four_numbers_and_the_reference_is_marked(result: dict[str, Any]) -> None:
    rows = robustness_view.model_rows(result)

    assert [row.is_reference for row in rows] == [False, False, True]
    assert rows[0].clean == "3.4 % (2.4\N{EN DASH}4.6)" and rows[2].mce == "100.0"
    assert robustness_view.kind_rows(result)[0].kind == "gaussian noise"


def test_every_plot_has_a_line_for_each_model_and_a_description(result: dict[str, Any]) -> None:
    plots = robustness_view.kind_plots(result)

    assert len(plots) == 15
    assert all(plot.count("<polyline") == 3 and "at severity 5" in plot for plot in plots)
    assert len({plot.split('id="')[1].split('"')[0] for plot in plots}) == 15


def test_without_a_reference_no_ratio_is_shown(result: dict[str, Any]) -> None:
    result |= {"reference": None, "note": "none was named"}

    assert {row.mce for row in robustness_view.model_rows(result)} == {"none"}
    assert robustness_view.left_out(result) == ""


def test_kinds_that_are_left_out_are_named(result: dict[str, Any]) -> None:
    result["models"][0]["left_out"] = ["defocus_blur"]
    assert robustness_view.left_out(result).startswith("defocus blur adds nothing")
    result["models"][0]["left_out"] = ["defocus_blur", "fog"]
    assert "defocus blur, fog add nothing" in robustness_view.left_out(result)


def test_models_that_never_err_can_be_drawn(result: dict[str, Any]) -> None:
    for model in result["models"]:
        model["clean_error"] = 0.0
        model["errors"] = {kind: [0.0] * 5 for kind in model["errors"]}

    assert len(robustness_view.kind_plots(result)) == 15 and robustness_view.mean_plot(result)


def test_names_are_escaped_on_the_page(result: dict[str, Any], tmp_path: Path) -> None:
    result["models"][0]["model"] = "<script>alert(1)</script>"

    page = write_robustness_page(result, folder=tmp_path).read_text()

    assert "<script" not in page and "&lt;script&gt;" in page


def test_nobody_looked_is_no_section() -> None:
    assert section(None) is None and robustness_view.robustness_view(None) is None

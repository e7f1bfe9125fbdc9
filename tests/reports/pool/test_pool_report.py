"""The report of a simulation: what it says first, its rows, its plots, and that nothing breaks the page."""

from pathlib import Path
from typing import Any

import pytest

from ayni.reports.pool import pool_figures, pool_rows, pool_words
from ayni.reports.pool.bars import Bar, bar_plot
from ayni.reports.pool.pool_report import render_pool_report, write_pool_report

NBSP = "\N{NO-BREAK SPACE}"


def without(view: dict[str, Any], *names: str) -> dict[str, Any]:
    return {**view, "policies": [policy for policy in view["policies"] if policy["name"] not in names]}


def test_the_title_compares_the_market_with_every_member_alone(view: dict[str, Any]) -> None:
    assert pool_words.title(view) == (
        f"The market: 30{NBSP}% less CO2e than every member alone, at 1.0{NBSP}% lower cost"
    )


def test_without_the_market_the_last_policy_is_told(view: dict[str, Any]) -> None:
    title = pool_words.title(without(view, "market"))

    assert title.startswith(f"lowest-price: 30{NBSP}% more CO2e") and f"5.0{NBSP}% lower cost" in title


def test_without_alone_nothing_is_compared_and_that_is_said(view: dict[str, Any]) -> None:
    lonely = without(view, "alone")

    assert pool_words.title(lonely) == f"The market: 140{NBSP}g of CO2e for an hour of one machine"
    assert "nothing is known of members alone" in " ".join(pool_words.lede(lonely))
    assert pool_rows.member_rows(lonely)[0]["grams_alone"] == "unknown"


def test_what_was_promised_stands_beside_what_came_true(view: dict[str, Any]) -> None:
    figures = {figure["name"]: figure["value"] for figure in pool_words.promises(view)}

    assert figures["Saving of carbon, expected"] == f"31{NBSP}%"
    assert figures["Saving, realised"] == f"4.8{NBSP}%"
    assert figures["Lost by jobs that got worse"] == f"2.4{NBSP}%"
    assert pool_words.promises(without(view, "market")) == []


def test_rows_have_changes_with_their_sign_against_alone(view: dict[str, Any]) -> None:
    rows = {row["name"]: row for row in pool_rows.policy_rows(view)}

    assert rows["market"]["grams_change"] == f"\N{MINUS SIGN}30.0{NBSP}%" and rows["market"]["is_chosen"]
    assert rows["lowest-price"]["grams_change"] == f"+30.0{NBSP}%"
    assert rows["alone"]["grams_change"] == "" and rows["alone"]["of_bound"] == f"80{NBSP}%"
    assert rows["easy-backfill"]["min_share_ratio"] == "0.90" and rows["easy-backfill"]["envy"] == "1"


def test_members_have_what_they_paid_and_earned(view: dict[str, Any]) -> None:
    first, _ = pool_rows.member_rows(view)

    assert (first["paid"], first["earned"]) == (f"5.00{NBSP}credits", f"1.00{NBSP}credits")
    assert first["zones"] == "CL-SIC" and first["share_ratio"] == "1.05"


def test_every_plot_has_its_words_for_who_cannot_see_it(view: dict[str, Any]) -> None:
    plots = [
        *pool_figures.trade_offs(view),
        pool_figures.days(view),
        pool_figures.welfare(view),
        *pool_figures.fairness(view),
    ]

    assert len(plots) == 6
    assert all(
        "<title" in plot and "market" in plot.partition("<desc")[2].partition("</desc>")[0]
        for plot in plots[:5]
    )


def test_plots_that_would_say_nothing_are_left_out(view: dict[str, Any]) -> None:
    assert pool_figures.welfare({**view, "bounds": None}) == ""
    assert pool_figures.fairness(without(view, "alone")) == []
    assert pool_figures.trade_offs(without(view, "alone", "easy-backfill", "lowest-price")) == []


def test_bars_are_as_long_as_their_values() -> None:
    plot = bar_plot(
        "key", "Title", [Bar(name="a", value=1.0, written="1"), Bar(name="b", value=0.5, written="0.5")]
    )

    assert 'width="368.0"' in plot and 'width="184.0"' in plot
    assert bar_plot("key", "Title", []) == ""


def test_the_page_is_whole_and_a_name_cannot_break_it(view: dict[str, Any]) -> None:
    page = render_pool_report(view, version="1.2.3")

    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert "<b>" not in page and "&lt;b&gt;" in page
    assert "Ayni 1.2.3" in page and "default-src 'none'" in page
    assert all(policy["meaning"] in page for policy in view["policies"])


@pytest.mark.parametrize("missing", [["alone"], ["market"], ["alone", "easy-backfill", "lowest-price"]])
def test_the_page_can_do_without_some_policies(view: dict[str, Any], missing: list[str]) -> None:
    page = render_pool_report({**without(view, *missing), "bounds": None})

    assert "</html>" in page


def test_the_file_is_written_where_it_was_asked_for(view: dict[str, Any], tmp_path: Path) -> None:
    path = write_pool_report(view, folder=tmp_path / "new")

    assert path == tmp_path / "new" / "pool-report.html" and path.read_text() == render_pool_report(view)

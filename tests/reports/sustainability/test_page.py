import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.sums.kept_footprints import KeptFootprint
from ayni.footprint.sums.third_party import ImportedFile
from ayni.reports.sustainability.inputs import Period, ReportInputs
from ayni.reports.sustainability.page import (
    MAX_ENTRIES,
    render_sustainability_report,
    write_sustainability_report,
)
from ayni.reports.sustainability.view import sustainability_view

Kept = Callable[..., KeptFootprint]
Inputs = Callable[..., ReportInputs]
HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)> \" ' & {{ 7919*7 }}"
VOID = {"meta", "img", "br", "input", "hr", "link"}


class Page(HTMLParser):
    """The elements of a page, and whether each was closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def view(kept: Kept, inputs: Inputs, imported: ImportedFile, unknown: dict[str, Any]) -> dict[str, Any]:
    """Two members, one step unknown, imports, a run beside another one."""
    runs = (kept("a", {}, unknown), kept("b", member="lab-b"), kept("c", within={"run": "a"}))
    return sustainability_view(inputs(*runs, imports=[imported], models={"a": "lab-a/digits"}))


def test_page_and_object_are_written_beside_each_other(view: dict[str, Any], tmp_path: Path) -> None:
    path = write_sustainability_report(view, folder=tmp_path / "report", name="footprint-2026")

    assert path == tmp_path / "report" / "footprint-2026.html"
    assert json.loads(path.with_suffix(".json").read_text()) == view
    assert "footprint-2026.json" in path.read_text()


def test_every_element_is_closed_in_order_and_ids_are_unique(view: dict[str, Any]) -> None:
    page = Page(render_sustainability_report(view))

    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_the_page_has_no_script_and_names_nothing_to_load(view: dict[str, Any]) -> None:
    html = render_sustainability_report(view)

    page = Page(html)
    assert not page.all("script") and not page.all("link") and not page.all("iframe") and not page.all("img")
    assert not re.search(r"url\(|@import|https?://", html)
    policies = [meta["content"] or "" for meta in page.all("meta") if meta.get("http-equiv")]
    assert policies and policies[0].startswith("default-src 'none'")


def test_every_plot_has_words_and_a_table_beside_it(view: dict[str, Any]) -> None:
    html = render_sustainability_report(view)

    page = Page(html)
    plots = [svg for svg in page.all("svg") if svg.get("class") == "plot"]
    assert plots and all(svg.get("role") == "img" and svg.get("aria-labelledby") for svg in plots)
    for section in html.split("<section")[1:]:
        assert 'class="plot"' not in section or "<table" in section
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"


def test_the_page_says_tiers_bases_imports_and_what_is_not_covered(view: dict[str, Any]) -> None:
    html = render_sustainability_report(view).replace("\N{NO-BREAK SPACE}", " ")

    for text in (
        "average, location-based, life-cycle",
        "maria imported these figures of CodeCarbon.",
        "The energy of 1 of 3 receipts is unknown",
        "1 receipts lie within another run",
        "scope 2, location-based",
        "lab-a/digits",
        "1 of 3 unknown",
        "3 of 3 chains of receipts are as their keys signed them",
    ):
        assert text in html, text


def test_the_account_of_a_machine_is_shown_to_the_microjoule(kept: Kept, inputs: Inputs) -> None:
    html = render_sustainability_report(sustainability_view(inputs(kept("a"))))

    assert "3,600,000,000,000 + 0 + 1,000,000,000,000 + 400,000,000,000 = 5,000,000,000,000" in html
    assert "the whole of the node" in html


def test_an_account_that_does_not_add_up_is_said_not_to(kept: Kept, inputs: Inputs) -> None:
    view = sustainability_view(inputs(kept("a")))
    view["nodes"][0]["parts"]["other_microjoules"] -= 1

    assert "but the node drew 5,000,000,000,000" in render_sustainability_report(view)


def test_changed_receipts_and_files_left_out_are_warned_of_at_the_top(kept: Kept, inputs: Inputs) -> None:
    run = kept("a")
    run.receipts[0]["energy_microjoules"] += 1
    view = sustainability_view(inputs(run, import_problems=["footprint/x/import.json is no statement"]))

    head = render_sustainability_report(view).split("<main>")[0]

    assert "Not as signed." in head
    assert "Left out." in head


def test_whatever_users_name_stays_text(kept: Kept, inputs: Inputs, imported: ImportedFile) -> None:
    named = dict.fromkeys(("job", "member", "site", "node", "step", "meter", "scope"), HOSTILE)
    runs = (kept("a", **named), kept("b", member="lab-b"))
    view = sustainability_view(inputs(*runs, imports=[imported], models={"a": HOSTILE}, member=None))
    view["imported"]["statements"][0]["notes"] = [HOSTILE]
    view["nodes"][0]["parts"][HOSTILE] = 7

    html = render_sustainability_report(view)

    page = Page(html)
    assert page.open == []
    assert not page.all("script") and not page.all("img")
    assert "55433" not in html


def test_a_home_without_receipts_has_a_page(inputs: Inputs) -> None:
    html = render_sustainability_report(sustainability_view(inputs(period=Period(first="2030-01"))))

    assert Page(html).open == []
    assert "nothing metered" in html
    assert "What is not covered" in html


def test_a_page_of_many_receipts_stays_readable_and_says_what_it_leaves_to_the_object(
    kept: Kept, inputs: Inputs
) -> None:
    view = sustainability_view(inputs(kept("a")))
    view["entries"] = view["entries"] * (MAX_ENTRIES + 1)

    html = render_sustainability_report(view)

    assert f"The first {MAX_ENTRIES} of {MAX_ENTRIES + 1} receipts as a table" in html

import base64
import contextlib
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ayni.reports.gallery import data_uri
from ayni.reports.html_report import render_report, write_report

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)> \" ' & {{ 7919*7 }}"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
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


def test_the_report_is_one_file_in_the_folder_asked_for(view: dict[str, Any], tmp_path: Path) -> None:
    path = write_report(view, folder=tmp_path / "report", version="0.1.0")

    assert path == tmp_path / "report" / "report.html"
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_every_element_is_closed_in_order(view: dict[str, Any]) -> None:
    assert Page(render_report(view)).open == []


def test_the_report_has_no_script_and_names_nothing_to_load(view: dict[str, Any]) -> None:
    html = render_report(view)

    page = Page(html)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    assert all((image["src"] or "").startswith("data:") for image in page.all("img"))
    assert not re.search(r"url\(|@import|https?://(?!yann)", html.split("<body>")[0])
    policies = [meta["content"] or "" for meta in page.all("meta") if meta.get("http-equiv")]
    assert policies and policies[0].startswith("default-src 'none'")


def test_the_report_names_every_variant_the_baseline_and_the_costs(view: dict[str, Any]) -> None:
    html = render_report(view).replace("\N{NO-BREAK SPACE}", " ")

    for text in (
        "full-onnx",
        "distilled",
        "logistic regression",
        "89.4 %",
        "W3",
        "0.000244 credits",
        "me/digits",
    ):
        assert text in html


def test_tables_have_scopes_and_pictures_have_words(view: dict[str, Any], tmp_path: Path) -> None:
    _with_pictures(view, tmp_path)

    page = Page(render_report(view))

    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert page.all("img") and all(image.get("alt") for image in page.all("img"))
    assert len(page.all("h1")) == 1
    assert page.all("html")[0]["lang"] == "en"


def test_pictures_travel_inside_the_file(view: dict[str, Any], tmp_path: Path) -> None:
    _with_pictures(view, tmp_path)

    assert render_report(view).count("data:image/png;base64,") == 2 * len(view["explain"]["items"])


def test_a_picture_that_is_gone_is_said_to_be_missing(view: dict[str, Any], tmp_path: Path) -> None:
    _with_pictures(view, tmp_path)
    view["explain"]["items"][0]["attribution_image"] = str(tmp_path / "gone.png")

    assert "missing" in render_report(view)
    assert data_uri(str(tmp_path / "gone.png")) is None


def test_a_file_that_is_no_picture_is_not_put_into_the_page(tmp_path: Path) -> None:
    (tmp_path / "page.svg").write_text("<svg onload='alert(1)'/>")

    assert data_uri(str(tmp_path / "page.svg")) is None


def test_whatever_users_name_stays_text(view: dict[str, Any], tmp_path: Path) -> None:
    _with_pictures(view, tmp_path)
    hostile = json.loads(
        json.dumps(_hostile(view)).replace(json.dumps(HOSTILE)[1:-1] + "-file", str(tmp_path / "one.png"))
    )

    html = render_report(hostile)

    page = Page(html)
    assert page.open == []
    assert not page.all("script")
    assert all(set(image) <= {"src", "alt"} for image in page.all("img"))
    assert "55433" not in html


def test_a_run_of_which_nothing_is_finished_can_be_reported(unfinished_view: dict[str, Any]) -> None:
    assert Page(render_report(unfinished_view)).open == []


@pytest.mark.parametrize(
    "key", ["plan", "train", "baseline", "explain", "footprint", "published", "data", "settlement"]
)
def test_each_part_may_be_absent(view: dict[str, Any], key: str) -> None:
    view[key] = None

    assert Page(render_report(view)).open == []


def test_unknown_numbers_are_called_unknown(view: dict[str, Any]) -> None:
    for variant in view["variants"]:
        variant.update(energy_joules_per_1000=None, latency_p50_seconds=None, score=None, interval=None)
    view["footprint"]["node"] = None

    html = render_report(view)

    assert html.count("unknown") >= 3 * len(view["variants"])


def test_examples_shared_by_two_splits_are_warned_of_above_the_results(view: dict[str, Any]) -> None:
    assert "The splits are not apart" not in render_report(view)

    view["data"]["splits"]["num_shared"]["train-test"] = 12

    assert "12 inputs of test are also in train" in render_report(view).split("<main>")[0]


def test_the_data_are_named_above_the_results(view: dict[str, Any]) -> None:
    assert "Data: MNIST, 5,000 images" in render_report(view).split("<main>")[0]


def test_a_baseline_that_is_better_is_marked_in_the_table(view: dict[str, Any]) -> None:
    assert "does better than int8" not in render_report(view)

    view["baseline"]["metrics"]["accuracy"] = 0.994

    assert '<span class="badge no">does better than int8</span>' in render_report(view)


def test_the_table_says_what_compression_gained_and_what_it_hides(view: dict[str, Any]) -> None:
    html = render_report(view).replace("\N{NO-BREAK SPACE}", " ")

    for text in (
        "on the front",
        "hidden loss",
        "class 8 lost 8.0 pt",
        "8.0 % of full",
        "5.1\u00d7 faster than full",
        "2.4\u00d7 faster than full-onnx",
        "31,000",
        "What changed in int8",
        "int8 against full-onnx",
        "lost, hidden by the mean",
    ):
        assert text in html


def test_what_the_chosen_variant_hides_and_what_the_model_was_is_said_at_the_top(
    view: dict[str, Any],
) -> None:
    view["warning"] = "The weights were quantized before: <4 bits>."

    top = render_report(view).split("<main>")[0]

    assert "Hidden loss." in top
    assert "The weights were quantized before: &lt;4 bits&gt;." in top


def test_the_search_says_what_it_left_out_why_it_ended_and_whether_it_pays(view: dict[str, Any]) -> None:
    html = render_report(view).replace("\N{NO-BREAK SPACE}", " ")

    section = html.split('id="search"')[1].split("</section>")[0]
    for text in (
        "3 pipelines were measured in full; 3 were left out",
        "every pipeline that was proposed was tried or left out",
        "1 min 35 s and 310 J",
        "The whole search is paid back after",
        "it loses 0.03125 on the proxy measure",
    ):
        assert text in section
    assert html.count("The whole search is paid back after") == 1


def test_without_a_search_whether_it_pays_stands_below_the_table(view: dict[str, Any]) -> None:
    view.update(search=None, pays="Making int8 is paid back after 31,000 inferences.")

    html = render_report(view)

    assert 'id="search"' not in html
    assert html.count("Making int8 is paid back after") == 1


def test_many_variants_are_folded_away_but_for_the_front(searched_view: dict[str, Any]) -> None:
    html = render_report(searched_view)

    page = Page(html)
    assert page.open == []
    assert "15 more variants" in html
    before, folded = html.split("15 more variants")
    assert "low-rank75-recovered-1" in before.split("<main>")[1]
    assert all(f"int4-stored-{number}" in folded.split("</details>")[0] for number in (1, 2, 3))


def test_a_run_from_before_break_even_and_changes_is_shown_without_them(old_view: dict[str, Any]) -> None:
    html = render_report(old_view)

    assert Page(html).open == []
    for text in ("paid back", "What changed", "What the search did", "Hidden loss", "on the front", "None"):
        assert text not in html
    assert "faster than full-onnx" in html


def test_doubtful_latencies_are_explained_below_the_table(view: dict[str, Any]) -> None:
    view["variants"][-1]["latency_problem"] = "9 of 10 calls waited"

    html = render_report(view).replace("\N{NO-BREAK SPACE}", " ")

    assert "Latency of 1 variant is not to be quoted" in html
    assert "int8: 9 of 10 calls waited" in html
    top, below = html.split("<main>")
    assert "full model 410 \N{MICRO SIGN}s, not to be quoted" in top
    assert "5.1\u00d7 faster than full" not in below.split("</table>")[0]


def test_a_text_is_shown_with_a_tint_and_a_line_on_what_speaks_for_and_against(view: dict[str, Any]) -> None:
    item = view["explain"]["items"][2]
    view["explain"]["items"] = [
        {**item, "features": None, "label": "\n", "tokens": ["<b>", " ", "x"], "values": [0.5, -0.5, 0.0]}
    ]

    html = render_report(view)

    assert 'class="for" style="--strength: 1.0" title="+0.50">&lt;b&gt;</span>' in html
    assert 'class="against" style="--strength: 1.0"' in html
    assert "\u2423</span><wbr>x" in html
    assert "<dd>\u21b5</dd>" in html
    assert 'role="img" aria-label="&lt;b&gt;\u2423x. Strongest:' in html


def test_a_row_of_a_table_is_shown_as_bars_with_signed_numbers(view: dict[str, Any]) -> None:
    view["explain"]["items"] = view["explain"]["items"][2:]

    html = render_report(view)

    assert '<span class="bar for" aria-hidden="true"><i style="width: 50.0%">' in html
    assert '<span class="bar against" aria-hidden="true"><i style="width: 25.0%">' in html
    assert '<span class="number">+0.50</span>' in html
    assert "Red speaks" not in html


def test_an_input_that_cannot_be_shown_is_said_to_be_one_and_no_colour_is_explained(
    view: dict[str, Any],
) -> None:
    view["explain"]["items"] = [{**view["explain"]["items"][2], "features": None}]

    html = render_report(view)

    assert "No picture of such an input; its attribution is in a file" in html
    assert "Red" not in html


def test_seconds_without_a_meter_are_told_where_the_costs_are(view: dict[str, Any]) -> None:
    view["footprint"]["unmetered_seconds_at_most"] = 0
    assert "without a meter" not in render_report(view)

    view["footprint"]["unmetered_seconds_at_most"] = 2.5

    told = render_report(view).replace("\N{NO-BREAK SPACE}", " ")
    assert "Interruptions left at most 2.50 s of work without a meter" in told


def test_an_attribution_that_failed_its_check_is_not_praised(view: dict[str, Any]) -> None:
    view["explain"]["checks"]["verdict"] = "not faithful"

    page = render_report(view)

    assert "do not name what the answers rest on" in page
    marks = page.count('<span class="verdict bad"')
    assert marks == 1 + len(view["explain"]["items"]), "beside the title and beside each picture"


def test_a_run_from_before_there_were_curves_has_the_verdict_of_its_one_point(view: dict[str, Any]) -> None:
    view["explain"]["checks"] = None
    view["explain"]["deletion"]["is_faithful"] = False

    page = render_report(view)

    assert "do not name what the answers rest on" in page
    assert "Replacing the" in page
    assert "deletion-curve" not in page


def test_an_energy_account_that_does_not_add_up_is_not_called_whole(view: dict[str, Any]) -> None:
    view["footprint"]["node"]["other_microjoules"] += 1

    assert "the whole of the node" not in render_report(view)


def test_a_failed_run_says_so_and_how_to_go_on(view: dict[str, Any]) -> None:
    view.update(status="failed", error="The disk is full")

    html = render_report(view)

    assert "This run is failed" in html
    assert f"ayni resume {view['run']}" in html


@pytest.mark.browser
@pytest.mark.parametrize("is_protected", [True, False])
def test_the_browser_fetches_nothing_even_if_a_picture_from_elsewhere_slipped_in(
    view: dict[str, Any], tmp_path: Path, is_protected: bool
) -> None:
    asked: list[str] = []
    with _server(asked) as address:
        html = render_report(view).replace("<main>", f'<main><img src="{address}/x.png">')
        if not is_protected:  # the control: without the page's policy the same picture is fetched
            html = html.replace("Content-Security-Policy", "Nothing")
        (tmp_path / "report.html").write_text(html)

        _visit(tmp_path / "report.html", folder=tmp_path)

    assert bool(asked) is not is_protected
    assert (tmp_path / "page.png").stat().st_size > 10_000


@contextlib.contextmanager
def _server(asked: list[str]) -> Iterator[str]:
    """A web server on this machine that writes down what it is asked for."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def _visit(page: Path, *, folder: Path) -> None:
    """Open a page in a browser that has no network but this machine, and take a picture of it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    switches = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --disable-default-apps --hide-scrollbars"
    )
    command = [
        browser,
        *switches.split(),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'profile'}",
        "--window-size=1280,900",
        f"--screenshot={folder / 'page.png'}",
        page.as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _with_pictures(view: dict[str, Any], folder: Path) -> None:
    (folder / "one.png").write_bytes(PNG)
    for item in view["explain"]["items"]:
        item.update(input_image=str(folder / "one.png"), attribution_image=str(folder / "one.png"))


def _hostile(value: Any, key: str = "") -> Any:
    """The same object with every text that a user could have chosen replaced by markup."""
    kept = (
        "start",
        "end",
        "at",
        "zone",
        "status",
        "better",
        "kind",
        "energy_tier",
        "tier",
        "step",
        "deadline",
        "runtime",
        "low",
        "best",
        "high",
    )
    if isinstance(value, dict):
        return {name: _hostile(part, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_hostile(part, key) for part in value]
    if key.endswith("_image"):
        return HOSTILE + "-file"
    is_kept = key in kept or key.endswith(("_at", "_path", "file"))
    return value if is_kept or not isinstance(value, str) else HOSTILE


def test_the_report_names_what_the_plan_did_not_take(view: dict[str, Any]) -> None:
    page = render_report(view)

    assert "What was not taken" in page
    assert "uni-lab, v100" in page
    assert "0.39 credits dearer, with 91% less CO2e" in page

    view["plan"]["alternatives"] = []
    assert "What was not taken" not in render_report(view)

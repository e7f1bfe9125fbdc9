import time

import pytest
from tests.server.web.visitors import outline

from ayni.server.web.card_text import (
    MOST_CHARACTERS,
    CardPlace,
    RenderedTexts,
    card_html,
    without_metadata,
)

PLACE = CardPlace(page="/lab/digits", revision="main")
HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x.png onerror=alert(1)>",
    "<svg onload=alert(1)><circle r=1 /></svg>",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href=' java\tscript:alert(1)'>x</a>",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:x)",
    "<iframe src=/></iframe>",
    "<form action=/logout method=post><button>x</button></form>",
    "<style>*{display:none}</style>",
    "<div style='position:fixed;inset:0'>x</div>",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<a href=x onclick=alert(1) hx-get=/ hx-on:click=alert(1)>x</a>",
    "<base href=//e.example><meta http-equiv=refresh content='0;url=//e.example'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<p id=main class=skip>x</p>",
    '```html"onmouseover=alert(1)\n<script>\n```',
    "<input name=proof><label for=token>x</label><object data=x></object><embed src=x>",
]
RUNS = (
    "script",
    "iframe",
    "form",
    "style",
    "object",
    "embed",
    "base",
    "meta",
    "svg",
    "math",
    "input",
    "link",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_card_runs_or_loads_or_hides_the_page(text: str) -> None:
    found = outline(card_html(text, PLACE))

    assert not found.all(*RUNS)
    for element in found.elements:
        names = set(element.attributes)
        assert not any(name.startswith(("on", "hx-", "data-")) for name in names)
        assert "style" not in names
        assert element.attributes.get("id", "card-").startswith("card-")
        assert element.attributes.get("class", "scroll") == "scroll"
        for name in ("href", "src"):
            address = element.attributes.get(name, "/")
            assert address.startswith(("/", "#", "https:")), address


def test_markdown_becomes_what_it_means() -> None:
    html = card_html(
        "# One\n\nA **b** `c` ~~d~~\n\n- e\n\n| f | g |\n|:--|--:|\n| 1 | 2 |\n\n```\n<x>\n```\n", PLACE
    )

    assert '<h2 id="card-one">One</h2>' in html
    assert "<strong>b</strong> <code>c</code> <s>d</s>" in html
    assert "<li>e</li>" in html
    assert '<td align="right">2</td>' in html
    assert "&lt;x&gt;" in html


def test_a_table_scrolls_by_itself_where_the_page_is_narrow() -> None:
    html = card_html("| a |\n|--|\n| 1 |\n", PLACE)

    assert '<div class="scroll" tabindex="0" role="region" aria-label="Table">\n<table>' in html


def test_headings_go_below_those_of_the_page_and_keep_their_addresses_apart() -> None:
    html = card_html("# A\n## A\n<h1>B</h1>\n\n###### C\n\n[to](#A)", PLACE)

    found = outline(html)
    assert [each.tag for each in found.all("h1", "h2", "h3", "h4", "h5", "h6")] == ["h2", "h3", "h2", "h6"]
    assert [each.attributes.get("id") for each in found.all("h2", "h3")] == ["card-a", "card-a-2", None]
    assert 'href="#card-a"' in html


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("docs/use.md", "/lab/digits/blob/main/docs/use.md"),
        ("./use.md#Part", "/lab/digits/blob/main/use.md#card-part"),
        ("a%20b.md", "/lab/digits/blob/main/a%20b.md"),
        ("https://x.example/y", "https://x.example/y"),
        ("/datasets/lab/sun", "/datasets/lab/sun"),
        ("../../elsewhere", None),
        ("%2e%2e/secret", None),
        ("//e.example/x", None),
        ("/\\e.example", None),
        ("ftp://x.example", None),
    ],
)
def test_links_lead_to_files_of_the_revision_or_to_addresses_that_are_safe(
    link: str, address: str | None
) -> None:
    found = outline(card_html(f'<a href="{link}">x</a>', PLACE)).all("a")

    assert [each.attributes.get("href") for each in found] == [address]
    assert "noopener" in found[0].attributes["rel"]


def test_links_of_a_file_in_a_folder_begin_there() -> None:
    place = CardPlace(page="/datasets/lab/sun", revision="refs/pr/1", folder="docs")

    html = card_html("[up](../README.md) ![p](p.png)", place)

    assert 'href="/datasets/lab/sun/blob/refs%2Fpr%2F1/README.md"' in html
    assert 'src="/datasets/lab/sun/raw/refs%2Fpr%2F1/docs/p.png"' in html


def test_a_picture_from_elsewhere_is_a_link_to_it_and_is_not_loaded() -> None:
    html = card_html(
        "![Badge](https://e.example/x.png) [![In](https://e.example/y.png)](https://z.example)", PLACE
    )

    found = outline(html)
    assert not found.all("img")
    assert [(each.attributes["href"], each.text) for each in found.all("a")] == [
        ("https://e.example/x.png", "Badge"),
        ("https://z.example", "In"),
    ]
    raw = outline(card_html("<img src=https://e.example/x.png alt=A>", PLACE)).all("img")
    assert "src" not in raw[0].attributes


def test_the_metadata_of_a_card_are_not_part_of_its_text() -> None:
    assert without_metadata("---\nlicense: mit\n---\n# A\n") == "# A\n"
    assert without_metadata("\ufeff---\r\nlicense: mit\r\n---\r\nA") == "A"
    assert without_metadata("# A\n---\nB") == "# A\n---\nB"
    assert without_metadata("---\nnever closed") == "---\nnever closed"
    assert without_metadata("") == ""


def test_a_long_text_is_cut_and_says_so() -> None:
    html = card_html("word " * MOST_CHARACTERS, PLACE)

    assert "too long to be shown here" in html
    assert len(html) < 2 * MOST_CHARACTERS


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece", ["![[]()", "*a **a ", "`", "> ", "- ", "<", "[", "a_ ", "|a", "# a\n", "<div>"]
)
def test_no_text_takes_time_without_bound(piece: str) -> None:
    text = (piece * MOST_CHARACTERS)[:MOST_CHARACTERS]

    started = time.process_time()
    card_html(text, PLACE)

    # A second or two on one core; what was quadratic took minutes.
    assert time.process_time() - started < 20


def test_a_text_is_rendered_once_and_forgotten_when_others_need_the_room() -> None:
    texts = RenderedTexts(most_characters=100)

    first = texts.html("1", "one", PLACE)
    assert texts.html("1", "not looked at", PLACE) is first
    texts.html("2", "two " * 50, PLACE)

    assert "other" in texts.html("1", "other", PLACE)
    assert "elsewhere" in texts.html("1", "elsewhere", CardPlace(page="/lab/x", revision="main"))

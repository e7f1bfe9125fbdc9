"""What a checker such as axe looks for, on every kind of page: names, labels, headings, landmarks, tables.

Source: WCAG 2.2, success criteria 1.1.1, 1.3.1, 2.4.1, 2.4.2, 2.4.4, 3.1.1, 3.3.2 and 4.1.2; axe-core's rules
of the same.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tests.server.lab import open_lab
from tests.server.web.conftest import Place
from tests.server.web.visitors import Element, Outline, outline

CARD = b"""---
license: mit
base_model: other/base
extra_gated_fields: {Why: text, Sure: checkbox, What: {type: select, options: [a, b]}}
---
# Card

| a | b |
|---|---|
| 1 | 2 |

![A picture](p.png)
"""
LARGEST_PAGE_BYTES = 40_000
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")

PAGES = [
    ("anonymous", path)
    for path in (
        "/",
        "/models",
        "/models?search=nothing",
        "/login",
        "/lab",
        "/nobody",
        "/lab/public",
        "/lab/gated",
        "/lab/public/tree/main",
        "/lab/public/blob/main/secret.txt",
        "/lab/public/blob/main/README.md",
        "/lab/public/blob/main/large.bin",
        "/lab/public/commits/main",
        "/lab/public/commit/main",
        "/lab/public/lineage",
        "/lab/public/receipts",
        "/lab/public/discussions",
        "/lab/public/discussions/1",
    )
] + [
    ("admin", path)
    for path in (
        "/",
        "/settings/tokens",
        "/lab",
        "/admin",
        "/lab/gated/access",
        "/lab/public/discussions/new",
    )
]
PAGES += [("outsider", "/lab/gated"), ("writer", "/lab/public/discussions/1")]


@dataclass
class Shown:
    """A page as it came, and what it is made of."""

    text: str
    found: Outline


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[tuple[str, str], Shown]]:
    for lab, client in open_lab(tmp_path_factory.mktemp("lab")):
        place = Place(lab, client)
        for name in ("lab/public", "lab/gated"):
            place.commit(name, {"README.md": CARD})
        place.visitor("outsider").post("/lab/public/discussions", title="T", text="Word", kind="question")
        visitor = place.visitor("reader")
        visitor.post("/lab/public/discussions/1/comment", text="# Loud\n\n- word")
        asker = place.visitor("outsider")
        found = {}
        for who, path in PAGES:
            if path == "/lab/gated/access":
                asker.post("/lab/gated/access")
            found[who, path] = place.visitor(who).get(path).text
        yield {key: Shown(text, outline(text)) for key, text in found.items()}


@pytest.fixture(params=PAGES, ids=lambda pair: f"{pair[0]} {pair[1]}")
def page(request: pytest.FixtureRequest, shown: dict[tuple[str, str], Shown]) -> Shown:
    return shown[request.param]


def name_of(element: Element) -> str:
    return element.attributes.get("aria-label", "").strip() or element.text.strip()


def test_a_page_has_a_language_a_title_and_one_of_each_landmark(page: Shown) -> None:
    assert page.found.all("html")[0].attributes["lang"] == "en"
    assert len(page.found.all("title")[0].text.strip()) > len("Ayni hub")
    assert [len(page.found.all(tag)) for tag in ("main", "h1")] == [1, 1]
    assert [each.tag for each in page.found.all("header", "footer") if each.parents[-1] == "body"] == [
        "header",
        "footer",
    ]


def test_the_first_thing_to_reach_by_keyboard_leads_to_the_content(page: Shown) -> None:
    first = page.found.all("a", "button", "input")[0]

    assert first.attributes["href"] == "#main"
    assert page.found.all("main")[0].attributes["id"] == "main"


def test_headings_leave_no_level_out(page: Shown) -> None:
    levels = [int(each.tag[1]) for each in page.found.all(*HEADINGS)]

    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels
    assert all(each.text.strip() for each in page.found.all(*HEADINGS))


def test_everything_that_takes_input_has_a_label(page: Shown) -> None:
    labelled = {each.attributes["for"] for each in page.found.all("label") if each.text.strip()}

    for each in page.found.all("input", "select", "textarea"):
        if each.attributes.get("type") == "hidden" or "aria-hidden" in each.attributes:
            continue
        assert each.attributes["id"] in labelled, each


def test_links_and_buttons_say_where_they_lead(page: Shown) -> None:
    for each in page.found.all("a", "button", "summary"):
        assert name_of(each), each
        assert name_of(each).lower() not in ("here", "click here", "more", "link")


def test_pictures_have_a_description(page: Shown) -> None:
    assert all("alt" in each.attributes for each in page.found.all("img"))
    for each in page.found.all("svg"):
        assert each.attributes.get("aria-hidden") == "true" or "aria-labelledby" in each.attributes


def test_tables_have_a_caption_and_heads_with_a_scope(page: Shown) -> None:
    own = [each for each in page.found.all("table") if "article" not in each.parents]
    captions = [each for each in page.found.all("caption") if each.text.strip()]

    assert len(captions) == len(own)
    heads = [each for each in page.found.all("th") if "article" not in each.parents]
    assert all(each.attributes.get("scope") in ("row", "col") for each in heads)


def test_ids_are_unique_and_those_that_are_named_are_there(page: Shown) -> None:
    ids = Counter(each.attributes["id"] for each in page.found.elements if "id" in each.attributes)

    assert [name for name, count in ids.items() if count > 1] == []
    for each in page.found.elements:
        for name in ("aria-labelledby", "aria-describedby", "for"):
            assert all(part in ids for part in each.attributes.get(name, "").split()), each
        if each.attributes.get("href", "").startswith("#"):
            assert each.attributes["href"][1:] in ids


def test_navigations_and_regions_are_told_apart_by_name(page: Shown) -> None:
    names = [name_of_landmark(page, each) for each in page.found.all("nav", "aside", "section")]

    assert all(names)
    navigations = [each.attributes["aria-label"] for each in page.found.all("nav")]
    assert len(set(navigations)) == len(navigations)


def name_of_landmark(page: Shown, element: Element) -> str:
    if "aria-label" in element.attributes:
        return element.attributes["aria-label"]
    wanted = element.attributes["aria-labelledby"]
    return next(each.text.strip() for each in page.found.elements if each.attributes.get("id") == wanted)


def test_what_scrolls_can_be_reached_by_keyboard(page: Shown) -> None:
    for each in page.found.elements:
        # Those in cards are small, and browsers let what scrolls take focus.
        scrolls = each.tag == "pre" and "article" not in each.parents and "li" not in each.parents
        if scrolls or each.attributes.get("class") == "scroll":
            assert each.attributes.get("tabindex") == "0", each
            assert each.attributes.get("aria-label"), each


def test_nothing_is_within_the_page_that_its_policy_forbids(page: Shown) -> None:
    for each in page.found.elements:
        assert "style" not in each.attributes
        assert not any(name.startswith(("on", "hx-on")) for name in each.attributes)
    assert not page.found.all("style", "iframe", "object")
    assert [each.text for each in page.found.all("script")] == [""]


def test_nothing_comes_from_elsewhere(page: Shown) -> None:
    loaded = [
        each.attributes[name]
        for each in page.found.all("img", "script", "link", "source")
        for name in ("src", "href")
        if name in each.attributes
    ]

    assert loaded
    assert all(re.match(r"/[^/\\]", address) for address in loaded)


def test_pages_are_small(page: Shown) -> None:
    assert len(page.text.encode()) < LARGEST_PAGE_BYTES


def test_titles_tell_pages_apart(shown: dict[tuple[str, str], Shown]) -> None:
    titles = Counter(
        each.found.all("title")[0].text for (_, path), each in shown.items() if path.startswith("/lab/public")
    )

    assert all(count <= 2 for count in titles.values()), titles

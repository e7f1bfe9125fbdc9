from collections.abc import Iterator

import pytest
from tests.server.lab import open_lab
from tests.server.web.conftest import Place
from tests.server.web.visitors import outline, words

from ayni.server.web.listing_page import PAGE


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    for lab, client in open_lab(tmp_path_factory.mktemp("many")):
        place = Place(lab, client)
        for number in range(PAGE + 5):
            name = place.make(f"small-{number:02d}")
            card = f"---\nlicense: {'mit' if number % 2 else 'apache-2.0'}\ntags: [tiny]\n---\n"
            place.commit(name, {"README.md": card.encode()})
            lab.pass_time(minutes=1)
        place.make("pictures", "dataset")
        yield place


def names(page: str) -> list[str]:
    return [each.text.strip() for each in outline(page).all("a") if "h3" in each.parents]


def test_pages_of_a_list_neither_repeat_nor_leave_out(many: Place) -> None:
    visitor = many.visitor()

    first = visitor.page("/models?search=small")
    link = next(each for each in outline(first).all("a") if each.attributes.get("rel") == "next")
    second = visitor.page(link.attributes["href"])

    assert names(first) + names(second) == [f"lab/small-{number:02d}" for number in range(PAGE + 4, -1, -1)]
    assert 'rel="next"' not in second
    assert "First page" in second


def test_search_filters_and_order_work_together_and_stay_in_the_form(many: Place) -> None:
    page = many.visitor().page("/models?search=small&license=mit&tag=tiny&sort=name")

    assert names(page) == [f"lab/small-{number:02d}" for number in range(1, PAGE + 5, 2)]
    chosen = [
        each.attributes["value"] for each in outline(page).all("option") if "selected" in each.attributes
    ]
    assert chosen == ["mit", "tiny", "name"]
    assert 'value="small"' in page


def test_choices_count_what_the_visitor_may_see(many: Place) -> None:
    private = many.make("hidden", private=True)
    many.commit(private, {"README.md": b"---\nlicense: gpl-3.0\ntags: [rare]\n---\n"})

    seen = many.visitor().page("/models")
    own = many.visitor("reader").page("/models")

    assert ("gpl-3.0 (1)" in own, "rare (1)" in own) == (True, True)
    assert ("gpl-3.0" in seen, "rare" in seen) == (False, False)


@pytest.mark.parametrize("query", ["search=nothing+like+it", "license=wtfpl", "tag=unknown", "author=nobody"])
def test_nothing_found_says_so_and_offers_all(many: Place, query: str) -> None:
    page = many.visitor().page(f"/models?{query}")

    assert "Nothing found" in page
    assert '<a href="/models">Show all</a>' in page


def test_what_was_typed_stays_text(many: Place) -> None:
    page = many.visitor().page("/models?search=%22%3E%3Cscript%3E&license=%3Cb%3E&tag=%27x&author=%3Ci%3E")

    assert "<script>" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    outline(page)


@pytest.mark.parametrize(
    "query", ["sort=odd", "cursor=x", "cursor=WzFd", "cursor=WyJhIiwiYiJd", "cursor=bnVsbA"]
)
def test_what_is_no_page_of_the_list_is_refused(many: Place, query: str) -> None:
    assert many.visitor().get(f"/models?{query}").status_code == 400


def test_a_cursor_of_another_order_is_refused(many: Place) -> None:
    page = many.visitor().page("/models?search=small")
    link = next(each for each in outline(page).all("a") if each.attributes.get("rel") == "next")
    address = link.attributes["href"].replace("sort=updated", "sort=downloads")

    assert many.visitor().get(address).status_code == 400


def test_the_front_page_shows_what_was_changed_last_of_each_kind(many: Place) -> None:
    page = many.visitor().page("/")

    assert names(page)[0] == f"lab/small-{PAGE + 4:02d}"
    assert "lab/pictures" in words(page).replace("lab/ pictures", "lab/pictures")
    assert 'href="/datasets/lab/pictures"' in page
    assert "HF_ENDPOINT=http" in page

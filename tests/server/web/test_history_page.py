from collections.abc import Iterator

import pytest
from tests.server.lab import open_lab
from tests.server.web.conftest import Place
from tests.server.web.visitors import outline, rows, words

from ayni.server.web.history_page import PAGE


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    for lab, client in open_lab(tmp_path_factory.mktemp("busy")):
        place = Place(lab, client)
        for number in range(PAGE + 3):
            place.commit("lab/public", {"n.txt": str(number).encode()}, message=f"Step <b>{number}</b>")
        yield place


def titles(page: str) -> list[str]:
    return [each.text.strip() for each in outline(page).all("p") if each.attributes.get("class") == "title"]


def test_a_history_goes_back_page_by_page_to_its_beginning(busy: Place) -> None:
    visitor = busy.visitor()

    first = visitor.page("/lab/public/commits/main")
    link = next(each for each in outline(first).all("a") if each.attributes.get("rel") == "next")
    second = visitor.page(link.attributes["href"])

    steps = [f"Step <b>{number}</b>" for number in range(PAGE + 2, -1, -1)]
    assert titles(first) + titles(second) == [*steps, "Add files"]
    assert 'rel="next"' not in second


def test_a_commit_says_what_it_changed(busy: Place) -> None:
    made = busy.commit(
        "lab/public",
        {"new.txt": b"12345", "n.txt": b"changed"},
        message="Two <i>files</i>\n\nA longer <b>word</b>.",
    )

    page = busy.visitor().page(f"/lab/public/commit/{made['commitOid']}")

    assert rows(page) == ["n.txt changed 2 B 7 B", "new.txt added 5 B"]
    assert "2 files changed" in words(page)
    assert "A longer &lt;b&gt;word&lt;/b&gt;." in page


def test_the_first_commit_added_everything(busy: Place) -> None:
    visitor = busy.visitor()
    history = outline(visitor.page("/lab/gated/commits/main"))
    link = next(each for each in history.all("a") if each.text == "Add files")

    page = visitor.page(link.attributes["href"])

    changed = [row.split()[:2] for row in rows(page)]
    assert changed == [[name, "added"] for name in (".gitattributes", "large.bin", "secret.txt")]
    assert "Follows" not in page


@pytest.mark.parametrize("path", ["commits/none", "commit/none", "commits/main?start=none", "commit/0000"])
def test_a_revision_that_is_not_there_is_not_there(busy: Place, path: str) -> None:
    assert busy.visitor().get(f"/lab/public/{path}").status_code == 404

import re

import pytest
from tests.server.web.conftest import Place
from tests.server.web.visitors import Visitor, outline, words

PAGE = "/lab/public/discussions"


def begin(visitor: Visitor, **given: str) -> str:
    fields = {"title": "Why so", "text": "Because **of** it", "kind": "discussion", **given}
    reply = visitor.post(PAGE, **fields)
    assert reply.status_code == 303, words(reply.text)
    address: str = reply.headers["location"]
    return address


def comments(page: str) -> list[str]:
    return re.findall(r'id="comment-(\d+)"', page)


def test_a_discussion_is_begun_commented_closed_and_opened_again(place: Place) -> None:
    asker, other = place.visitor("outsider"), place.visitor("reader")

    address = begin(asker)
    other.post(f"{address}/comment", text="I see *that* too")
    asker.post(f"{address}/comment", text="Thanks", change="closed")

    page = place.visitor().page(address)
    assert "<strong>of</strong>" in page
    assert "<em>that</em>" in page
    assert "outsider closed it" in words(page)
    assert "Why so" not in place.visitor().page(PAGE)
    assert "Why so" in place.visitor().page(f"{PAGE}?status=closed")
    asker.post(f"{address}/comment", change="open")
    assert "Why so" in place.visitor().page(PAGE)


def test_a_question_gets_an_answer_from_its_asker(place: Place) -> None:
    asker, other = place.visitor("outsider"), place.visitor("reader")
    address = begin(asker, kind="question")
    other.post(f"{address}/comment", text="So it is")
    first, second = comments(asker.page(address))

    assert other.post(f"{address}/answer", comment=second).status_code == 403
    assert asker.post(f"{address}/answer", comment=second).status_code == 303

    assert "the answer" in words(place.visitor().page(address))
    assert "answered" in words(place.visitor().page(PAGE))
    asker.post(f"{address}/answer")
    assert "answered" not in words(place.visitor().page(PAGE))
    assert first != second


def test_a_hidden_comment_is_gone_for_everybody(place: Place) -> None:
    asker = place.visitor("outsider")
    address = begin(asker)
    asker.post(f"{address}/comment", text="A word too many")
    _, second = comments(asker.page(address))

    assert place.visitor("reader").post(f"{address}/hide", comment=second).status_code == 403
    assert place.visitor("writer").post(f"{address}/hide", comment=second).status_code == 303

    page = place.visitor("admin").page(address)
    assert "too many" not in page
    assert "This comment was hidden" in page


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>hello", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))"]
)
def test_what_members_write_runs_nothing(place: Place, text: str) -> None:
    address = begin(place.visitor("outsider"), title="<b>T</b>", text=text + " word")

    page = place.visitor().page(address)

    assert "&lt;b&gt;T&lt;/b&gt;" in page
    found = outline(page)
    assert len(found.all("script")) == 1
    assert not any(name.startswith("on") for each in found.elements for name in each.attributes)
    assert not any("javascript:" in each.attributes.get("href", "") for each in found.all("a"))


@pytest.mark.parametrize("fields", [{"title": " "}, {"text": ""}, {"title": "x" * 300}])
def test_a_mistake_is_told_and_what_was_typed_stays(place: Place, fields: dict[str, str]) -> None:
    given = {"title": "Title", "text": "Text of mine", "kind": "question", **fields}

    reply = place.visitor("outsider").post(PAGE, **given)

    assert reply.status_code == 422
    assert 'role="alert"' in reply.text
    assert given["text"] in reply.text


def test_an_empty_comment_is_told_beside_the_form(place: Place) -> None:
    visitor = place.visitor("outsider")

    reply = visitor.post(f"{begin(visitor)}/comment", text="  ")

    assert reply.status_code == 422
    assert "A comment has 1 to" in reply.text


def test_strangers_close_nothing_of_others(place: Place) -> None:
    address = begin(place.visitor("outsider"))

    assert place.visitor("reader").post(f"{address}/comment", change="closed").status_code == 403
    assert "Discussion, open" in words(place.visitor().page(address))


def test_a_pull_request_shows_what_it_changes_and_is_merged_by_a_writer(place: Place) -> None:
    made = place.commit(
        "lab/public",
        {"notes.txt": b"new <b>words</b>\n"},
        who="outsider",
        path="main?create_pr=1",
        message="Notes",
    )
    address = f"{PAGE}/{made['pullRequestUrl'].rpartition('/')[2]}"

    page = place.visitor("outsider").page(address)
    assert "+new &lt;b&gt;words&lt;/b&gt;" in page
    assert "Merge into main" not in page
    assert place.visitor("outsider").post(f"{address}/merge").status_code == 403
    assert "Merge into main" in place.visitor("writer").page(address)
    assert place.visitor("writer").post(f"{address}/merge").status_code == 303

    assert "Pull request, merged" in words(place.visitor().page(address))
    assert "new &lt;b&gt;words" in place.visitor().page("/lab/public/blob/main/notes.txt")


def test_what_a_pull_request_of_a_gated_repository_changes_is_for_its_readers(place: Place) -> None:
    made = place.commit("lab/gated", {"n.txt": b"hidden words\n"}, who="contributor", path="main?create_pr=1")
    address = f"/lab/gated/discussions/{made['pullRequestUrl'].rpartition('/')[2]}"

    assert "hidden words" in place.visitor("reader").page(address)
    assert "hidden words" not in place.visitor("outsider").page(address)


@pytest.mark.parametrize("path", ["999", "0", "x", "9" * 40])
def test_a_discussion_that_is_not_there_is_not_there(place: Place, path: str) -> None:
    assert place.visitor("reader").get(f"{PAGE}/{path}").status_code == 404


@pytest.mark.parametrize("query", ["status=odd", "p=x", "p=-1", "p=99999999"])
def test_a_list_that_is_not_there_is_refused(place: Place, query: str) -> None:
    assert place.visitor().get(f"{PAGE}?{query}").status_code == 400

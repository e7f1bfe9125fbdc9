"""Discussions: numbers, versions of comments, and what cannot be done."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection
from tests.hub.member_rows import repository

from ayni.hub import discussions
from ayni.hub.discussions import Discussion, DiscussionNotFoundError, DiscussionRuleError, DiscussionTextError
from ayni.hub.repository import Repository

__all__ = ["connection"]


@pytest.fixture
def here(connection: sa.Connection) -> Repository:
    return repository(connection, "me/digits")


def begin(connection: sa.Connection, here: Repository, **given: object) -> Discussion:
    values = {"kind": "discussion", "title": "Why?", "text": "I wonder.", "author": "ada", **given}
    return discussions.create(connection, here, when=WHEN, **values)  # type: ignore[arg-type]


def test_numbers_of_each_repository_begin_at_one(connection: sa.Connection, here: Repository) -> None:
    other = repository(connection, "me/other")

    numbers = [begin(connection, each).number for each in (here, here, other, here)]

    assert numbers == [1, 2, 1, 3]
    assert discussions.find(connection, here, 2).title == "Why?"
    with pytest.raises(DiscussionNotFoundError, match="no discussion 4"):
        discussions.find(connection, here, 4)


def test_a_comment_keeps_what_it_said_before(connection: sa.Connection, here: Repository) -> None:
    made = begin(connection, here)
    comment = discussions.comment(connection, made, "1", author="ben", when=WHEN)
    later = WHEN + timedelta(minutes=1)

    changed = discussions.edit(connection, comment, "2", author="ben", when=later)

    assert [(each.text, each.at) for each in changed.versions] == [("1", WHEN), ("2", later)]
    assert [event.kind for event in discussions.events(connection, made)] == ["comment", "comment"]


def test_nothing_of_a_hidden_comment_is_left(connection: sa.Connection, here: Repository) -> None:
    made = begin(connection, here, text="my password is 123")
    first = discussions.events(connection, made)[0]
    edited = discussions.edit(connection, first, "oh: 123", author="ada", when=WHEN)

    discussions.hide(connection, made, edited)

    [event] = discussions.events(connection, made)
    assert event.is_hidden and [each.text for each in event.versions] == [""]
    for table in ("hub_discussion_events", "hub_discussions"):
        assert "123" not in str(connection.exec_driver_sql(f"SELECT * FROM {table}").all())
    with pytest.raises(DiscussionRuleError, match="hidden"):
        discussions.edit(connection, event, "again", author="ada", when=WHEN)


def test_a_question_has_one_answer_that_can_be_taken_back(
    connection: sa.Connection, here: Repository
) -> None:
    asked = begin(connection, here, kind="question")
    first, *_ = discussions.events(connection, asked)
    comment = discussions.comment(connection, asked, "Because.", author="ben", when=WHEN)

    def accept(chosen: discussions.Event | None) -> int | None:
        now = discussions.find(connection, here, asked.number)
        discussions.accept_answer(connection, now, chosen, author="ada", when=WHEN)
        return discussions.find(connection, here, asked.number).answer

    assert accept(comment) == comment.sequence
    assert accept(None) is None
    assert accept(comment) == comment.sequence
    with pytest.raises(DiscussionRuleError, match="itself"):
        accept(first)
    discussions.hide(connection, discussions.find(connection, here, asked.number), comment)
    assert discussions.find(connection, here, asked.number).answer is None
    with pytest.raises(DiscussionRuleError, match="no question"):
        discussions.accept_answer(connection, begin(connection, here), comment, author="ada", when=WHEN)


def test_statuses_change_as_they_may(connection: sa.Connection, here: Repository) -> None:
    made = begin(connection, here)

    discussions.change_status(connection, made, "closed", author="ada", when=WHEN)

    closed = discussions.find(connection, here, 1)
    assert closed.status == "closed" and not closed.is_open
    with pytest.raises(DiscussionRuleError, match="closed already"):
        discussions.change_status(connection, closed, "closed", author="ada", when=WHEN)
    discussions.note_merge(connection, closed, "ab", author="ada", when=WHEN)
    with pytest.raises(DiscussionRuleError, match="was merged"):
        merged = discussions.find(connection, here, 1)
        discussions.change_status(connection, merged, "open", author="ada", when=WHEN)


def test_listings_are_filtered_and_in_pages(connection: sa.Connection, here: Repository) -> None:
    for number in range(1, 8):
        kind = "question" if number % 2 else "discussion"
        begin(connection, here, kind=kind, author="ada" if number < 4 else "ben", title=f"{number}")
    discussions.change_status(
        connection, discussions.find(connection, here, 7), "closed", author="ben", when=WHEN
    )

    def titles(**asked: object) -> list[str]:
        found = discussions.page(connection, here, **asked)  # type: ignore[arg-type]
        return [each.title for each in found.discussions]

    assert titles() == list("7654321")
    assert titles(size=3, number=1) == list("432")
    assert titles(kinds=("question",), is_open=True) == list("531")
    assert titles(author="ADA") == list("321")
    assert titles(is_answered=False, is_open=False) == ["7"] and titles(is_answered=True) == []
    assert discussions.page(connection, here, size=3, number=2).count == 7


@pytest.mark.parametrize("text", ["", " \n ", "x" * (discussions.LONGEST_COMMENT + 1)])
def test_nothing_and_too_much_are_refused(connection: sa.Connection, here: Repository, text: str) -> None:
    with pytest.raises(DiscussionTextError, match="A comment has 1 to"):
        begin(connection, here, text=text)
    with pytest.raises(DiscussionTextError, match="A title has 1 to"):
        begin(connection, here, title=text)


def test_a_title_is_one_line(connection: sa.Connection, here: Repository) -> None:
    made = begin(connection, here, title=" a\n b ")
    discussions.change_title(connection, made, "c\td", author="ada", when=WHEN)

    assert made.title == "a b"
    assert discussions.events(connection, made)[-1].data == {"from": "a b", "to": "c d"}

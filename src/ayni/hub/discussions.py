"""Discussions of a repository: what is asked, said, edited, hidden, answered and closed.

    discussion      open <-> closed
    question        the same; one of its comments may be accepted as the answer
    pull_request    draft -> open <-> closed, open -> merged, which is the end

Everything that happened is an event, in order. A comment keeps its earlier versions, until it is hidden: then
all of them are gone for good. Texts are stored as they were written and turned into HTML by who shows them.

Not covered: who may do what (`permissions`, and the routes for what only an author may), and what a pull
request would change (`pull_requests`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from ayni.errors import UserError
from ayni.hub.discussion_tables import discussion_events_table, discussions_table
from ayni.hub.repository import Repository

DiscussionKind = Literal["discussion", "question", "pull_request"]
DiscussionStatus = Literal["draft", "open", "closed", "merged"]
EventKind = Literal["comment", "status-change", "title-change", "commit", "answer"]

LONGEST_TITLE = 200
LONGEST_COMMENT = 65_536
MOST_EDITS = 100
MOST_EVENTS = 10_000
_DISCUSSIONS, _EVENTS = discussions_table.c, discussion_events_table.c


class DiscussionNotFoundError(UserError):
    """The repository has no discussion or comment of this number."""

    def __init__(self, repository: str, what: str) -> None:
        self.repository = repository
        super().__init__(f"{repository} has no {what}.")


class DiscussionRuleError(UserError):
    """This cannot be done in this discussion, or not now."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Nothing was changed.")


class DiscussionTextError(UserError):
    """A title or a comment is empty or too long."""

    def __init__(self, what: str, longest: int, length: int) -> None:
        self.length = length
        super().__init__(f"{what} has 1 to {longest} characters, this one {length}. Nothing was changed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Discussion:
    """A discussion, question or pull request.

    Attributes:
        repository_id: of what.
        number: from 1, one row for all kinds.
        kind: what it is.
        title: one line.
        status: see the module.
        author: name of who began it.
        created_at: when.
        base_revision: of a pull request: where it began.
        merge_revision: the commit on main that it became.
        answer: number of the event that answers a question.
        num_comments: hidden ones included.
    """

    repository_id: int
    number: int
    kind: DiscussionKind
    title: str
    status: DiscussionStatus
    author: str
    created_at: datetime
    base_revision: str | None = None
    merge_revision: str | None = None
    answer: int | None = None
    num_comments: int = 0

    @property
    def is_pull_request(self) -> bool:
        """Whether it has a ref of its own, with commits."""
        return self.kind == "pull_request"

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self.status in ("draft", "open")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A text of a comment, who wrote it and when."""

    text: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened. `data` is JSON by kind; `versions` are those of a comment, the newest last."""

    sequence: int
    kind: EventKind
    author: str
    created_at: datetime
    data: Mapping[str, Any]

    @property
    def is_hidden(self) -> bool:
        """Whether a comment was hidden; its text is gone."""
        return bool(self.data.get("hidden"))

    @property
    def versions(self) -> tuple[Version, ...]:
        """All texts of a comment, the newest last; none of anything else."""
        return tuple(
            Version(text=each["text"], author=each["author"], at=datetime.fromisoformat(each["at"]))
            for each in self.data.get("versions", ())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A page of discussions, how many there are in all, and the place of the first one."""

    discussions: tuple[Discussion, ...]
    count: int
    start: int


def create(
    connection: sa.Connection,
    repository: Repository,
    kind: DiscussionKind,
    *,
    title: str,
    text: str,
    author: str,
    when: datetime,
    status: DiscussionStatus = "open",
    base_revision: str | None = None,
    request_key: str | None = None,
) -> Discussion:
    """Begin one; its text is the first comment.

    Raises:
        DiscussionTextError: the title or the text is empty or too long.
    """
    title = _checked_title(title)
    highest = sa.select(sa.func.max(_DISCUSSIONS.number)).where(_DISCUSSIONS.repository_id == repository.id)
    # Writing transactions are alone, so nobody takes the same number.
    number = (connection.scalar(highest) or 0) + 1
    values = {
        "repository_id": repository.id,
        "number": number,
        "kind": kind,
        "title": title,
        "status": status,
        "author": author,
        "created_at": when.isoformat(),
        "base_revision": base_revision,
        "request_key": request_key,
    }
    connection.execute(discussions_table.insert().values(values))
    made = find(connection, repository, number)
    comment(connection, made, text, author=author, when=when)
    return made


def find(connection: sa.Connection, repository: Repository, number: int) -> Discussion:
    """One by its number.

    Raises:
        DiscussionNotFoundError: there is none.
    """
    row = connection.execute(_select(repository.id).where(_DISCUSSIONS.number == number)).one_or_none()
    if row is None:
        raise DiscussionNotFoundError(repository.name, f"discussion {number}")
    return _discussion(row)


def of_request(
    connection: sa.Connection, repository_id: int, request_key: str, *, author: str
) -> Discussion | None:
    """The open pull request that the same request of the same author made; None without one."""
    query = _select(repository_id).where(
        _DISCUSSIONS.request_key == request_key,
        _DISCUSSIONS.author == author,
        _DISCUSSIONS.status.in_(("draft", "open")),
    )
    row = connection.execute(query.order_by(_DISCUSSIONS.number.desc()).limit(1)).one_or_none()
    return None if row is None else _discussion(row)


def page(
    connection: sa.Connection,
    repository: Repository,
    *,
    kinds: tuple[DiscussionKind, ...] = ("discussion", "question", "pull_request"),
    is_open: bool | None = None,
    author: str | None = None,
    is_answered: bool | None = None,
    number: int = 0,
    size: int = 50,
) -> Listing:
    """Those that fit, newest first; page `number` counts from 0. `is_answered` leaves only questions."""
    conditions = [_DISCUSSIONS.repository_id == repository.id, _DISCUSSIONS.kind.in_(kinds)]
    if is_open is not None:
        opened = _DISCUSSIONS.status.in_(("draft", "open"))
        conditions.append(opened if is_open else sa.not_(opened))
    if author is not None:
        conditions.append(sa.func.lower(_DISCUSSIONS.author) == author.lower())
    if is_answered is not None:
        answered = _DISCUSSIONS.answer.is_not(None)
        conditions += [_DISCUSSIONS.kind == "question", answered if is_answered else sa.not_(answered)]
    count = connection.scalar(sa.select(sa.func.count()).select_from(discussions_table).where(*conditions))
    query = _select(repository.id).where(*conditions).order_by(_DISCUSSIONS.number.desc())
    rows = connection.execute(query.offset(number * size).limit(size)).all()
    found = tuple(_discussion(row) for row in rows)
    return Listing(discussions=found, count=count or 0, start=number * size)


def events(connection: sa.Connection, discussion: Discussion) -> list[Event]:
    """All that happened, in order."""
    query = sa.select(discussion_events_table).where(_of(discussion)).order_by(_EVENTS.sequence)
    return [_event(row) for row in connection.execute(query)]


def comment(
    connection: sa.Connection, discussion: Discussion, text: str, *, author: str, when: datetime
) -> Event:
    """Say something.

    Raises:
        DiscussionTextError: nothing was said, or too much.
    """
    version = _version(_checked_text(text), author, when)
    return note(connection, discussion, "comment", {"versions": [version]}, author=author, when=when)


def find_comment(connection: sa.Connection, discussion: Discussion, sequence: int) -> Event:
    """One comment by its number.

    Raises:
        DiscussionNotFoundError: there is none in this discussion.
    """
    query = sa.select(discussion_events_table).where(
        _of(discussion), _EVENTS.sequence == sequence, _EVENTS.kind == "comment"
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        raise DiscussionNotFoundError(f"Discussion {discussion.number}", "such comment")
    return _event(row)


def edit(connection: sa.Connection, comment: Event, text: str, *, author: str, when: datetime) -> Event:
    """Another text for a comment; the one before is kept.

    Raises:
        DiscussionRuleError: it is hidden, or was edited too often.
        DiscussionTextError: the text is empty or too long.
    """
    if comment.is_hidden:
        raise DiscussionRuleError("The comment is hidden.")
    versions = [*comment.data["versions"], _version(_checked_text(text), author, when)]
    if len(versions) > MOST_EDITS:
        raise DiscussionRuleError(f"The comment was edited {MOST_EDITS - 1} times. Write a new one.")
    return _rewrite(connection, comment, {**comment.data, "versions": versions})


def hide(connection: sa.Connection, discussion: Discussion, comment: Event) -> Event:
    """Take the text of a comment away for good, with all its versions; an answer is one no longer."""
    if discussion.answer == comment.sequence:
        _update(connection, discussion, answer=None)
    first = comment.versions[0]
    gone = [_version("", first.author, first.at)]
    return _rewrite(connection, comment, {"hidden": True, "versions": gone})


def change_title(
    connection: sa.Connection, discussion: Discussion, title: str, *, author: str, when: datetime
) -> Event:
    """Another title.

    Raises:
        DiscussionTextError: the title is empty or too long.
    """
    title = _checked_title(title)
    _update(connection, discussion, title=title)
    said = {"from": discussion.title, "to": title}
    return note(connection, discussion, "title-change", said, author=author, when=when)


def change_status(
    connection: sa.Connection,
    discussion: Discussion,
    status: Literal["open", "closed"],
    *,
    author: str,
    when: datetime,
) -> Event:
    """Close, open again, or publish a draft.

    Raises:
        DiscussionRuleError: it was merged, or is so already.
    """
    if discussion.status == "merged":
        raise DiscussionRuleError(f"Pull request {discussion.number} was merged; that stays.")
    if discussion.status == status:
        raise DiscussionRuleError(f"It is {status} already.")
    _update(connection, discussion, status=status)
    return note(connection, discussion, "status-change", {"status": status}, author=author, when=when)


def note_merge(
    connection: sa.Connection, discussion: Discussion, revision: str, *, author: str, when: datetime
) -> Event:
    """A pull request became this commit."""
    _update(connection, discussion, status="merged", merge_revision=revision)
    said = {"status": "merged", "oid": revision}
    return note(connection, discussion, "status-change", said, author=author, when=when)


def accept_answer(
    connection: sa.Connection,
    discussion: Discussion,
    comment: Event | None,
    *,
    author: str,
    when: datetime,
) -> Event:
    """This comment answers the question; None = none does any longer.

    Raises:
        DiscussionRuleError: it is no question, or the comment is hidden or the question itself.
    """
    if discussion.kind != "question":
        raise DiscussionRuleError(f"Discussion {discussion.number} is no question.")
    if comment is not None:
        first = connection.scalar(
            sa.select(sa.func.min(_EVENTS.sequence)).where(_of(discussion), _EVENTS.kind == "comment")
        )
        if comment.is_hidden or comment.sequence == first:
            raise DiscussionRuleError("A hidden comment, or the question itself, is no answer.")
    chosen = None if comment is None else comment.sequence
    _update(connection, discussion, answer=chosen)
    return note(connection, discussion, "answer", {"comment": chosen}, author=author, when=when)


def note(
    connection: sa.Connection,
    discussion: Discussion,
    kind: EventKind,
    data: Mapping[str, Any],
    *,
    author: str,
    when: datetime,
) -> Event:
    """Write down that something happened.

    Raises:
        DiscussionRuleError: too much has happened.
    """
    count = sa.select(sa.func.count()).select_from(discussion_events_table).where(_of(discussion))
    if (connection.scalar(count) or 0) >= MOST_EVENTS:
        raise DiscussionRuleError(f"Discussion {discussion.number} is full: begin a new one.")
    values = {
        "repository_id": discussion.repository_id,
        "number": discussion.number,
        "kind": kind,
        "author": author,
        "created_at": when.isoformat(),
        "data": json.dumps(data),
    }
    query = discussion_events_table.insert().values(values).returning(_EVENTS.sequence)
    return _event_of(connection, connection.execute(query).scalar_one())


def _checked_title(title: str) -> str:
    title = " ".join(title.split())
    if not 1 <= len(title) <= LONGEST_TITLE:
        raise DiscussionTextError("A title", LONGEST_TITLE, len(title))
    return title


def _checked_text(text: str) -> str:
    text = text.strip()
    if not 1 <= len(text) <= LONGEST_COMMENT:
        raise DiscussionTextError("A comment", LONGEST_COMMENT, len(text))
    return text


def _version(text: str, author: str, when: datetime) -> dict[str, str]:
    return {"text": text, "author": author, "at": when.isoformat()}


def _rewrite(connection: sa.Connection, event: Event, data: Mapping[str, Any]) -> Event:
    here = _EVENTS.sequence == event.sequence
    connection.execute(discussion_events_table.update().where(here).values(data=json.dumps(data)))
    return _event_of(connection, event.sequence)


def _update(connection: sa.Connection, discussion: Discussion, **values: object) -> None:
    here = sa.and_(
        _DISCUSSIONS.repository_id == discussion.repository_id, _DISCUSSIONS.number == discussion.number
    )
    connection.execute(discussions_table.update().where(here).values(**values))


def _of(discussion: Discussion) -> sa.ColumnElement[bool]:
    return sa.and_(_EVENTS.repository_id == discussion.repository_id, _EVENTS.number == discussion.number)


def _select(repository_id: int) -> sa.Select[Any]:
    comments = (
        sa.select(sa.func.count())
        .select_from(discussion_events_table)
        .where(
            _EVENTS.repository_id == _DISCUSSIONS.repository_id,
            _EVENTS.number == _DISCUSSIONS.number,
            _EVENTS.kind == "comment",
        )
        .scalar_subquery()
    )
    query = sa.select(discussions_table, comments.label("num_comments"))
    return query.where(_DISCUSSIONS.repository_id == repository_id)


def _discussion(row: sa.Row[Any]) -> Discussion:
    return Discussion(
        repository_id=row.repository_id,
        number=row.number,
        kind=row.kind,
        title=row.title,
        status=row.status,
        author=row.author,
        created_at=datetime.fromisoformat(row.created_at),
        base_revision=row.base_revision,
        merge_revision=row.merge_revision,
        answer=row.answer,
        num_comments=row.num_comments,
    )


def _event_of(connection: sa.Connection, sequence: int) -> Event:
    query = sa.select(discussion_events_table).where(_EVENTS.sequence == sequence)
    return _event(connection.execute(query).one())


def _event(row: sa.Row[Any]) -> Event:
    return Event(
        sequence=row.sequence,
        kind=row.kind,
        author=row.author,
        created_at=datetime.fromisoformat(row.created_at),
        data=json.loads(row.data),
    )

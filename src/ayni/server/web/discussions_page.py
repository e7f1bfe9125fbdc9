"""Discussions, questions and pull requests of a repository: read by who sees it, written by members.

    everybody who sees it      reads; what a pull request changes is for who may read the files
    members                    begin discussions and questions, comment, like
    authors, and moderators    close, open again, accept an answer, hide a comment
    writers                    merge

Not covered: editing a comment and its title, which clients do.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from markupsafe import Markup
from starlette.responses import Response

from ayni.errors import UserError
from ayni.hub import discussions, likes, pull_requests
from ayni.hub.discussions import LONGEST_COMMENT, LONGEST_TITLE, Discussion, Event
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route
from ayni.server.web.card_text import CardPlace
from ayni.server.web.repository_frame import frame
from ayni.server.web.visit import Visit, with_query
from ayni.signing import sha256_hex

PAGE = 30
MOST_DIFF_CHARACTERS = 100_000
LARGEST_NUMBER = 1 << 31
STATES: dict[str, tuple[str, bool | None]] = {
    "open": ("Open", True),
    "closed": ("Closed", False),
    "all": ("All", None),
}
KIND_WORDS = {"discussion": "Discussion", "question": "Question", "pull_request": "Pull request"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that happened, as a page shows it; `html` is what a comment says."""

    event: Event
    html: Markup
    is_edited: bool
    is_answer: bool
    may_hide: bool
    may_accept: bool


def show_list(visit: Visit) -> Response:
    """`GET /{repo}/discussions`."""
    state, number = visit.query("status") or "open", visit.query("p") or "0"
    if state not in STATES or not (number.isascii() and number.isdecimal() and len(number) < 6):
        raise RefusedRequestError(400, "There is no such page of the discussions.")
    values = frame(visit, "discussions")
    with visit.hub.database.reading() as connection:
        found = discussions.page(
            connection, visit.repository, is_open=STATES[state][1], number=int(number), size=PAGE
        )
    has_more = found.start + len(found.discussions) < found.count
    return visit.show(
        "discussions.html.j2",
        **values,
        found=found,
        state=state,
        states=[(key, label) for key, (label, _) in STATES.items()],
        kinds=KIND_WORDS,
        more=with_query(visit.path, status=state, p=str(int(number) + 1)) if has_more else None,
        may_write=visit.may("discussion.write", visit.repository),
    )


def show_new(visit: Visit) -> Response:
    """`GET /{repo}/discussions/new`."""
    return _new(visit)


def begin(visit: Visit) -> Response:
    """`POST /{repo}/discussions`."""
    is_question = visit.field_text("kind") == "question"
    title = visit.field_text("title", longest=10 * LONGEST_TITLE)
    text = visit.field_text("text", longest=10 * LONGEST_COMMENT)
    try:
        with visit.hub.database.transaction() as connection:
            made = discussions.create(
                connection,
                visit.repository,
                "question" if is_question else "discussion",
                title=title,
                text=text,
                author=visit.call.author,
                when=visit.hub.now(),
            )
    except UserError as error:
        return _new(visit, problem=str(error))
    return visit.go(_address(visit, made))


def show(visit: Visit) -> Response:
    """`GET /{repo}/discussions/{number}`."""
    return _page(visit)


def comment(visit: Visit) -> Response:
    """`POST .../comment`, with `close` or `open` when the status is to change as well."""
    text = visit.field_text("text", longest=10 * LONGEST_COMMENT)
    change = visit.field_text("change")
    try:
        with visit.hub.database.transaction() as connection:
            discussion = _discussion(connection, visit)
            by: dict[str, Any] = {"author": visit.call.author, "when": visit.hub.now()}
            if text or not change:
                discussions.comment(connection, discussion, text, **by)
            if change in ("open", "closed"):
                _require_own(visit, discussion.author)
                discussions.change_status(
                    connection, discussion, "open" if change == "open" else "closed", **by
                )
    except UserError as error:
        return _refused(visit, error)
    return visit.go(_address(visit, discussion))


def hide(visit: Visit) -> Response:
    """`POST .../hide`: the text of a comment is gone for good."""
    with visit.hub.database.transaction() as connection:
        discussion = _discussion(connection, visit)
        found = discussions.find_comment(connection, discussion, _number(visit.field_text("comment")))
        _require_own(visit, found.author)
        discussions.hide(connection, discussion, found)
        visit.call.note(
            connection, "comment.hide", visit.repository, discussion=discussion.number, author=found.author
        )
    return visit.go(_address(visit, discussion))


def accept_answer(visit: Visit) -> Response:
    """`POST .../answer`: the comment that answers the question; none takes the answer back."""
    with visit.hub.database.transaction() as connection:
        discussion = _discussion(connection, visit)
        _require_own(visit, discussion.author)
        chosen = visit.field_text("comment")
        found = discussions.find_comment(connection, discussion, _number(chosen)) if chosen else None
        discussions.accept_answer(
            connection, discussion, found, author=visit.call.author, when=visit.hub.now()
        )
    return visit.go(_address(visit, discussion))


def merge(visit: Visit) -> Response:
    """`POST .../merge`."""
    try:
        with visit.hub.database.transaction() as connection:
            discussion = _discussion(connection, visit)
            pull_requests.merge(
                connection,
                visit.hub.content,
                visit.repository,
                discussion,
                by=visit.call.author,
                when=visit.hub.now(),
                hooks=visit.hub.all_commit_hooks,
            )
    except UserError as error:
        return _refused(visit, error)
    return visit.go(_address(visit, discussion))


def like(visit: Visit) -> Response:
    """`POST /{repo}/like`: `change` says whether the visitor likes it from now on."""
    repository = visit.repository
    with visit.hub.database.transaction() as connection:
        if visit.field_text("change") == "unlike":
            likes.unlike(connection, repository.id, visit.call.author)
        else:
            likes.like(connection, repository.id, visit.call.author, when=visit.hub.now())
    return visit.go(page_path(repository.kind, repository.name))


def _new(visit: Visit, *, problem: str = "") -> Response:
    return visit.show(
        "new_discussion.html.j2",
        status=422 if problem else 200,
        **frame(visit, "discussions"),
        problem=problem,
        title=visit.fields.get("title", [""])[-1],
        text=visit.fields.get("text", [""])[-1],
        is_question=visit.fields.get("kind", [""])[-1] == "question",
        longest=LONGEST_TITLE,
    )


def _page(visit: Visit, *, problem: str = "") -> Response:
    values = frame(visit, "discussions")
    with visit.hub.database.reading() as connection:
        discussion = _discussion(connection, visit)
        events = discussions.events(connection, discussion)
        proposal = _proposal(connection, visit, discussion) if values["may_read"] else {}
    first = next(each.sequence for each in events if each.kind == "comment")
    place = CardPlace(page=values["page"], revision="main")
    is_own = _is_own(visit, discussion.author)
    return visit.show(
        "discussion.html.j2",
        status=422 if problem else 200,
        **values,
        discussion=discussion,
        entries=[_entry(visit, discussion, each, place, first=first, is_own=is_own) for each in events],
        kind=KIND_WORDS[discussion.kind],
        is_own=is_own,
        may_write=visit.may("discussion.write", visit.repository),
        may_merge=visit.may("content.write", visit.repository),
        problem=problem,
        text=visit.fields.get("text", [""])[-1] if problem else "",
        diff=proposal.get("diff", ""),
        conflicts=proposal.get("conflicts", ()),
    )


def _proposal(connection: sa.Connection, visit: Visit, discussion: Discussion) -> dict[str, Any]:
    """What a pull request changes, and what keeps it from being merged."""
    if not discussion.is_pull_request:
        return {}
    given = (connection, visit.hub.content, visit.repository, discussion)
    conflicts = pull_requests.conflicts_of(*given) if discussion.is_open else ()
    diff = pull_requests.diff_of(*given)
    is_cut = len(diff) > MOST_DIFF_CHARACTERS
    return {"diff": diff[:MOST_DIFF_CHARACTERS] + ("\n[cut here]" if is_cut else ""), "conflicts": conflicts}


def _entry(
    visit: Visit, discussion: Discussion, event: Event, place: CardPlace, *, first: int, is_own: bool
) -> Entry:
    texts = event.versions if event.kind == "comment" else ()
    text = texts[-1].text if texts and not event.is_hidden else ""
    is_comment = event.kind == "comment" and not event.is_hidden
    return Entry(
        event=event,
        html=visit.texts.html(sha256_hex(text.encode()), text, place) if text else Markup(""),
        is_edited=len(texts) > 1,
        is_answer=discussion.answer == event.sequence,
        may_hide=is_comment and _is_own(visit, event.author),
        may_accept=is_comment
        and is_own
        and discussion.kind == "question"
        and event.sequence not in (first, discussion.answer),
    )


def _refused(visit: Visit, error: UserError) -> Response:
    # A mistake in the form is told beside it; that something is not there, or not allowed, is a page.
    if isinstance(error, RefusedRequestError | discussions.DiscussionNotFoundError):
        raise error
    return _page(visit, problem=str(error))


def _discussion(connection: sa.Connection, visit: Visit) -> Discussion:
    return discussions.find(connection, visit.repository, _number(visit.part("number")))


def _number(text: str) -> int:
    is_number = text.isascii() and text.isdecimal() and len(text) < 11
    number = int(text) if is_number else 0
    return number if number < LARGEST_NUMBER else 0


def _is_own(visit: Visit, author: str) -> bool:
    """Whether the visitor may change what somebody began or said."""
    may_write = visit.may("discussion.write", visit.repository)
    return may_write and (visit.call.is_by(author) or visit.may("discussion.moderate", visit.repository))


def _require_own(visit: Visit, author: str) -> None:
    if not _is_own(visit, author):
        raise RefusedRequestError(
            403, f"This is {author}'s. Only {author} and those who may write to the repository change it."
        )


def _address(visit: Visit, discussion: Discussion) -> str:
    return f"{page_path(visit.repository.kind, visit.repository.name)}/discussions/{discussion.number}"


_PAGE = "/{prefix}{page}/discussions"
_ONE = _PAGE + "/{number}"

ROUTES = (
    Route(method="GET", pattern=_PAGE, action="repository.see", handler=show_list),
    Route(method="POST", pattern=_PAGE, action="discussion.write", handler=begin),
    Route(method="GET", pattern=f"{_PAGE}/new", action="discussion.write", handler=show_new),
    Route(method="GET", pattern=_ONE, action="repository.see", handler=show),
    Route(method="POST", pattern=f"{_ONE}/comment", action="discussion.write", handler=comment),
    Route(method="POST", pattern=f"{_ONE}/hide", action="discussion.write", handler=hide),
    Route(method="POST", pattern=f"{_ONE}/answer", action="discussion.write", handler=accept_answer),
    Route(method="POST", pattern=f"{_ONE}/merge", action="content.write", handler=merge),
    Route(method="POST", pattern="/{prefix}{page}/like", action="discussion.write", handler=like),
)

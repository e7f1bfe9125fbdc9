"""Discussions, questions and pull requests as the Hugging Face Hub's API has them, and answers beside it.

    who sees the repository     reads discussions; what a pull request changes is for who may read its files
    members who see it          begin discussions and questions, and comment
    who may propose             opens pull requests
    authors, and writers        change title and status, hide comments, accept an answer
    authors alone               edit their comments
    writers                     merge

Questions are discussions that were made with `"question": true`; `POST .../answer` accepts a comment.
"""

from collections.abc import Sequence
from typing import Any, Literal

import pydantic
import sqlalchemy as sa
from starlette.responses import JSONResponse, Response

from ayni.hub import discussions, pull_requests, revisions
from ayni.hub.discussions import Discussion, DiscussionKind, Event
from ayni.hub.permissions import allowed
from ayni.hub.pull_requests import Proposal
from ayni.hub.repository import Repository
from ayni.server.call import Call, Text
from ayni.server.descriptions import page_path, time_text
from ayni.server.errors import RefusedRequestError
from ayni.server.markdown_html import markdown_html
from ayni.server.routing import Route

PAGE = 50
_LARGEST_NUMBER = 1 << 31
KINDS: dict[str, tuple[DiscussionKind, ...]] = {
    "all": ("discussion", "question", "pull_request"),
    "discussion": ("discussion", "question"),
    "question": ("question",),
    "pull_request": ("pull_request",),
}
STATUSES: dict[str, bool | None] = {"all": None, "open": True, "closed": False}
ANSWERED: dict[str, bool | None] = {"": None, "true": True, "false": False}


class NewDiscussion(pydantic.BaseModel):
    """What is begun."""

    title: Text
    description: Text = ""
    pullRequest: bool = False  # noqa: N815 - the clients' word
    question: bool = False


class NewComment(pydantic.BaseModel):
    """What is said."""

    comment: Text


class NewText(pydantic.BaseModel):
    """What a comment says from now on."""

    content: Text


class NewTitle(pydantic.BaseModel):
    """Another title."""

    title: Text


class NewStatus(pydantic.BaseModel):
    """Another status, and a word about it."""

    status: Literal["open", "closed"]
    comment: Text = ""


class MergeWords(pydantic.BaseModel):
    """A word about a merge."""

    comment: Text = ""


class Answer(pydantic.BaseModel):
    """The comment that answers; null takes the answer back."""

    comment: str | None


def list_discussions(call: Call) -> Response:
    """`GET .../discussions`, newest first."""
    with call.hub.database.reading() as connection:
        found = discussions.page(
            connection,
            call.repository,
            kinds=_one_of(call, "type", KINDS, "all"),
            is_open=_one_of(call, "status", STATUSES, "all"),
            is_answered=_one_of(call, "answered", ANSWERED, ""),
            author=call.request.query_params.get("author"),
            number=_page_number(call),
            size=PAGE,
        )
    said = [_json(call.repository, each) for each in found.discussions]
    return JSONResponse({"discussions": said, "count": found.count, "start": found.start})


def show(call: Call) -> Response:
    """`GET .../discussions/{number}`; with `diff=1` also what a pull request changes."""
    with call.hub.database.reading() as connection:
        discussion = _discussion(connection, call)
        said = _details(connection, call, discussion)
        if discussion.is_pull_request and call.flag("diff"):
            call.require("content.read", call.repository)
            said["diff"] = pull_requests.diff_of(connection, call.hub.content, call.repository, discussion)
    return JSONResponse(said)


def create(call: Call) -> Response:
    """`POST .../discussions`."""
    asked = call.body(NewDiscussion)
    if asked.pullRequest:
        call.require("content.propose", call.repository)
    with call.hub.database.transaction() as connection:
        made = _create(connection, call, asked)
    url = call.url(f"{page_path(call.repository.kind, call.repository.name)}/discussions/{made.number}")
    return JSONResponse({"num": made.number, "pullRequest": made.is_pull_request, "url": url})


def _create(connection: sa.Connection, call: Call, asked: NewDiscussion) -> Discussion:
    text = asked.description.strip() or asked.title
    if asked.pullRequest:
        # Without commits yet, so that nobody merges what is not there.
        proposal = Proposal(title=asked.title, text=text, author=call.author, status="draft")
        return pull_requests.open_pull_request(connection, call.repository, proposal, when=call.hub.now())
    return discussions.create(
        connection,
        call.repository,
        "question" if asked.question else "discussion",
        title=asked.title,
        text=text,
        author=call.author,
        when=call.hub.now(),
    )


def comment(call: Call) -> Response:
    """`POST .../discussions/{number}/comment`."""
    asked = call.body(NewComment)
    with call.hub.database.transaction() as connection:
        made = _comment(connection, call, _discussion(connection, call), asked.comment)
    return JSONResponse({"newMessage": _event_json(made)})


def edit(call: Call) -> Response:
    """`POST .../comment/{comment}/edit`; its author alone."""
    asked = call.body(NewText)
    with call.hub.database.transaction() as connection:
        _, found = _found_comment(connection, call, call.parts["comment"])
        if not call.is_by(found.author):
            raise RefusedRequestError(403, f"Only {found.author} may edit this comment.")
        changed = discussions.edit(connection, found, asked.content, author=call.author, when=call.hub.now())
    return JSONResponse({"updatedComment": _event_json(changed)})


def hide(call: Call) -> Response:
    """`POST .../comment/{comment}/hide`; its text is gone for good."""
    with call.hub.database.transaction() as connection:
        discussion, found = _found_comment(connection, call, call.parts["comment"])
        _require_own(call, found.author)
        changed = discussions.hide(connection, discussion, found)
        call.note(
            connection, "comment.hide", call.repository, discussion=discussion.number, author=found.author
        )
    return JSONResponse({"updatedComment": _event_json(changed)})


def change_title(call: Call) -> Response:
    """`POST .../discussions/{number}/title`."""
    asked = call.body(NewTitle)
    with call.hub.database.transaction() as connection:
        discussion = _own_discussion(connection, call)
        made = discussions.change_title(
            connection, discussion, asked.title, author=call.author, when=call.hub.now()
        )
    return JSONResponse({"newTitle": _event_json(made)})


def change_status(call: Call) -> Response:
    """`POST .../discussions/{number}/status`."""
    asked = call.body(NewStatus)
    with call.hub.database.transaction() as connection:
        discussion = _own_discussion(connection, call)
        if asked.comment.strip():
            _comment(connection, call, discussion, asked.comment)
        made = discussions.change_status(
            connection, discussion, asked.status, author=call.author, when=call.hub.now()
        )
    return JSONResponse({"newStatus": _event_json(made)})


def merge(call: Call) -> Response:
    """`POST .../discussions/{number}/merge`."""
    asked = call.body(MergeWords)
    with call.hub.database.transaction() as connection:
        discussion = _discussion(connection, call)
        if asked.comment.strip() and discussion.status != "merged":
            _comment(connection, call, discussion, asked.comment)
        made = pull_requests.merge(
            connection,
            call.hub.content,
            call.repository,
            discussion,
            by=call.author,
            when=call.hub.now(),
            hooks=call.hub.all_commit_hooks,
        )
    return JSONResponse({"commitOid": made, "status": "merged"})


def accept_answer(call: Call) -> Response:
    """`POST .../discussions/{number}/answer`: `{"comment": id}`, or null to take it back."""
    asked = call.body(Answer)
    with call.hub.database.transaction() as connection:
        discussion = _own_discussion(connection, call)
        chosen = None if asked.comment is None else _found_comment(connection, call, asked.comment)[1]
        made = discussions.accept_answer(
            connection, discussion, chosen, author=call.author, when=call.hub.now()
        )
    return JSONResponse({"newAnswer": _event_json(made)})


def _discussion(connection: sa.Connection, call: Call) -> Discussion:
    text = call.parts["number"]
    is_number = text.isascii() and text.isdecimal() and len(text) < 11
    number = int(text) if is_number else 0
    return discussions.find(connection, call.repository, number if number < _LARGEST_NUMBER else 0)


def _own_discussion(connection: sa.Connection, call: Call) -> Discussion:
    found = _discussion(connection, call)
    _require_own(call, found.author)
    return found


def _found_comment(connection: sa.Connection, call: Call, text: str) -> tuple[Discussion, Event]:
    discussion = _discussion(connection, call)
    try:
        sequence = int(text, 16) if len(text) <= 24 and text.isascii() and text.isalnum() else 0
    except ValueError:
        sequence = 0
    return discussion, discussions.find_comment(
        connection, discussion, sequence if sequence < _LARGEST_NUMBER else 0
    )


def _require_own(call: Call, author: str) -> None:
    """For who wrote it, and those who moderate."""
    if not call.is_by(author) and allowed(call.caller, "discussion.moderate", call.repository) != "yes":
        raise RefusedRequestError(
            403, f"This is {author}'s. Only {author} and those who may write to the repository change it."
        )


def _comment(connection: sa.Connection, call: Call, discussion: Discussion, text: str) -> Event:
    return discussions.comment(connection, discussion, text, author=call.author, when=call.hub.now())


def _one_of(call: Call, name: str, known: dict[str, Any], otherwise: str) -> Any:
    text = call.request.query_params.get(name, otherwise)
    if text not in known:
        names = ", ".join(each for each in known if each)
        raise RefusedRequestError(400, f"{name}={text!r} is not known; it is one of {names}.")
    return known[text]


def _page_number(call: Call) -> int:
    text = call.request.query_params.get("p", "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        raise RefusedRequestError(400, f"p={text!r} is no number of a page.")
    return int(text)


def _json(repository: Repository, discussion: Discussion) -> dict[str, Any]:
    said: dict[str, Any] = {
        "num": discussion.number,
        "title": discussion.title,
        "status": discussion.status,
        "author": {"name": discussion.author},
        "repo": {"name": repository.name, "type": repository.kind},
        "createdAt": time_text(discussion.created_at),
        "isPullRequest": discussion.is_pull_request,
        "isQuestion": discussion.kind == "question",
        "numComments": discussion.num_comments,
    }
    if discussion.kind == "question":
        said["answer"] = None if discussion.answer is None else _id(discussion.answer)
    return said


def _details(connection: sa.Connection, call: Call, discussion: Discussion) -> dict[str, Any]:
    found = discussions.events(connection, discussion)
    said = _json(call.repository, discussion) | {"events": [_event_json(each) for each in found]}
    if not discussion.is_pull_request:
        return said
    conflicts: Sequence[str] = ()
    if discussion.is_open:
        conflicts = pull_requests.conflicts_of(connection, call.hub.content, call.repository, discussion)
    changes = {"base": revisions.MAIN, "ref": pull_requests.ref_of(discussion.number)}
    if discussion.merge_revision is not None:
        changes["mergeCommitId"] = discussion.merge_revision
    return said | {"filesWithConflicts": list(conflicts), "changes": changes}


def _id(sequence: int) -> str:
    # As long as ids are on the Hugging Face Hub.
    return f"{sequence:024x}"


def _event_json(event: Event) -> dict[str, Any]:
    data: dict[str, Any] = dict(event.data)
    if event.kind == "comment":
        data = _comment_json(event)
    elif event.kind == "answer" and data["comment"] is not None:
        data["comment"] = _id(data["comment"])
    return {
        "id": _id(event.sequence),
        "type": event.kind,
        "createdAt": time_text(event.created_at),
        "author": {"name": event.author},
        "data": data,
    }


def _comment_json(event: Event) -> dict[str, Any]:
    *earlier, latest = (
        {
            "raw": each.text,
            "html": markdown_html(each.text),
            "updatedAt": time_text(each.at),
            "author": {"name": each.author},
        }
        for each in event.versions
    )
    return {
        "edited": bool(earlier),
        "hidden": event.is_hidden,
        "latest": latest,
        "history": earlier,
        "numEdits": len(earlier),
    }


_API = "/api/{kind}/{repo}/discussions"
_ONE = _API + "/{number}"
_COMMENT = _ONE + "/comment/{comment}"

ROUTES = (
    Route(method="GET", pattern=_API, action="repository.see", handler=list_discussions),
    Route(method="GET", pattern=_ONE, action="repository.see", handler=show),
    Route(method="POST", pattern=_API, action="discussion.write", handler=create),
    Route(method="POST", pattern=f"{_ONE}/comment", action="discussion.write", handler=comment),
    Route(method="POST", pattern=f"{_COMMENT}/edit", action="discussion.write", handler=edit),
    Route(method="POST", pattern=f"{_COMMENT}/hide", action="discussion.write", handler=hide),
    Route(method="POST", pattern=f"{_ONE}/title", action="discussion.write", handler=change_title),
    Route(method="POST", pattern=f"{_ONE}/status", action="discussion.write", handler=change_status),
    Route(method="POST", pattern=f"{_ONE}/answer", action="discussion.write", handler=accept_answer),
    Route(method="POST", pattern=f"{_ONE}/merge", action="content.write", handler=merge),
)

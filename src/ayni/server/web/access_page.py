"""Access to gated repositories: asked for on the repository's page, answered on a page of its owners.

What is to be filled in comes from the card, as on the Hugging Face Hub: `extra_gated_prompt` and
`extra_gated_fields`.

Not covered: uploads within a form, and mail about answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from starlette.responses import Response

from ayni.hub import access_requests, card_index, members, revisions
from ayni.hub.access_requests import Status
from ayni.hub.card_index import CARD_FILE
from ayni.server.descriptions import page_path
from ayni.server.errors import RefusedRequestError
from ayni.server.routing import Route
from ayni.server.web.repository_frame import frame, newest
from ayni.server.web.visit import Visit

MOST_FIELDS = 30
MOST_OPTIONS = 100
LONGEST_TEXT = 2_000
LONGEST_REASON = 1_000
MOST_SHOWN = 200
STATES: dict[Status, str] = {"pending": "Waiting", "accepted": "Accepted", "rejected": "Rejected"}
FieldKind = Literal["text", "checkbox", "date", "select"]
_KINDS: dict[str, FieldKind] = {
    "text": "text",
    "checkbox": "checkbox",
    "date_picker": "date",
    "country": "text",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateField:
    """One thing that the owners want to know. `key` is its name in the form, `name` is theirs."""

    key: str
    name: str
    kind: FieldKind
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a gated repository asks of who wants in."""

    prompt: str
    fields: tuple[GateField, ...]
    button: str


def gate_of(card: Mapping[str, Any]) -> Gate:
    """The form that a card describes; what cannot be understood is left out."""
    given = card.get("extra_gated_fields")
    named = list(given.items())[:MOST_FIELDS] if isinstance(given, dict) else []
    found = (_field(f"field-{number}", str(name), kind) for number, (name, kind) in enumerate(named))
    return Gate(
        prompt=_line(card.get("extra_gated_prompt"), 5_000),
        fields=tuple(each for each in found if each is not None),
        button=_line(card.get("extra_gated_button_content"), 60) or "Ask for access",
    )


def ask(visit: Visit) -> Response:
    """`POST /{repo}/access`."""
    repository, gate = visit.repository, gate_of(_card(visit))
    with visit.hub.database.transaction() as connection:
        user = members.get(connection, visit.call.author, "user")
        request = access_requests.ask(
            connection,
            repository,
            user.id,
            fields=_filled_in(visit, gate),
            revision=revisions.head(connection, repository.id),
            now=visit.hub.now(),
        )
        visit.call.note(
            connection, "access.ask", repository, status=request.status, revision=request.revision
        )
    return visit.go(f"{page_path(repository.kind, repository.name)}#access")


def withdraw(visit: Visit) -> Response:
    """`POST /{repo}/access/withdraw`."""
    repository = visit.repository
    with visit.hub.database.transaction() as connection:
        user = members.get(connection, visit.call.author, "user")
        access_requests.withdraw(connection, repository, user.id)
        visit.call.note(connection, "access.withdraw", repository)
    return visit.go(f"{page_path(repository.kind, repository.name)}#access")


def show_requests(visit: Visit) -> Response:
    """`GET /{repo}/access`."""
    with visit.hub.database.reading() as connection:
        found = {
            state: access_requests.of_repository(connection, visit.repository.id, state, limit=MOST_SHOWN)
            for state in STATES
        }
    return visit.show("access.html.j2", **frame(visit, "access"), requests=found, states=STATES)


def answer(visit: Visit) -> Response:
    """`POST /{repo}/access/answer`."""
    repository, status = visit.repository, visit.field_text("status")
    known = next((each for each in STATES if each == status), None)
    number = visit.field_text("number")
    if known is None or not (number.isascii() and number.isdecimal() and len(number) < 10):
        raise RefusedRequestError(400, "The form does not say which request it answers, or how.")
    reason = visit.field_text("reason", longest=LONGEST_REASON) or None
    with visit.hub.database.transaction() as connection:
        found = access_requests.find(connection, repository, number=int(number))
        answered = access_requests.answer(
            connection,
            found,
            known,
            by=visit.call.author,
            now=visit.hub.now(),
            reason=reason if known == "rejected" else None,
        )
        visit.call.note(connection, "access.answer", repository, user=found.user, status=answered.status)
    return visit.go(f"{page_path(repository.kind, repository.name)}/access")


def _filled_in(visit: Visit, gate: Gate) -> dict[str, Any]:
    """What was filled in, by the names that the owners gave; a box that is not ticked is not sent."""
    return {
        field.name: field.key in visit.fields
        if field.kind == "checkbox"
        else visit.field_text(field.key, longest=LONGEST_TEXT)
        for field in gate.fields
    }


def _card(visit: Visit) -> dict[str, Any]:
    with visit.hub.database.reading() as connection:
        here = newest(connection, visit)
        entry = None if here is None else revisions.find_entry(connection, here.commit.tree, CARD_FILE)
    return card_index.read_card(visit.hub.content, entry)


def _field(key: str, name: str, kind: Any) -> GateField | None:
    name = _line(name, 300)
    if isinstance(kind, dict):
        if kind.get("type") == "select" and isinstance(kind.get("options"), list):
            values = [each.get("value") if isinstance(each, dict) else each for each in kind["options"]]
            options = tuple(line for each in values[:MOST_OPTIONS] if (line := _line(each, 200)))
            return GateField(key=key, name=name, kind="select", options=options)
        kind = kind.get("type")
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    return None if known is None or not name else GateField(key=key, name=name, kind=known)


def _line(value: Any, longest: int) -> str:
    return " ".join(str(value).split())[:longest] if isinstance(value, str | int | float) else ""


_PAGE = "/{prefix}{page}/access"

ROUTES = (
    Route(method="POST", pattern=_PAGE, action="access.request", handler=ask),
    Route(method="POST", pattern=f"{_PAGE}/withdraw", action="access.request", handler=withdraw),
    Route(method="GET", pattern=_PAGE, action="access.answer", handler=show_requests),
    Route(method="POST", pattern=f"{_PAGE}/answer", action="access.answer", handler=answer),
)

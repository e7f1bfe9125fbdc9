"""One request as a handler sees it: who asks, for what, of which repository.

Not covered: how the route was found (`routing`) and how errors become replies (`errors`).
"""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import pydantic
import sqlalchemy as sa
from starlette.requests import Request

from ayni.hub import audit, catalogue
from ayni.hub.callers import ANONYMOUS, BadTokenError, Caller
from ayni.hub.permissions import Action, allowed
from ayni.hub.repository import API_NAMES, Kind, Moved, Repository, RepositoryGoneError
from ayni.hub.revisions import PULL_REQUESTS
from ayni.server.errors import RefusedRequestError, not_found, refused
from ayni.server.served_hub import ServedHub


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it holds a NUL character")
    return text


Text = Annotated[str, pydantic.AfterValidator(_without_nul)]
"""Text of a body that goes into a commit or a query."""

Body = TypeVar("Body", bound=pydantic.BaseModel)

_TRUE = ("1", "true", "True")
_LINK_ENDED = (
    "This link is not good any more: the token that it was asked for with was revoked, or may not do this "
    "now. Start the transfer again."
)


@dataclass(slots=True, kw_only=True)
class Call:
    """One request.

    Attributes:
        hub: what answers.
        request: as it came.
        parts: of its path, decoded.
        caller: who asks.
        found: the repository of the path.
        moved_from: the name that was asked for, if it is an old one.
        asked_name: the name that was asked for last.
        payload: the body, where it is read whole.
    """

    hub: ServedHub
    request: Request
    parts: Mapping[str, str]
    caller: Caller = ANONYMOUS
    found: Repository | None = None
    moved_from: str | None = None
    asked_name: str | None = None
    payload: bytes = field(default=b"", repr=False)

    @property
    def repository(self) -> Repository:
        """The repository of the path."""
        assert self.found is not None, "only routes with a repository in their path ask for it"
        return self.found

    @property
    def kind(self) -> Kind:
        """What the path is about; models where it does not say."""
        return API_NAMES[self.parts.get("kind") or self.parts.get("prefix") or "models"]

    @property
    def author(self) -> str:
        """Whom to name in a commit."""
        return self.caller.user or "anonymous"

    def is_by(self, author: str) -> bool:
        """Whether the caller is the member of this name."""
        return self.caller.user is not None and self.caller.user.lower() == author.lower()

    @property
    def proposes(self) -> bool:
        """Whether the request makes a pull request, or goes to one."""
        revision = self.parts.get("rev", "")
        return self.flag("create_pr") or revision.startswith(PULL_REQUESTS)

    def flag(self, name: str) -> bool:
        """A yes or no of the query."""
        return self.request.query_params.get(name) in _TRUE

    def body(self, model: type[Body]) -> Body:
        """The JSON body as a value.

        Raises:
            RefusedRequestError: it is none, with what is wrong (400).
        """
        try:
            return model.model_validate_json(self.payload or b"{}")
        except pydantic.ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the body"
            raise RefusedRequestError(400, f"{place}: {first['msg']}.") from error

    def form(self) -> dict[str, list[str]]:
        """The fields of a form.

        Raises:
            RefusedRequestError: it is no form (400).
        """
        try:
            return urllib.parse.parse_qs(self.payload.decode(), keep_blank_values=True, errors="strict")
        except (UnicodeDecodeError, ValueError) as error:
            raise RefusedRequestError(400, f"The body is no form: {error}.") from error

    def require(
        self, action: Action, repository: Repository | None = None, *, namespace: str | None = None
    ) -> None:
        """Refuse what the caller may not do.

        Raises:
            RefusedRequestError: with the status that the clients expect.
        """
        decision = allowed(self.caller, action, repository, namespace=namespace)
        if decision != "yes":
            # As it was asked for: a hidden repository tells neither its new name nor how it is spelled.
            name = "" if repository is None else self.asked_name or repository.name
            raise refused(decision, self.caller, name)

    def admit_link(self, action: Action, repository_id: int, credential: str | None) -> Caller:
        """Who was given a signed link, if they may still do what it is for. Reads the database.

        Raises:
            RefusedRequestError: the token was revoked, the role is gone, or the repository is (403).
        """
        try:
            caller = ANONYMOUS if credential is None else self.hub.callers.caller_again(credential)
            with self.hub.database.reading() as connection:
                repository = catalogue.by_id(connection, repository_id)
                is_there = not catalogue.is_deleted(connection, repository_id)
        except BadTokenError as error:
            raise RefusedRequestError(403, _LINK_ENDED) from error
        if not is_there or allowed(caller, action, repository) != "yes":
            raise RefusedRequestError(403, _LINK_ENDED)
        self.caller = caller
        return caller

    def find(self, connection: sa.Connection, kind: Kind, name: str) -> Repository:
        """A repository by any name that it had; whether the caller may see it is asked elsewhere.

        Notes the name, and whether it is an old one.

        Raises:
            RefusedRequestError: there is none.
        """
        try:
            found = catalogue.find(connection, kind, name)
        except RepositoryGoneError as error:
            raise not_found(self.caller, name) from error
        if found is None:
            raise not_found(self.caller, name)
        self.asked_name = name
        if isinstance(found, Moved):
            self.moved_from = name
            return found.repository
        return found

    def note(self, connection: sa.Connection, action: str, repository: Repository, **detail: Any) -> None:
        """Write a line of the audit log about a repository, in the transaction of the change."""
        subject = f"{repository.kind}:{repository.name}"
        audit.note(connection, self.caller, action, subject, now=self.hub.now(), **detail)

    def url(self, path: str, **query: Any) -> str:
        """An absolute link of this hub to a path that is percent-encoded already."""
        asked = urllib.parse.urlencode({key: value for key, value in query.items() if value is not None})
        return f"{self.hub.base_url}{path}{'?' + asked if asked else ''}"

    def own_url(self, query: list[tuple[str, str]]) -> str:
        """An absolute link to the address of this request with another query."""
        raw_path = self.request.scope.get("raw_path") or self.request.url.path.encode()
        return f"{self.hub.base_url}{raw_path.decode('latin-1')}?{urllib.parse.urlencode(query)}"

"""Who asks, by the header Authorization; and for routes of FastAPI, whether they may.

A route of `/api/v1` names what it is for in `Depends(Admitted(...))`; a test walks all routes and asks each
in every role, so that none can be left without.

Not covered: cookies. A browser that sends none cannot be made to act for somebody by another site.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request

from ayni.hub import catalogue
from ayni.hub.callers import ANONYMOUS, BadTokenError, Caller
from ayni.hub.names import RepositoryNameError, check_repository_name
from ayni.hub.permissions import Action, allowed
from ayni.hub.repository import API_NAMES, Moved, Repository, RepositoryGoneError
from ayni.server.errors import not_found, refused
from ayni.server.served_hub import ServedHub


def caller_of(hub: ServedHub, request: Request) -> Caller:
    """Who sent a request.

    Raises:
        BadTokenError: with a token that is not good (any more), or with another scheme.
    """
    header = request.headers.get("authorization", "")
    if not header:
        return ANONYMOUS
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "basic":
        token = _password(token)
    elif scheme.lower() != "bearer":
        raise BadTokenError
    if not token.strip():
        raise BadTokenError
    return hub.callers.caller_of(token.strip())


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """A request that may go on: who asks, and the repository in its path."""

    hub: ServedHub
    caller: Caller
    found: Repository | None = None

    @property
    def repository(self) -> Repository:
        """The repository of the path."""
        assert self.found is not None, "only routes with a repository in their path ask for it"
        return self.found

    @property
    def user(self) -> str:
        """The name of who asks; only after an action that nobody does without a name."""
        assert self.caller.user is not None, "anonymous callers are not admitted"
        return self.caller.user


class Admitted:
    """A dependency of FastAPI: admits a request, or refuses it in the words that clients know.

    Args:
        action: what the caller must be allowed to do.
        subject: what it is about: nothing, the `namespace` of the path, or its repository (`kind`, `owner`,
            `name`).
    """

    def __init__(self, action: Action, subject: Literal["none", "namespace", "repository"] = "none") -> None:
        self.action = action
        self.subject = subject

    def __call__(self, request: Request) -> Admission:
        """The admission of a request.

        Raises:
            RefusedRequestError: the caller may not do this.
            BadTokenError: the token is not good.
        """
        hub: ServedHub = request.app.state.hub
        caller = caller_of(hub, request)
        found = _repository(hub, caller, request) if self.subject == "repository" else None
        namespace = request.path_params["namespace"] if self.subject == "namespace" else None
        decision = allowed(caller, self.action, found, namespace=namespace)
        if decision != "yes":
            # As it was asked for: a hidden repository tells neither its new name nor how it is spelled.
            raise refused(decision, caller, "" if found is None else _asked_name(request))
        return Admission(hub=hub, caller=caller, found=found)


def _password(credentials: str) -> str:
    """Git and git-lfs send a name and a password; the password is the token."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError) as error:
        raise BadTokenError from error


def _asked_name(request: Request) -> str:
    return f"{request.path_params['owner']}/{request.path_params['name']}"


def _repository(hub: ServedHub, caller: Caller, request: Request) -> Repository:
    name = _asked_name(request)
    kind = API_NAMES.get(request.path_params["kind"])
    try:
        check_repository_name(name)
    except RepositoryNameError as error:
        raise not_found(caller, name) from error
    if kind is None:
        raise not_found(caller, name)
    with hub.database.reading() as connection:
        try:
            found = catalogue.find(connection, kind, name)
        except RepositoryGoneError as error:
            raise not_found(caller, name) from error
    if found is None:
        raise not_found(caller, name)
    return found.repository if isinstance(found, Moved) else found

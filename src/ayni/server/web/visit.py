"""One request for a page: who looks, what was filled in, and how to answer.

Not covered: how the route was found and the visitor admitted (`pages`).
"""

import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.responses import HTMLResponse, RedirectResponse, Response

from ayni.hub.callers import Caller
from ayni.hub.permissions import Action, allowed
from ayni.hub.repository import Repository
from ayni.server.call import Call
from ayni.server.errors import RefusedRequestError
from ayni.server.served_hub import ServedHub
from ayni.server.web.card_text import RenderedTexts
from ayni.server.web.rendering import render


@dataclass(slots=True, kw_only=True)
class Visit:
    """A request as a page's handler sees it.

    Attributes:
        call: the request, with its repository and caller.
        texts: rendered cards.
        proof: for every form of the page.
        fields: of the form that was sent.
        new_token: of who just logged in, set by the handler; empty for who logs out.
    """

    call: Call
    texts: RenderedTexts
    proof: str = field(default="", repr=False)
    fields: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    new_token: str | None = field(default=None, repr=False)

    @property
    def hub(self) -> ServedHub:
        """What answers."""
        return self.call.hub

    @property
    def caller(self) -> Caller:
        """Who looks."""
        return self.call.caller

    @property
    def repository(self) -> Repository:
        """The repository of the path."""
        return self.call.repository

    @property
    def path(self) -> str:
        """The path as it was sent, percent-encoded."""
        raw: bytes = self.call.request.scope.get("raw_path") or self.call.request.url.path.encode()
        return raw.decode("latin-1")

    def part(self, name: str, default: str = "") -> str:
        """A part of the path."""
        return self.call.parts.get(name, default)

    def query(self, name: str) -> str:
        """A parameter of the query; empty without it."""
        return self.call.request.query_params.get(name, "")

    def field_text(self, name: str, *, longest: int = 1_000) -> str:
        """One line or text of the form, without blanks around it.

        Raises:
            RefusedRequestError: it is too long, or holds a NUL (400).
        """
        text = self.fields.get(name, [""])[-1].strip().replace("\r\n", "\n")
        if len(text) > longest:
            raise RefusedRequestError(400, f"{name} has {len(text)} characters; {longest} are taken.")
        if "\0" in text:
            raise RefusedRequestError(400, f"{name} holds a NUL character.")
        return text

    def may(
        self, action: Action, repository: Repository | None = None, *, namespace: str | None = None
    ) -> bool:
        """Whether the visitor may do this; pages show no form for what is refused."""
        return allowed(self.caller, action, repository, namespace=namespace) == "yes"

    def show(self, template: str, *, status: int = 200, **values: object) -> Response:
        """A page."""
        text = render(
            template,
            hub_url=self.hub.base_url,
            user=self.caller.user,
            proof=self.proof,
            address=self.path,
            **values,
        )
        return HTMLResponse(text, status)

    def go(self, path: str) -> Response:
        """What answers a form: look there now, by GET."""
        return RedirectResponse(path, 303)


def with_query(path: str, **query: str | None) -> str:
    """A path with a query of what is not empty."""
    said = urllib.parse.urlencode({name: value for name, value in query.items() if value})
    return f"{path}?{said}" if said else path

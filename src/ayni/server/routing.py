"""Routes as data, found by the bytes of the path as they were sent.

Revisions and folders come percent-encoded (`refs%2Fpr%2F1`, `sub%20dir%2Fx`), and a decoded path no longer
tells their slashes from those between the parts. So patterns are matched before anything is decoded.

    {kind}      models, datasets or spaces
    {prefix}    nothing, datasets/ or spaces/
    {repo}      namespace/name
    {page}      the same (its part is called `repo`), and {member} a namespace, in the addresses of pages
    {x}         one part, decoded
    {x...}      the rest of the path, decoded

Not covered: what stands after the question mark.
"""

import re
import unicodedata
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ayni.hub.permissions import Action

Subject = Literal["none", "path", "body", "ticket"]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)(\.\.\.)?\}")
_OWN = "(?:api|cas|lfs|oauth|static|settings)(?:/|$)"
_SPECIAL = {
    "kind": "(?P<kind>models|datasets|spaces)",
    "prefix": "(?:(?P<prefix>datasets|spaces)/)?",
    # Not greedy at its end, so that `.git` may follow.
    "repo": "(?P<repo>[^/]+/[^/]+?)",
    # A repository with a page, and a member: not what is the hub's own.
    "page": f"(?P<repo>(?!{_OWN})[^/]+/[^/]+)",
    "member": f"(?P<member>(?!{_OWN})[^/]+)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table of routes.

    Attributes:
        method: of HTTP.
        pattern: of the path; see the module.
        action: what the caller must be allowed to do.
        handler: answers a `Call`; a plain function runs in a thread, an async one in the event loop.
        subject: what the action is about: the repository in the path, one that the body names (the handler
            asks then), none, or what a signed ticket in the path says (no other credential is looked at).
        proposed_action: asked for instead of `action` where the request makes a pull request or goes to one.
        body: whether the whole body is read before the handler is called, or the handler streams it.
    """

    method: str
    pattern: str
    action: Action
    handler: Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]
    subject: Subject = "path"
    proposed_action: Action | None = None
    body: Literal["whole", "stream"] = "whole"
    expression: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Frozen: the expression is made once from the pattern.
        object.__setattr__(self, "expression", _compile(self.pattern))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A route and the decoded parts of a path."""

    route: Route
    parts: Mapping[str, str]


class Router:
    """Finds the first route of a table that fits."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes = tuple(routes)
        self._by_method: dict[str, list[Route]] = {}
        for route in self.routes:
            self._by_method.setdefault(route.method, []).append(route)

    def match(self, method: str, raw_path: bytes) -> Match | None:
        """The route for a request; None without one, or when the path is no text."""
        path = raw_path.decode("latin-1")
        for route in self._by_method.get(method, ()):
            if (found := route.expression.fullmatch(path)) is not None:
                parts = _decode(found.groupdict())
                return None if parts is None else Match(route=route, parts=parts)
        return None

    def methods(self, raw_path: bytes) -> list[str]:
        """The methods that some route knows for a path."""
        path = raw_path.decode("latin-1")
        found = ((each.method, each.expression.fullmatch(path)) for each in self.routes)
        return sorted(
            {method for method, fit in found if fit is not None and _decode(fit.groupdict()) is not None}
        )


def _compile(pattern: str) -> re.Pattern[str]:
    expression, end = "", 0
    for found in _PLACEHOLDER.finditer(pattern):
        expression += re.escape(pattern[end : found.start()])
        name, rest = found.groups()
        expression += _SPECIAL.get(name) or f"(?P<{name}>{'.+' if rest else '[^/]+'})"
        end = found.end()
    return re.compile(expression + re.escape(pattern[end:]))


def _decode(parts: Mapping[str, str | None]) -> dict[str, str] | None:
    try:
        decoded = {
            name: urllib.parse.unquote_to_bytes(part.encode("latin-1")).decode()
            for name, part in parts.items()
            if part is not None
        }
    except UnicodeDecodeError:
        return None
    # No name of ours holds one, and PostgreSQL takes no NUL.
    if any(unicodedata.category(character) == "Cc" for part in decoded.values() for character in part):
        return None
    return decoded

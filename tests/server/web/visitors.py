"""A browser without a screen: it keeps cookies, logs in, sends forms, and reads what a page is made of."""

import html.parser
import re
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

from tests.server.hub_app import Client

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class Visitor:
    """Somebody who looks at pages; `token` logs in."""

    def __init__(self, client: Client, token: str | None = None) -> None:
        self.client = client
        self.cookies: dict[str, str] = {}
        self.get("/login")
        if token is not None:
            reply = self.post("/login", token=token, next="/")
            assert reply.status_code == 303, reply.text

    def get(self, path: str, **headers: str) -> Any:
        return self._keep(self.client.send("GET", path, token=None, headers=self._headers(headers)))

    def post(self, path: str, *, proof: str | None = None, **fields: str) -> Any:
        """A form as it stands; `proof` in place of the right one."""
        right = self.client.app.pages.sessions.proof(self._visitor())
        body = urllib.parse.urlencode({"proof": right if proof is None else proof, **fields})
        headers = self._headers(FORM)
        return self._keep(self.client.send("POST", path, token=None, content=body, headers=headers))

    def page(self, path: str) -> str:
        reply = self.get(path)
        assert reply.status_code == 200, (path, reply.status_code, reply.text)
        text: str = reply.text
        return text

    def _visitor(self) -> str:
        return self.cookies.get("ayni_session") or self.cookies.get("ayni_visitor", "")

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return {**({"Cookie": cookies} if cookies else {}), **more}

    def _keep(self, reply: Any) -> Any:
        # The client underneath is everybody's; only this visitor keeps cookies.
        self.client._client.cookies.clear()
        for line in reply.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if "Max-Age=0" in line:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value.strip('"')
        return reply


@dataclass
class Element:
    """A tag with its attributes, and the text inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""
    parents: tuple[str, ...] = ()


@dataclass
class Outline:
    """The elements of a page in their order."""

    elements: list[Element] = field(default_factory=list)

    def all(self, *tags: str) -> list[Element]:
        return [each for each in self.elements if each.tag in tags]


class _Reader(html.parser.HTMLParser):
    EMPTY = frozenset(["meta", "link", "input", "img", "br", "hr", "wbr"])

    def __init__(self) -> None:
        super().__init__()
        self.outline = Outline()
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = Element(
            tag, {name: value or "" for name, value in attrs}, parents=tuple(each.tag for each in self.open)
        )
        self.outline.elements.append(found)
        if tag not in self.EMPTY:
            self.open.append(found)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for each in self.open:
            each.text += data


def outline(page: str) -> Outline:
    """What a page is made of; every tag must be closed where it should be."""
    reader = _Reader()
    reader.feed(page)
    assert not reader.open, f"never closed: {[each.tag for each in reader.open]}"
    return reader.outline


def rows(page: str) -> list[str]:
    """The rows of the tables of a page, without their heads; cells are apart by a blank."""
    found: list[list[str]] = []
    for each in outline(page).elements:
        if each.tag == "tr" and "thead" not in each.parents:
            found.append([])
        elif each.tag in ("th", "td") and "thead" not in each.parents:
            found[-1].append(" ".join(each.text.split()))
    return [" ".join(cell for cell in row if cell) for row in found]


def words(page: str) -> str:
    """The text of a page on one line, as a person reads it."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page))).replace(
        "\N{NO-BREAK SPACE}", " "
    )

"""Every page, asked for in every role about a public, a private and a gated repository.

The routes come from the application; what each must answer is written down here and nowhere derived from the
code, as for the API (`tests/server/test_access_matrix.py`).
"""

from typing import Any

import pytest
from tests.server.lab import CALLERS, SECRET
from tests.server.web.conftest import Place
from tests.server.web.visitors import Visitor

# y shown or done, n not allowed (403), l to the login, h not there (404), g to the form for access.
# Columns as CALLERS: anonymous, outsider, reader, contributor, writer, admin; an admin of the hub, the
# admin's token with the scope read, and the admin's token for another repository.
Cells = dict[str, str]
SEE: Cells = {"public": "yyyyyyyyy", "private": "hhyyyyyyh", "gated": "yyyyyyyyy"}
READ: Cells = {"public": "yyyyyyyyy", "private": "hhyyyyyyh", "gated": "ggyyyyyyg"}
SAY: Cells = {"public": "lyyyyyynn", "private": "hhyyyyynh", "gated": "lyyyyyynn"}
WRITE: Cells = {"public": "lnnnyyynn", "private": "hhnnyyynh", "gated": "lnnnyyynn"}
ADMIN: Cells = {"public": "lnnnnyynn", "private": "hhnnnyynh", "gated": "lnnnnyynn"}
ANYBODY: Cells = {"none": "yyyyyyyyy"}
MEMBER: Cells = {"none": "lyyyyyyyy"}
OWNER: Cells = {"none": "lyyyyyynn"}

_PAGE = "/{prefix}{page}"
_ONE = f"{_PAGE}/discussions/{{number}}"
TABLE: dict[tuple[str, str], Cells] = {
    ("GET", "/static/{name}"): ANYBODY,
    ("GET", "/"): ANYBODY,
    ("GET", "/models"): ANYBODY,
    ("GET", "/datasets"): ANYBODY,
    ("GET", "/spaces"): ANYBODY,
    ("GET", "/leaderboard"): ANYBODY,
    ("GET", "/leaderboard/{namespace}/{name}"): ANYBODY,
    ("GET", "/login"): ANYBODY,
    ("POST", "/login"): ANYBODY,
    ("POST", "/logout"): ANYBODY,
    ("GET", "/settings/tokens"): MEMBER,
    ("POST", "/settings/tokens"): OWNER,
    ("POST", "/settings/tokens/revoke"): OWNER,
    ("GET", _PAGE): SEE,
    ("GET", f"{_PAGE}/tree/{{rev}}"): SEE,
    ("GET", f"{_PAGE}/tree/{{rev}}/{{path...}}"): SEE,
    ("GET", f"{_PAGE}/blob/{{rev}}/{{path...}}"): READ,
    ("GET", f"{_PAGE}/raw/{{rev}}/{{path...}}"): READ,
    ("GET", f"{_PAGE}/commits/{{rev}}"): SEE,
    ("GET", f"{_PAGE}/commit/{{rev}}"): SEE,
    ("GET", f"{_PAGE}/lineage"): SEE,
    ("GET", f"{_PAGE}/receipts"): READ,
    ("POST", f"{_PAGE}/access"): SAY,
    ("POST", f"{_PAGE}/access/withdraw"): SAY,
    ("GET", f"{_PAGE}/access"): WRITE,
    ("POST", f"{_PAGE}/access/answer"): WRITE,
    ("GET", f"{_PAGE}/discussions"): SEE,
    ("POST", f"{_PAGE}/discussions"): SAY,
    ("GET", f"{_PAGE}/discussions/new"): SAY,
    ("GET", _ONE): SEE,
    ("POST", f"{_ONE}/comment"): SAY,
    ("POST", f"{_ONE}/hide"): SAY,
    ("POST", f"{_ONE}/answer"): SAY,
    ("POST", f"{_ONE}/merge"): WRITE,
    ("POST", f"{_PAGE}/like"): SAY,
    ("GET", f"{_PAGE}/settings"): ADMIN,
    ("POST", f"{_PAGE}/settings"): ADMIN,
    ("POST", f"{_PAGE}/settings/move"): ADMIN,
    ("POST", f"{_PAGE}/settings/delete"): ADMIN,
    ("GET", "/{member}"): ANYBODY,
}
PARTS = {
    "prefix": "",
    "rev": "main",
    "path...": "secret.txt",
    "name": "site.css",
    "number": "999",
    "member": "lab",
    "namespace": "lab",
}


@pytest.fixture(scope="module")
def visitors(shared_place: Place) -> dict[str, Visitor]:
    return {who: shared_place.visitor(who) for who in CALLERS}


def address(pattern: str, variant: str) -> str:
    for part, value in {**PARTS, "page": f"lab/{variant}"}.items():
        pattern = pattern.replace(f"{{{part}}}", value)
    assert "{" not in pattern
    return pattern


def ask(visitor: Visitor, method: str, path: str) -> Any:
    return visitor.get(path) if method == "GET" else visitor.post(path, status="accepted", number="999")


def letter_of(reply: Any) -> str:
    place = reply.headers.get("location", "")
    if reply.status_code == 303 and place.startswith("/login"):
        return "l"
    if reply.status_code == 303 and place.endswith("#access"):
        return "g"
    if reply.status_code == 404 and "or you may not see it" in reply.text:
        return "h"
    if reply.status_code == 403:
        return "n"
    assert reply.status_code < 500, reply.text
    return "y"


def test_every_page_of_the_application_is_in_the_table(shared_place: Place) -> None:
    routes = {(route.method, route.pattern) for route in shared_place.client.app.pages.routes}

    assert routes == set(TABLE)


@pytest.mark.parametrize(("method", "pattern"), TABLE)
def test_a_page_answers_each_role_as_written_down(
    shared_place: Place, visitors: dict[str, Visitor], method: str, pattern: str
) -> None:
    wrong = []
    for variant, letters in TABLE[method, pattern].items():
        assert len(letters) == len(CALLERS)
        for who, letter in zip(CALLERS, letters, strict=True):
            # Logging out would change who the next one is.
            visitor = shared_place.visitor(who) if pattern == "/logout" else visitors[who]
            reply = ask(visitor, method, address(pattern, variant))
            found = letter_of(reply)
            # Asking for access ends at the form as well; a member without a role is not sent there for it.
            found = (
                "y"
                if found == "g" and letter == "y" and pattern.endswith(("/access", "/withdraw"))
                else found
            )
            tells = SECRET in reply.content or SECRET[::-1] in reply.content
            if found != letter or (tells and letter != "y"):
                wrong.append(f"{who} {variant}: {letter} but {found} ({reply.status_code})")
    assert not wrong, f"{method} {pattern}\n" + "\n".join(wrong)


@pytest.mark.parametrize(("method", "pattern"), [key for key, cells in TABLE.items() if "private" in cells])
@pytest.mark.parametrize("who", ["anonymous", "outsider", "elsewhere"])
def test_a_hidden_repository_looks_like_one_that_is_not_there(
    visitors: dict[str, Visitor], method: str, pattern: str, who: str
) -> None:
    hidden = ask(visitors[who], method, address(pattern, "private"))
    absent = ask(visitors[who], method, address(pattern, "nothing"))

    assert hidden.status_code == absent.status_code == 404
    assert hidden.text.replace("lab/private", "it") == absent.text.replace("lab/nothing", "it")


def test_lists_and_owners_pages_show_private_repositories_to_their_readers_alone(
    visitors: dict[str, Visitor],
) -> None:
    shown = {
        (who, path): "lab/private" in visitors[who].page(path)
        for who in CALLERS
        for path in ("/", "/models", "/lab")
    }

    strangers = ("anonymous", "outsider", "elsewhere")
    assert shown == {(who, path): who not in strangers for who, path in shown}


def test_the_page_of_a_gated_repository_holds_nothing_of_its_files_for_strangers(
    shared_place: Place, visitors: dict[str, Visitor]
) -> None:
    shared_place.commit(
        "lab/gated", {"README.md": b"---\nlicense: mit\n---\n# Only for those who were let in\n"}
    )

    seen = {who: "Only for those" in visitors[who].page("/lab/gated") for who in CALLERS}

    assert seen == {who: who not in ("anonymous", "outsider", "elsewhere") for who in CALLERS}

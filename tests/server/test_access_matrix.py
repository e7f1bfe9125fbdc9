"""Every route, asked in every role about a public, a private and a gated repository.

The routes come from the application. What each must answer is written down here and nowhere derived from the
code: a route that is not in the table fails the test, and so does one that admits somebody else.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.server.hub_app import Client
from tests.server.lab import CALLERS, SECRET, STRANGERS, VARIANTS, Lab, open_lab

# y admitted, n forbidden (403), a who are you (401), h hidden (as if there were none), g gated.
# Columns: anonymous, outsider (admin of another organisation), reader, contributor, writer, admin; then an
# admin of the hub, the admin's token with the scope read, and the admin's token for another repository.
Cells = dict[str, str]
SEE: Cells = {"public": "yyyyyyyyy", "private": "hhyyyyyyh", "gated": "yyyyyyyyy"}
READ: Cells = {"public": "yyyyyyyyy", "private": "hhyyyyyyh", "gated": "ggyyyyyyg"}
OWN: Cells = {"public": "ayyyyyyyy", "private": "hhyyyyyyh", "gated": "ayyyyyyyy"}
JOIN: Cells = {"public": "ayyyyyynn", "private": "hhyyyyynh", "gated": "ayyyyyynn"}
PROPOSE: Cells = {"public": "ayyyyyynn", "private": "hhnyyyynh", "gated": "agyyyyynn"}
WRITE: Cells = {"public": "annnyyynn", "private": "hhnnyyynh", "gated": "annnyyynn"}
ADMINISTER: Cells = {"public": "annnnyynn", "private": "hhnnnyynh", "gated": "annnnyynn"}
# Reading first, then writing: a gated repository says that it is gated before anything else.
READ_AND_PROPOSE: Cells = {"public": "ayyyyyynn", "private": "hhnyyyynh", "gated": "ggyyyyyng"}
READ_AND_MAKE: Cells = {"public": "annnyyynn", "private": "hhnnyyynh", "gated": "ggnnyyyng"}
# Of somebody else's discussion: for those who moderate.
MODERATE: Cells = {"public": "annnyyynn", "private": "hhnnyyynh", "gated": "annnyyynn"}
NOT_MINE: Cells = {"public": "annnnynnn", "private": "hhnnnynnh", "gated": "annnnynnn"}
ADD: Cells = {"public": "annnyyynn", "private": "hhnnyyynh", "gated": "agnnyyynn"}
ANYBODY: Cells = {"none": "yyyyyyyyy"}
MEMBER: Cells = {"none": "ayyyyyyyy"}
OWNER: Cells = {"none": "ayyyyyynn"}
MAKE: Cells = {"none": "annnyyynn"}
NAMESPACE: Cells = {"none": "annnnyynn"}
HUB: Cells = {"none": "annnnnynn"}
# A signed link is the permission; whoever has none gets nothing, whatever the role.
LINK: Cells = {"none": "nnnnnnnnn"}
# The chunk store takes tokens of its own and no other; what those open is in test_access_chunks.py.
CHUNKS: Cells = {"none": "aaaaaaaaa"}

# For nobody: what this hub does not have, and names without a namespace.
# A page that looks at the token that is typed there, and at no other.
STRANGE: Cells = {"none": "aaaaaaaaa"}
MISSING: Cells = {"none": "mmmmmmmmm"}
NOWHERE: Cells = {"none": "hhhhhhhhh"}

_API = "/api/{kind}/{repo}"
_LFS = "/{prefix}{repo}.git/info/lfs"
_FILE = "/{prefix}{repo}/resolve/{rev}/{path...}"
_ORG = "/api/v1/organisations/{namespace}/members/{user}"
_ROLES = "/api/v1/repositories/{kind}/{owner}/{name}/roles"

TABLE: dict[tuple[str, str], Cells] = {
    ("GET", "/api/whoami-v2"): MEMBER,
    ("GET", "/api/users/{name}/overview"): MEMBER,
    ("GET", "/api/organizations/{name}/overview"): MEMBER,
    ("GET", "/api/organizations/{name}/members"): MEMBER,
    ("POST", "/api/validate-yaml"): ANYBODY,
    ("POST", "/api/repos/create"): MAKE,
    ("DELETE", "/api/repos/delete"): ADMINISTER,
    ("POST", "/api/repos/move"): ADMINISTER,
    ("PUT", f"{_API}/settings"): ADMINISTER,
    ("POST", f"{_API}/duplicate"): READ_AND_MAKE,
    ("GET", f"{_API}/auth-check"): READ,
    ("GET", f"{_API}/auth-check/write"): WRITE,
    ("GET", "/api/{kind}"): ANYBODY,
    ("GET", _API): SEE,
    ("GET", f"{_API}/revision/{{rev}}"): SEE,
    ("GET", f"{_API}/tree/{{rev}}"): SEE,
    ("GET", f"{_API}/tree/{{rev}}/{{path...}}"): SEE,
    ("POST", f"{_API}/paths-info/{{rev}}"): SEE,
    ("GET", f"{_API}/refs"): SEE,
    ("GET", f"{_API}/commits/{{rev}}"): SEE,
    ("POST", f"{_API}/branch/{{name}}"): WRITE,
    ("DELETE", f"{_API}/branch/{{name}}"): WRITE,
    ("POST", f"{_API}/tag/{{rev}}"): WRITE,
    ("DELETE", f"{_API}/tag/{{name}}"): WRITE,
    ("POST", f"{_API}/super-squash/{{name}}"): ADMINISTER,
    ("POST", f"{_API}/preupload/{{rev}}"): WRITE,
    ("POST", f"{_API}/commit/{{rev}}"): WRITE,
    ("POST", f"{_LFS}/objects/batch"): READ,
    ("POST", f"{_LFS}/verify"): PROPOSE,
    ("PUT", "/lfs/{ticket}"): LINK,
    ("POST", "/lfs/{ticket}"): LINK,
    ("GET", "/lfs/{ticket}"): LINK,
    ("GET", "/{prefix}{repo}.git/info/refs"): READ,
    ("POST", "/{prefix}{repo}.git/git-upload-pack"): READ,
    ("GET", "/{prefix}{repo}/info/refs"): READ,
    ("POST", "/{prefix}{repo}/git-upload-pack"): READ,
    ("GET", _FILE): READ,
    ("HEAD", _FILE): READ,
    ("GET", f"{_API}/user-access-request/pending"): WRITE,
    ("GET", f"{_API}/user-access-request/accepted"): WRITE,
    ("GET", f"{_API}/user-access-request/rejected"): WRITE,
    ("POST", f"{_API}/user-access-request/handle"): WRITE,
    ("POST", f"{_API}/user-access-request/grant"): WRITE,
    ("POST", f"{_API}/user-access-request"): JOIN,
    ("GET", f"{_API}/user-access-request"): OWN,
    ("DELETE", f"{_API}/user-access-request"): JOIN,
    ("GET", f"{_API}/lfs-files"): SEE,
    ("POST", f"{_API}/lfs-files/batch"): ADMINISTER,
    ("GET", f"{_API}/lineage"): SEE,
    ("GET", f"{_API}/content-scan/{{rev}}"): SEE,
    ("GET", f"{_API}/ml-bom/{{rev}}"): SEE,
    ("GET", f"{_API}/signature/{{rev}}"): SEE,
    ("GET", f"{_API}/xet-read-token/{{rev}}"): READ,
    ("GET", f"{_API}/xet-write-token/{{rev}}"): WRITE,
    ("GET", "/cas/v1/chunks/{prefix_of_hash}/{hash}"): CHUNKS,
    ("POST", "/cas/v1/xorbs/{prefix_of_hash}/{hash}"): CHUNKS,
    ("POST", "/cas/v1/shards"): CHUNKS,
    ("POST", "/cas/v2/shards"): CHUNKS,
    ("GET", "/cas/v1/reconstructions/{hash}"): CHUNKS,
    ("GET", "/cas/v2/reconstructions/{hash}"): CHUNKS,
    ("GET", "/cas/links/{ticket}"): LINK,
    ("POST", f"{_API}/lfs-files/duplicate"): READ_AND_PROPOSE,
    ("POST", "/oauth/device"): ANYBODY,
    ("POST", "/oauth/token"): ANYBODY,
    ("GET", "/device"): ANYBODY,
    ("POST", "/device"): STRANGE,
    ("GET", "/api/settings/repositories"): MEMBER,
    ("GET", "/api/organizations/{name}/settings/repositories"): MEMBER,
    ("GET", "/api/{kind}-tags-by-type"): ANYBODY,
    ("GET", "/api/{kind}/{name}"): NOWHERE,
    ("GET", "/{prefix}{name}/resolve/{rev}/{path...}"): NOWHERE,
    ("HEAD", "/{prefix}{name}/resolve/{rev}/{path...}"): NOWHERE,
    ("GET", "/api/collections"): MISSING,
    ("POST", "/api/collections"): MISSING,
    ("GET", "/api/collections/{rest...}"): MISSING,
    ("GET", "/api/settings/webhooks"): MISSING,
    ("POST", "/api/settings/webhooks"): MISSING,
    ("GET", "/api/spaces/{repo}/runtime"): MISSING,
    ("POST", "/api/spaces/{repo}/secrets"): MISSING,
    ("POST", "/api/spaces/{repo}/variables"): MISSING,
    ("POST", "/api/spaces/{repo}/hardware"): MISSING,
    ("POST", "/api/spaces/{repo}/pause"): MISSING,
    ("POST", "/api/spaces/{repo}/restart"): MISSING,
    ("GET", "/api/buckets/{rest...}"): MISSING,
    ("POST", "/api/buckets/{rest...}"): MISSING,
    ("GET", "/api/jobs/{rest...}"): MISSING,
    ("POST", "/api/jobs/{rest...}"): MISSING,
    ("GET", "/api/papers/{rest...}"): MISSING,
    ("GET", "/api/daily_papers"): MISSING,
    ("GET", f"{_API}/discussions"): SEE,
    ("GET", f"{_API}/discussions/{{number}}"): SEE,
    ("POST", f"{_API}/discussions"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/comment"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/comment/{{comment}}/edit"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/comment/{{comment}}/hide"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/title"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/status"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/answer"): JOIN,
    ("POST", f"{_API}/discussions/{{number}}/merge"): WRITE,
    ("POST", f"{_API}/like"): JOIN,
    ("DELETE", f"{_API}/like"): JOIN,
    ("GET", f"{_API}/likers"): SEE,
    ("GET", "/api/users/{name}/likes"): MEMBER,
    ("GET", "/api/v1/health"): ANYBODY,
    ("GET", "/api/v1/openapi.json"): ANYBODY,
    ("GET", "/api/v1/users"): HUB,
    ("POST", "/api/v1/users"): HUB,
    ("DELETE", "/api/v1/users/{name}"): HUB,
    ("PUT", "/api/v1/users/{name}/admin"): HUB,
    ("POST", "/api/v1/users/{name}/tokens"): HUB,
    ("DELETE", "/api/v1/users/{name}/tokens"): HUB,
    ("GET", "/api/v1/tokens"): MEMBER,
    ("POST", "/api/v1/tokens"): OWNER,
    ("DELETE", "/api/v1/tokens/{number}"): OWNER,
    ("GET", "/api/v1/organisations"): MEMBER,
    ("POST", "/api/v1/organisations"): HUB,
    ("DELETE", "/api/v1/organisations/{name}"): HUB,
    ("PUT", _ORG): NAMESPACE,
    ("DELETE", _ORG): NAMESPACE,
    ("GET", _ROLES): ADMINISTER,
    ("PUT", f"{_ROLES}/{{user}}"): ADMINISTER,
    ("DELETE", f"{_ROLES}/{{user}}"): ADMINISTER,
    ("GET", "/api/v1/quotas/{namespace}"): NAMESPACE,
    ("PUT", "/api/v1/quotas/{namespace}"): HUB,
    ("DELETE", "/api/v1/quotas/{namespace}"): HUB,
    ("PUT", "/api/v1/default-quota"): HUB,
    ("GET", "/api/v1/audit-log"): HUB,
    ("GET", f"{_API}/leaderboard"): SEE,
    ("GET", "/api/v1/leaderboards"): ANYBODY,
    ("GET", "/api/v1/leaderboards/{namespace}/{name}"): ANYBODY,
    ("PUT", "/api/v1/leaderboards/{namespace}/{name}"): MAKE,
    ("DELETE", "/api/v1/leaderboards/{namespace}/{name}"): MAKE,
    ("GET", "/api/v1/run-keys"): MEMBER,
    ("POST", "/api/v1/run-keys"): OWNER,
    ("DELETE", "/api/v1/run-keys/{fingerprint}"): OWNER,
    ("GET", "/api/v1/commit-log"): MEMBER,
    ("GET", "/api/v1/commit-log/head"): MEMBER,
    ("GET", "/api/v1/users/{name}/tokens"): HUB,
    ("DELETE", "/api/v1/users/{name}/tokens/{number}"): HUB,
    ("GET", "/api/v1/organisations/{namespace}/members"): NAMESPACE,
    ("GET", "/api/v1/repositories/{kind}/{owner}/{name}/history"): READ,
    ("GET", "/api/v1/policies/{namespace}"): NAMESPACE,
    ("PUT", "/api/v1/policies/{namespace}"): NAMESPACE,
}

# The same routes where the request says more than the path. The key is only a name.
MORE: dict[str, tuple[str, str, Cells]] = {
    "upload to a pull request": ("POST", f"{_API}/preupload/refs%2Fpr%2F1", PROPOSE),
    "upload for a new pull request": ("POST", f"{_API}/preupload/main?create_pr=1", PROPOSE),
    "commit to somebody else's pull request": ("POST", f"{_API}/commit/refs%2Fpr%2F1", ADD),
    "what a pull request changes": ("GET", f"{_API}/discussions/1?diff=1", READ),
    "a discussion beside a gate": ("GET", f"{_API}/discussions/2?diff=1", SEE),
    "a pull request is opened": ("POST", f"{_API}/discussions#pull", PROPOSE),
    "title of somebody else's": ("POST", f"{_API}/discussions/2/title", MODERATE),
    "status of somebody else's": ("POST", f"{_API}/discussions/2/status", MODERATE),
    "answer to somebody else's question": ("POST", f"{_API}/discussions/2/answer", MODERATE),
    "somebody else's comment hidden": ("POST", f"{_API}/discussions/2/comment/{{first}}/hide", MODERATE),
    "somebody else's comment edited": ("POST", f"{_API}/discussions/2/comment/{{first}}/edit", NOT_MINE),
    "commit as a new pull request": ("POST", f"{_API}/commit/main?create_pr=1", PROPOSE),
    "upload of a large file": ("POST", f"{_LFS}/objects/batch#upload", READ_AND_PROPOSE),
    "large file of a data set's address": ("POST", "/{repo}.git/info/lfs/objects/batch", READ),
    "chunks for a pull request": ("GET", f"{_API}/xet-write-token/refs%2Fpr%2F1", PROPOSE),
    "chunks for a new pull request": ("GET", f"{_API}/xet-write-token/main?create_pr=1", PROPOSE),
    "branch by its full ref": ("POST", f"{_API}/preupload/refs%2Fheads%2Fmain", WRITE),
    "another case of the name": ("GET", "/api/{kind}/LAB/{variant}", SEE),
}

PARTS = {
    "kind": "models",
    "prefix": "",
    "rev": "main",
    "path...": "secret.txt",
    "ticket": "none.none",
    "status": "pending",
    "owner": "lab",
    "namespace": "lab",
    "number": "999999",
    "comment": "0",
    "fingerprint": "0" * 64,
    "user": "nobody",
    "rest...": "rest",
    "prefix_of_hash": "default",
    "hash": "0" * 64,
}
# Who is named: somebody who is not there, so that being admitted changes nothing.
NAMES = {
    "/api/users/{name}/overview": "reader",
    "/api/users/{name}/likes": "reader",
    "/api/organizations/{name}/overview": "lab",
    "/api/organizations/{name}/members": "lab",
    "/api/organizations/{name}/settings/repositories": "lab",
}
Body = Callable[[Lab, str], dict[str, Any]]
BODIES: dict[tuple[str, str], Body] = {
    ("POST", "/api/repos/create"): lambda lab, _: {"name": lab.unused(), "organization": "lab"},
    ("DELETE", "/api/repos/delete"): lambda lab, variant: {
        "name": lab.fresh(variant),
        "organization": "lab",
    },
    ("POST", "/api/repos/move"): lambda lab, variant: {
        "fromRepo": f"lab/{lab.fresh(variant)}",
        "toRepo": f"lab/{lab.unused()}",
    },
    ("POST", f"{_API}/duplicate"): lambda lab, _: {"repository": f"lab/{lab.unused()}"},
    ("POST", f"{_API}/lfs-files/duplicate"): lambda _, variant: {
        "target": {"type": "model", "name": f"lab/{variant}"},
        "files": [],
    },
    ("POST", f"{_LFS}/objects/batch"): lambda *_: {"operation": "download", "objects": []},
    ("POST", f"{_LFS}/objects/batch#upload"): lambda *_: {"operation": "upload", "objects": []},
    ("POST", "/{repo}.git/info/lfs/objects/batch"): lambda *_: {"operation": "download", "objects": []},
    ("POST", f"{_API}/discussions"): lambda *_: {"title": "x"},
    ("POST", f"{_API}/discussions#pull"): lambda *_: {"title": "x", "pullRequest": True},
    ("POST", f"{_API}/discussions/{{number}}/comment"): lambda *_: {"comment": "x"},
    ("POST", f"{_API}/discussions/{{number}}/comment/{{comment}}/edit"): lambda *_: {"content": "x"},
    ("POST", f"{_API}/discussions/2/comment/{{first}}/edit"): lambda *_: {"content": "x"},
    ("POST", f"{_API}/discussions/{{number}}/title"): lambda *_: {"title": "x"},
    ("POST", f"{_API}/discussions/2/title"): lambda *_: {"title": "x"},
    ("POST", f"{_API}/discussions/{{number}}/status"): lambda *_: {"status": "closed"},
    ("POST", f"{_API}/discussions/2/status"): lambda *_: {"status": "closed"},
    ("POST", f"{_API}/discussions/{{number}}/answer"): lambda *_: {"comment": None},
    ("POST", f"{_API}/discussions/2/answer"): lambda *_: {"comment": None},
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Client]]:
    yield from open_lab(tmp_path_factory.mktemp("lab"))


def every_route(client: Client) -> set[tuple[str, str]]:
    """What the application answers, and nothing that we have heard of elsewhere."""
    rows = {(route.method, route.pattern) for route in client.app.routes}
    described = client.app.api.openapi()["paths"]
    return (
        rows
        | {(method.upper(), path) for path, methods in described.items() for method in methods}
        | {("GET", "/api/v1/openapi.json")}
    )


def test_every_route_of_the_application_is_in_the_table(opened: tuple[Lab, Client]) -> None:
    routes = every_route(opened[1])

    missing, gone = routes - set(TABLE), set(TABLE) - routes

    assert not missing, f"write down who may use {sorted(missing)}"
    assert not gone, f"no such routes any more: {sorted(gone)}"


def ask(opened: tuple[Lab, Client], method: str, pattern: str, caller: str, variant: str) -> Any:
    lab, client = opened
    given = BODIES.get((method, pattern), lambda *_: {})(lab, variant)
    path = pattern.partition("#")[0]
    path = path.replace("{name}", variant if path.startswith("/api/v1/rep") else NAMES.get(pattern, "nobody"))
    if "{first}" in path:
        events = client.get(f"/api/models/lab/{variant}/discussions/2", token=lab.tokens["root"])
        path = path.replace("{first}", events.json()["events"][0]["id"])
    for part, value in {**PARTS, "repo": f"lab/{variant}", "variant": variant}.items():
        path = path.replace(f"{{{part}}}", value)
    assert "{" not in path
    more = {} if method in ("GET", "HEAD") else {"json": given}
    return client.send(method, path, token=lab.tokens[caller], **more)


def answers_like(letter: str, caller: str, reply: Any) -> bool:
    status, code = reply.status_code, reply.headers.get("X-Error-Code")
    is_nobody = caller == "anonymous"
    if letter == "y":
        return status < 500 and status not in (401, 403) and code not in ("RepoNotFound", "GatedRepo")
    if letter == "g":
        return (status, code) == (401 if is_nobody else 403, "GatedRepo")
    if letter == "h":
        return (status, code) == (401 if is_nobody else 404, "RepoNotFound")
    if letter == "m":
        return (status, code) == (501, "NotImplemented")
    return (status, code) == (403, None) if letter == "n" else status == 401


def check(opened: tuple[Lab, Client], method: str, pattern: str, cells: Cells) -> None:
    wrong = []
    for variant, letters in cells.items():
        assert len(letters) == len(CALLERS)
        for caller, letter in zip(CALLERS, letters, strict=True):
            reply = ask(opened, method, pattern, caller, variant)
            tells = SECRET in reply.content or SECRET[::-1] in reply.content
            if not answers_like(letter, caller, reply) or (tells and letter != "y"):
                wrong.append(f"{caller} {variant}: {letter} but {reply.status_code} {reply.text[:150]}")
    assert not wrong, f"{method} {pattern}\n" + "\n".join(wrong)


@pytest.mark.parametrize(("method", "pattern"), TABLE)
def test_a_route_answers_each_role_as_written_down(
    opened: tuple[Lab, Client], method: str, pattern: str
) -> None:
    check(opened, method, pattern, TABLE[method, pattern])


@pytest.mark.parametrize("name", MORE)
def test_a_request_that_says_more_than_its_path_is_answered_as_written_down(
    opened: tuple[Lab, Client], name: str
) -> None:
    check(opened, *MORE[name])


# What looks at no token, and what has another repository in its body each time.
NO_TOKEN = ("/api/v1/health", "/api/v1/openapi.json", "/lfs/{ticket}")
TAKES_TOKENS = [key for key in TABLE if key[1] not in NO_TOKEN and not key[1].startswith("/cas/")]
NEW_EACH_TIME = ("/api/repos/delete", "/api/repos/move")


@pytest.mark.parametrize(("method", "pattern"), TAKES_TOKENS)
def test_a_token_that_is_not_good_gets_nowhere(opened: tuple[Lab, Client], method: str, pattern: str) -> None:
    lab, _ = opened
    for text in ("hf_wrong", "hf_" + "0" * 46):
        lab.tokens["stranger"] = text
        reply = ask(opened, method, pattern, "stranger", "public")
        assert reply.status_code == 401
        assert "Invalid credentials in Authorization header" in reply.headers["X-Error-Message"]


ABOUT_ONE = [key for key, cells in TABLE.items() if "private" in cells and key[1] not in NEW_EACH_TIME]


@pytest.mark.parametrize(("method", "pattern"), ABOUT_ONE)
@pytest.mark.parametrize("caller", [*STRANGERS, "elsewhere"])
def test_a_hidden_repository_answers_as_one_that_is_not_there(
    opened: tuple[Lab, Client], method: str, pattern: str, caller: str
) -> None:
    hidden = ask(opened, method, pattern, caller, "private")
    absent = ask(opened, method, pattern, caller, "nothing")

    def said(reply: Any, name: str) -> tuple[int, str, dict[str, str]]:
        kept = {key: value.replace(name, "it") for key, value in reply.headers.items()}
        kept.pop("content-length", None)
        return reply.status_code, reply.text.replace(name, "it"), kept

    assert said(hidden, "lab/private") == said(absent, "lab/nothing")


def test_the_variants_are_what_the_table_takes_them_for(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    for variant in VARIANTS:
        reply = client.get(f"/lab/{variant}/resolve/main/secret.txt", token=lab.tokens["reader"])
        assert reply.content == SECRET + variant.encode()

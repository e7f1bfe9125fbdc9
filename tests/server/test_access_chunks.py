"""What a token of the chunk store opens, for each role that one is given to."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.hub.xet.xet_files import Xorb, claim_of, make_xorb
from tests.server.hub_app import Client
from tests.server.lab import CALLERS, VARIANTS, Lab, open_lab

from ayni.hub import members, tokens
from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.shards import write_upload

# Columns as in test_access_matrix.py: r a token for reading, w for both, - none.
TOKENS = {"public": "rrrrwwwrr", "private": "--rrwwwr-", "gated": "--rrwwwr-"}
# Who may propose a change gets one for writing as well, where it is asked for a pull request.
PROPOSERS = {"public": "-wwwwww--", "private": "---wwww--", "gated": "--wwwww--"}


def xorb_of(variant: str) -> Xorb:
    return make_xorb([f"{variant} {number} ".encode() * 50 for number in range(3)])


def content_of(variant: str) -> bytes:
    return b"".join(f"{variant} {number} ".encode() * 50 for number in range(3))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Client]]:
    for lab, client in open_lab(tmp_path_factory.mktemp("lab")):
        for variant in VARIANTS:
            token = token_for((lab, client), "admin", variant, "write")
            assert send_xorb(client, token, variant).json() == {"was_inserted": True}
            assert send_shard(client, token, variant).json() == {"result": 1}
        yield lab, client


def token_for(
    opened: tuple[Lab, Client], caller: str, variant: str, scope: str, query: str = ""
) -> str | None:
    lab, client = opened
    path = f"/api/models/lab/{variant}/xet-{scope}-token/main{query}"
    reply = client.get(path, token=lab.tokens[caller])
    return str(reply.headers["X-Xet-Access-Token"]) if reply.status_code == 200 else None


def send_xorb(client: Client, token: str | None, variant: str) -> Any:
    xorb = xorb_of(variant)
    return client.post(f"/cas/v1/xorbs/default/{to_text(xorb.name)}", token=token, content=xorb.body)


def send_shard(client: Client, token: str | None, variant: str, version: int = 1) -> Any:
    xorb = xorb_of(variant)
    shard = write_upload([claim_of(content_of(variant), (xorb, 0, 3))], [xorb.index])
    return client.post(f"/cas/v{version}/shards", token=token, content=shard)


def file_of(variant: str) -> str:
    return to_text(claim_of(content_of(variant), (xorb_of(variant), 0, 3)).file_hash)


@pytest.mark.parametrize(("query", "table"), [("", TOKENS), ("?create_pr=1", PROPOSERS)])
def test_each_role_is_given_the_tokens_that_are_written_down(
    opened: tuple[Lab, Client], query: str, table: dict[str, str]
) -> None:
    wrong = []
    for variant, letters in table.items():
        for caller, letter in zip(CALLERS, letters, strict=True):
            reads = token_for(opened, caller, variant, "read") is not None
            writes = token_for(opened, caller, variant, "write", query) is not None
            if writes != (letter == "w") or (not query and reads != (letter != "-")):
                wrong.append((caller, variant, letter, reads, writes))
    assert not wrong


def test_a_token_for_reading_opens_the_files_of_its_repository_and_changes_nothing(
    opened: tuple[Lab, Client],
) -> None:
    _, client = opened
    for variant, letters in TOKENS.items():
        for caller, letter in zip(CALLERS, letters, strict=True):
            token = token_for(opened, caller, variant, "read")
            if letter == "-":
                continue
            for other in VARIANTS:
                reply = client.get(f"/cas/v2/reconstructions/{file_of(other)}", token=token)
                assert reply.status_code == (200 if other == variant else 404), (caller, variant, other)
            assert send_xorb(client, token, variant).status_code == 403
            for version in (1, 2):
                assert send_shard(client, token, variant, version).status_code == 403


def test_chunks_are_found_again_only_in_what_the_caller_may_read(opened: tuple[Lab, Client]) -> None:
    _, client = opened
    chunk = {variant: to_text(xorb_of(variant).index.hashes(0, 1)) for variant in VARIANTS}
    for caller, letter in zip(CALLERS, PROPOSERS["public"], strict=True):
        if letter == "-":
            continue
        token = token_for(opened, caller, "public", "write", "?create_pr=1")
        for other in VARIANTS:
            reply = client.get(f"/cas/v1/chunks/default/{chunk[other]}", token=token)
            may_read = TOKENS[other][CALLERS.index(caller)] != "-"
            assert reply.status_code == (200 if may_read else 404), (caller, other)


def test_who_may_not_read_chunks_cannot_build_a_file_on_them(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    lab.repository("public", "outsider/thief")
    asked = client.get("/api/models/outsider/thief/xet-write-token/main", token=lab.tokens["outsider"])
    token = asked.headers["X-Xet-Access-Token"]

    refused = send_shard(client, token, "private")
    assert refused.status_code == 400 and "not known here" in refused.json()["error"]

    # Who has all of its bytes may: it has nothing to gain.
    assert send_xorb(client, token, "private").status_code == 200
    assert send_shard(client, token, "private").status_code == 200
    read = client.get("/api/models/outsider/thief/xet-read-token/main", token=lab.tokens["outsider"])
    reply = client.get(
        f"/cas/v1/reconstructions/{file_of('private')}", token=read.headers["X-Xet-Access-Token"]
    )
    assert reply.status_code == 200


def test_a_link_to_chunks_gives_its_bytes_for_its_time_and_no_other(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    token = token_for(opened, "reader", "private", "read")
    answer = client.get(f"/cas/v1/reconstructions/{file_of('private')}", token=token).json()
    (entries,) = answer["fetch_info"].values()
    path = entries[0]["url"].removeprefix(client.app.hub.base_url)

    reply = client.get(path, token=None)
    assert (reply.status_code, reply.content) == (206, xorb_of("private").body)
    claims, _, signature = path.rpartition(".")
    changed = f"{claims}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    assert client.get(changed, token=None).status_code == 403
    lab.pass_time(hours=1)
    assert client.get(path, token=None).status_code == 403
    lab.pass_time(hours=-1)


def test_tokens_and_links_end_when_the_hubs_token_is_revoked(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    with lab.database.transaction() as connection:
        reader = members.get(connection, "reader")
        made, text = tokens.issue(connection, reader.id, name="brief", scope="write", now=lab.time)
    asked = client.get("/api/models/lab/private/xet-read-token/main", token=text)
    token = asked.headers["X-Xet-Access-Token"]
    path = f"/cas/v1/reconstructions/{file_of('private')}"
    (entries,) = client.get(path, token=token).json()["fetch_info"].values()
    assert client.get(entries[0]["url"], token=None).status_code == 206

    with lab.database.transaction() as connection:
        tokens.revoke(connection, reader.id, made.id, now=lab.time)

    assert client.get(path, token=token).status_code == 403
    assert client.get(entries[0]["url"], token=None).status_code == 403


def test_who_sends_chunks_that_others_stored_is_told_that_they_are_new(opened: tuple[Lab, Client]) -> None:
    lab, client = opened
    lab.repository("public", "outsider/blind")
    asked = client.get("/api/models/outsider/blind/xet-write-token/main", token=lab.tokens["outsider"])
    token = asked.headers["X-Xet-Access-Token"]
    unknown = make_xorb([b"nobody has this" * 40])

    hidden, public = send_xorb(client, token, "gated"), send_xorb(client, token, "public")
    new = client.post(f"/cas/v1/xorbs/default/{to_text(unknown.name)}", token=token, content=unknown.body)
    assert hidden.json() == new.json() == {"was_inserted": True}
    assert public.json() == {"was_inserted": False}
    assert send_shard(client, token, "gated").json() == {"result": 1}
    assert send_shard(client, token, "gated").json() == {"result": 0}


def test_a_token_for_one_repository_finds_no_chunks_that_its_owner_sent_elsewhere(
    opened: tuple[Lab, Client],
) -> None:
    lab, client = opened
    number = lab.repository("public", "lab/narrow")
    with lab.database.reading() as connection:
        admin = members.get(connection, "admin").id
    asked = client.get(
        "/api/models/lab/narrow/xet-write-token/main", token=lab.token(admin, scoped_to=[number])
    )
    token = asked.headers["X-Xet-Access-Token"]

    send_xorb(client, token_for(opened, "admin", "private", "write"), "unseen")

    chunk = to_text(xorb_of("unseen").index.hashes(0, 1))
    assert client.get(f"/cas/v1/chunks/default/{chunk}", token=token).status_code == 404
    assert send_shard(client, token, "unseen").status_code == 400

"""A quota holds for all that comes, in whatever way, from whomever, and at once."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.hub.xet.xet_files import claim_of, make_xorb
from tests.server.hub_app import Client, inline, ndjson
from tests.server.lab import Lab, open_lab

from ayni.hub import quotas
from ayni.hub.xet.hashes import to_text
from ayni.hub.xet.shards import write_upload

Opened = tuple[Lab, Client]
LIMIT = 10_000


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    for lab, client in open_lab(tmp_path):
        lab.repository("public", "writer/full")
        limit(lab, "writer", LIMIT)
        yield lab, client


def limit(lab: Lab, namespace: str, num_bytes: int) -> None:
    with lab.database.transaction() as connection:
        quotas.set_limit(connection, namespace, num_bytes)


def used(lab: Lab, namespace: str = "writer") -> int:
    with lab.database.reading() as connection:
        return quotas.used_bytes(connection, namespace)


def announce(opened: Opened, content: bytes, caller: str = "writer", name: str = "writer/full") -> Any:
    lab, client = opened
    asked = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    body = {"operation": "upload", "objects": [asked]}
    return client.post(f"/{name}.git/info/lfs/objects/batch", token=lab.tokens[caller], json=body)


def send(opened: Opened, content: bytes, **given: Any) -> Any:
    reply = announce(opened, content, **given)
    if reply.status_code != 200:
        return reply
    link = reply.json()["objects"][0]["actions"]["upload"]["href"]
    return opened[1].send("PUT", link, token=None, content=content)


def commit(opened: Opened, *lines: Any, rev: str = "main", caller: str = "writer") -> Any:
    path = f"/api/models/writer/full/commit/{rev}"
    return opened[1].post(path, token=opened[0].tokens[caller], content=ndjson("Change", *lines))


def test_what_was_announced_and_what_came_counts_before_any_commit(opened: Opened) -> None:
    assert announce(opened, b"a" * 6_000).status_code == 200
    assert used(opened[0]) == 6_000
    assert announce(opened, b"b" * 6_000).status_code == 413
    assert send(opened, b"a" * 6_000).status_code == 200
    assert used(opened[0]) == 6_000
    assert announce(opened, b"b" * 4_000).status_code == 200
    assert announce(opened, b"c").status_code == 413


def test_an_upload_that_never_came_counts_for_a_day(opened: Opened) -> None:
    announce(opened, b"a" * 9_000)
    assert announce(opened, b"b" * 9_000).status_code == 413

    opened[0].pass_time(hours=25)

    assert announce(opened, b"b" * 9_000).status_code == 200


def test_files_inside_a_commit_count(opened: Opened) -> None:
    before = used(opened[0])
    assert commit(opened, inline("a.txt", b"a" * 9_000)).status_code == 200
    assert used(opened[0]) == before + 9_000
    assert commit(opened, inline("b.txt", b"b" * 2_000)).status_code == 413
    # What is there already is not counted twice.
    assert commit(opened, inline("copy.txt", b"a" * 9_000)).status_code == 200


def test_a_commit_of_what_came_fits_to_the_last_byte(opened: Opened) -> None:
    content = b"w" * (LIMIT - 3_000)
    assert send(opened, content).status_code == 200
    value = {"path": "w.bin", "algo": "sha256", "oid": hashlib.sha256(content).hexdigest()}

    assert commit(opened, ("lfsFile", value)).status_code == 200
    assert commit(opened, ("lfsFile", {**value, "path": "again.bin"})).status_code == 200


def test_chunks_count_until_a_file_is_made_of_them_and_then_the_file(opened: Opened) -> None:
    lab, client = opened
    content = [bytes([number]) * 1_500 for number in range(4)]
    first, second = make_xorb(content, 0), make_xorb([b"x" * 5_000], 0)
    asked = client.get("/api/models/writer/full/xet-write-token/main", token=lab.tokens["writer"])
    token = asked.headers["X-Xet-Access-Token"]

    def upload(xorb: Any) -> Any:
        return client.post(f"/cas/v1/xorbs/default/{to_text(xorb.name)}", token=token, content=xorb.body)

    assert upload(first).status_code == 200
    assert used(lab) == len(first.body)
    assert upload(second).status_code == 413
    assert len(list(lab.hub.xet.xorbs.list())) == 1
    shard = write_upload([claim_of(b"".join(content), (first, 0, 4))], [first.index])
    assert client.post("/cas/v1/shards", token=token, content=shard).json() == {"result": 1}
    assert used(lab) == 6_000


def test_who_proposes_a_change_pays_until_it_is_committed(opened: Opened) -> None:
    lab, _ = opened
    limit(lab, "outsider", 5_000)

    assert send(opened, b"o" * 4_000, caller="outsider").status_code == 200
    assert (used(lab), used(lab, "outsider")) == (0, 4_000)
    assert announce(opened, b"p" * 2_000, caller="outsider").status_code == 413
    # It blocks nobody else's room.
    assert announce(opened, b"q" * 9_999).status_code == 200


def test_a_copy_and_a_move_count_for_who_gets_them(opened: Opened) -> None:
    lab, client = opened
    limit(lab, "writer", 20)

    copied = client.post(
        "/api/models/lab/public/duplicate", token=lab.tokens["writer"], json={"repository": "writer/copy"}
    )

    assert copied.status_code == 413
    assert client.get("/api/models/writer/copy", token=lab.tokens["writer"]).status_code == 404


def test_uploads_at_once_get_no_more_than_one_after_another(opened: Opened) -> None:
    contents = [bytes([number]) * 3_000 for number in range(8)]
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda c=content: statuses.append(announce(opened, c).status_code))
        for content in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(statuses) == [200] * 3 + [413] * 5
    assert used(opened[0]) == 9_000

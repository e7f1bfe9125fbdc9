"""The requests on the page about access are answered, one after the other."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

import anyio.from_thread
from tests.server.hub_app import Client, make_hub

from ayni.hub import catalogue, members, tokens
from ayni.hub.database_callers import DatabaseCallers
from ayni.hub.permissions import STANDINGS
from ayni.server.app import make_app
from ayni.server.served_hub import ServedHub

PAGE = Path(__file__).parents[2] / "docs" / "hub-access.md"
REQUEST = re.compile(r"^(GET|PUT|POST|DELETE) +(/\S+) *(\{.*\})?$", re.MULTILINE)


def hub_with_an_admin(folder: Path) -> tuple[ServedHub, str]:
    hub = make_hub(folder)
    now = hub.now()
    with hub.database.transaction() as connection:
        root = members.add(connection, "root", kind="user", now=now, is_admin=True)
        for name in ("ben", "eve"):
            members.add(connection, name, kind="user", now=now)
        catalogue.create(connection, "model", "lab/digits", visibility="private", when=now)
        _, token = tokens.issue(connection, root.id, name="first", scope="write", now=now)
    callers = DatabaseCallers(hub.database, hub.now)
    return make_hub(folder, database=hub.database, callers=callers), token


def test_the_requests_of_the_page_are_answered(tmp_path: Path) -> None:
    hub, token = hub_with_an_admin(tmp_path)
    requests = REQUEST.findall(PAGE.read_text())
    assert len(requests) == 8

    with anyio.from_thread.start_blocking_portal() as portal:
        client = Client(make_app(hub), portal)
        for method, path, body in requests:
            # The repository of the example is there before its organisation.
            more = {"takes_over": True} if path.endswith("/organisations") else {}
            sent = {"json": {**json.loads(body), **more}} if body else {}
            reply = client.send(method, path, token=token, **sent)
            assert reply.status_code in (200, 201, 204), f"{method} {path}: {reply.text}"
    hub.database.close()


def test_the_page_has_a_column_for_every_standing() -> None:
    header = next(line for line in PAGE.read_text().splitlines() if line.startswith("| what |"))

    columns = [each.strip() for each in header.strip("|").split("|")][1:]

    assert columns[2:] == list(STANDINGS[2:])
    assert len(columns) == len(STANDINGS)

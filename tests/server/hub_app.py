"""A hub that answers: in process through ASGI, and on loopback through uvicorn for real clients."""

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from ayni.database import Database
from ayni.hub.callers import Caller, GivenCallers
from ayni.hub.fsck import Checker
from ayni.hub.tickets import Tickets
from ayni.hub.xet.store import XetStore
from ayni.objects import ObjectStore
from ayni.server.app import HubApp, make_app
from ayni.server.served_hub import ServedHub
from ayni.signing import load_or_create_key

CALLERS = {
    "hf_ada": Caller(user="ada", token="laptop"),
    "hf_adaread": Caller(user="ada", token="reader", scope="read"),
    "hf_ben": Caller(user="ben", token="laptop"),
    "hf_root": Caller(user="root", token="first", is_admin=True),
}
BASE_URL = "http://127.0.0.1:8000"
SECRET = b"0123456789abcdef" * 2
UPLOADS_LAST = timedelta(hours=1)


def make_hub(folder: Path, *, base_url: str = BASE_URL, **given: Any) -> ServedHub:
    """A hub in a folder, with Ada, Ben and Root."""
    database, xorbs = Database(folder / "state.db"), ObjectStore(str(folder / "xorbs"))
    xet = XetStore.over(database, xorbs, secret=SECRET, offers_reads=given.pop("offers_xet_reads", False))
    parts: dict[str, Any] = {
        "database": database,
        "content": xet.contents(ObjectStore(str(folder / "objects"))),
        "xet": xet,
        "callers": GivenCallers(CALLERS),
        "tickets": Tickets(SECRET),
        "base_url": base_url,
        "log_key": load_or_create_key(folder / "hub-key.pem"),
    }
    return ServedHub(**{**parts, **given})


def assert_whole(hub: ServedHub) -> None:
    """Prove it as `ayni hub fsck --hashes` does, by reading every byte."""
    assert hub.xet is not None
    xorbs: Any = hub.xet.xorbs
    objects: Any = hub.content._objects  # type: ignore[attr-defined]
    checker = Checker(
        database=hub.database,
        objects=objects,
        content=hub.content,
        xorbs=xorbs,
        xorb_content=xorbs,
        now=hub.now(),
    )
    found = checker.check(with_hashes=True)
    assert found.is_sound, found.problems


class Client:
    """Sends requests to an application in this process, each as one of the callers."""

    def __init__(self, app: HubApp, portal: Any) -> None:
        self.app = app
        self._portal = portal
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url=app.hub.base_url)

    def send(self, method: str, path: str, *, token: str | None = "hf_ada", **given: Any) -> Any:
        """One request; the path is sent as it stands."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= given.pop("headers", {})

        async def ask() -> Any:
            return await self._client.request(method, path, headers=headers, **given)

        return self._portal.call(ask)

    def get(self, path: str, **given: Any) -> Any:
        return self.send("GET", path, **given)

    def post(self, path: str, **given: Any) -> Any:
        return self.send("POST", path, **given)


@pytest.fixture
def served_hub(tmp_path: Path) -> Iterator[ServedHub]:
    hub = make_hub(tmp_path / "hub")
    yield hub
    hub.database.close()


@pytest.fixture
def client(served_hub: ServedHub) -> Iterator[Client]:
    import anyio.from_thread

    with anyio.from_thread.start_blocking_portal() as portal:
        yield Client(make_app(served_hub), portal)


@contextlib.contextmanager
def running(folder: Path, **given: Any) -> Iterator[ServedHub]:
    """A hub behind a real server on loopback; its `base_url` is its address."""
    uvicorn = pytest.importorskip("uvicorn")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        hub = make_hub(folder, base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", **given)
        config = uvicorn.Config(make_app(hub), log_level="warning", lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        give_up_at = time.monotonic() + 20
        while not server.started and time.monotonic() < give_up_at:
            time.sleep(0.02)
        try:
            yield hub
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            hub.database.close()


@pytest.fixture
def running_hub(tmp_path: Path) -> Iterator[ServedHub]:
    with running(tmp_path / "hub") as hub:
        yield hub


def ndjson(summary: str, *lines: tuple[str, dict[str, Any]], **header: Any) -> bytes:
    """The body of a commit."""
    rows = [("header", {"summary": summary, "description": "", **header}), *lines]
    return b"\n".join(json.dumps({"key": key, "value": value}).encode() for key, value in rows)


def inline(path: str, content: bytes) -> tuple[str, dict[str, Any]]:
    """A line with a small file."""
    value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
    return "file", value


def large(path: str, content: bytes) -> tuple[str, dict[str, Any]]:
    """A line with a file whose bytes were sent before."""
    oid = hashlib.sha256(content).hexdigest()
    return "lfsFile", {"path": path, "algo": "sha256", "oid": oid, "size": len(content)}


def make_repository(client: Client, name: str = "x", **given: Any) -> str:
    """Make one of Ada's; return its full name."""
    token = given.pop("token", "hf_ada")
    reply = client.post("/api/repos/create", json={"name": name, **given}, token=token)
    assert reply.status_code == 200, reply.text
    full_name: str = reply.json()["name"]
    return full_name


def commit(client: Client, repository: str, *lines: tuple[str, dict[str, Any]], **given: Any) -> Any:
    """Commit to main as Ada; return the reply."""
    revision = given.pop("revision", "main")
    token = given.pop("token", "hf_ada")
    body = ndjson("Change", *lines, **given)
    return client.post(f"/api/models/{repository}/commit/{revision}", content=body, token=token)


def upload(client: Client, repository: str, content: bytes, **given: Any) -> Any:
    """Send the bytes of a large file as one; return the reply of the transfer, or of the batch."""
    asked = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content)}
    body = {"operation": "upload", "transfers": ["basic"], "objects": [asked]}
    reply = client.post(f"/{repository}.git/info/lfs/objects/batch", json=body, **given)
    actions = reply.json()["objects"][0].get("actions") if reply.status_code == 200 else None
    if actions is None:
        return reply
    return client.send("PUT", actions["upload"]["href"], content=content, token=None)

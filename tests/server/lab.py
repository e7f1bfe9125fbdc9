"""A hub with an organisation, a member in each role, and repositories that are public, private and gated."""

import base64
import hashlib
import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio.from_thread
from tests.server.hub_app import Client, make_hub

from ayni.database import Database
from ayni.hub import catalogue, members, quotas, tokens
from ayni.hub.callers import Role, Scope
from ayni.hub.database_callers import DatabaseCallers
from ayni.hub.repository import Gated, Visibility
from ayni.server.app import make_app

SECRET = b"what only readers may know"
VARIANTS: dict[str, tuple[Visibility, Gated]] = {
    "public": ("public", "no"),
    "private": ("private", "no"),
    "gated": ("public", "manual"),
}
ROLES: dict[str, Role] = {
    "reader": "read",
    "contributor": "contributor",
    "writer": "write",
    "admin": "admin",
}
STRANGERS = ("anonymous", "outsider")
# Callers by what they are to the organisation `lab`. The last three: an admin of the hub, the admin's token
# with the scope read, and the admin's token for another repository.
CALLERS = (*STRANGERS, *ROLES, "root", "limited", "elsewhere")


class Lab:
    """The hub, and what its members send with."""

    def __init__(self, folder: Path, **given: Any) -> None:
        self.time = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
        self.database = Database(folder / "state.db")
        self.tokens: dict[str, str | None] = {"anonymous": None}
        self._numbers = itertools.count(1)
        self._people()
        self.hub = make_hub(
            folder,
            database=self.database,
            callers=DatabaseCallers(self.database, self.now),
            check_upload=quotas.check_upload,
            now=self.now,
            **given,
        )

    def now(self) -> datetime:
        return self.time

    def _people(self) -> None:
        with self.database.transaction() as connection:
            root = members.add(connection, "root", kind="user", now=self.time, is_admin=True)
            people = {
                name: members.add(connection, name, kind="user", now=self.time)
                for name in (*ROLES, "outsider")
            }
            lab = members.add(connection, "lab", kind="organisation", now=self.time, full_name="The Lab")
            other = members.add(connection, "other", kind="organisation", now=self.time)
            for name, role in ROLES.items():
                members.set_role(connection, lab, people[name], role)
            members.set_role(connection, other, people["outsider"], "admin")
        for name in (*ROLES, "outsider"):
            self.tokens[name] = self.token(people[name].id)
        self.tokens["root"] = self.token(root.id)
        self.tokens["limited"] = self.token(people["admin"].id, scope="read")
        far = self.repository("public", "other/far")
        self.tokens["elsewhere"] = self.token(people["admin"].id, scoped_to=[far])

    def token(self, user_id: int, scope: Scope = "write", **given: Any) -> str:
        with self.database.transaction() as connection:
            name = f"token {next(self._numbers)}"
            _, text = tokens.issue(connection, user_id, name=name, scope=scope, now=self.time, **given)
        return text

    def repository(self, variant: str, name: str) -> int:
        """A new repository without commits; its number."""
        visibility, gated = VARIANTS[variant]
        with self.database.transaction() as connection:
            made = catalogue.create(
                connection, "model", name, visibility=visibility, gated=gated, when=self.time
            )
        return made.id

    def fresh(self, variant: str) -> str:
        """The name, without `lab/`, of a new repository."""
        name = f"fresh-{next(self._numbers)}"
        self.repository(variant, f"lab/{name}")
        return name

    def unused(self) -> str:
        """A name that nothing has yet."""
        return f"unused-{next(self._numbers)}"

    def fill(self, client: Client) -> None:
        """The three repositories, each with a large file and a small one."""
        for variant in VARIANTS:
            self.repository(variant, f"lab/{variant}")
            upload(client, self.tokens["admin"], f"lab/{variant}", SECRET + variant.encode())
            self._discuss(client, f"lab/{variant}")

    def _discuss(self, client: Client, name: str) -> None:
        """Pull request 1 changes the secret, discussion 2 has a comment; both are the admin's."""
        token = self.tokens["admin"]
        changed = base64.b64encode(b"new\n" + SECRET).decode()
        lines = [
            {"key": "header", "value": {"summary": "Change", "description": ""}},
            {"key": "file", "value": {"path": "secret.txt", "content": changed}},
        ]
        opened = commit(client, token, name, lines, "main?create_pr=1")
        assert opened.json()["pullRequestUrl"].endswith("/discussions/1"), opened.text
        begun = {"title": "Why?", "description": "I wonder."}
        assert client.post(f"/api/models/{name}/discussions", token=token, json=begun).json()["num"] == 2

    def pass_time(self, **given: float) -> None:
        self.time += timedelta(**given)


def upload(client: Client, token: str | None, name: str, content: bytes) -> None:
    """Commit `secret.txt` as it is, and the same upside down as a large file."""
    large = content[::-1]
    sha256 = hashlib.sha256(large).hexdigest()
    asked = {"operation": "upload", "objects": [{"oid": sha256, "size": len(large)}]}
    batch = client.post(f"/{name}.git/info/lfs/objects/batch", token=token, json=asked)
    link = batch.json()["objects"][0]["actions"]["upload"]["href"]
    path = link.removeprefix(client.app.hub.base_url)
    assert client.send("PUT", path, token=None, content=large).status_code == 200
    small = {"path": "secret.txt", "content": base64.b64encode(content).decode(), "encoding": "base64"}
    lines = [
        {"key": "header", "value": {"summary": "Add files", "description": ""}},
        {"key": "file", "value": small},
        lfs_line(sha256, len(large)),
    ]
    reply = commit(client, token, name, lines)
    assert reply.status_code == 200, reply.text


def lfs_line(sha256: str, size: int) -> dict[str, Any]:
    """A line of a commit that names a large file."""
    return {"key": "lfsFile", "value": {"path": "large.bin", "algo": "sha256", "oid": sha256, "size": size}}


def commit(
    client: Client, token: str | None, name: str, lines: list[dict[str, Any]], rev: str = "main"
) -> Any:
    """Send lines of a commit."""
    body = "\n".join(json.dumps(line) for line in lines)
    headers = {"Content-Type": "application/x-ndjson"}
    return client.post(f"/api/models/{name}/commit/{rev}", token=token, content=body, headers=headers)


def open_lab(folder: Path, **given: Any) -> Iterator[tuple[Lab, Client]]:
    """The hub and a client of it; `given` are parts of the hub in place of the usual ones."""
    lab = Lab(folder, **given)
    with anyio.from_thread.start_blocking_portal() as portal:
        client = Client(make_app(lab.hub), portal)
        lab.fill(client)
        yield lab, client
    lab.database.close()

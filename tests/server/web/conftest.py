"""A lab whose repositories have cards, and its visitors."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

if any(find_spec(name) is None for name in ("fastapi", "httpx", "markdown_it", "nh3")):
    collect_ignore_glob = ["*"]
else:
    from tests.server.hub_app import Client, inline, ndjson
    from tests.server.lab import Lab, open_lab
    from tests.server.web.visitors import Visitor

    class Place:
        """The lab, a client of its API, and its pages."""

        def __init__(self, lab: Lab, client: Client) -> None:
            self.lab = lab
            self.client = client

        def visitor(self, who: str = "anonymous") -> Visitor:
            return Visitor(self.client, self.lab.tokens[who])

        def make(self, name: str, kind: str = "model", **given: Any) -> str:
            body = {"name": name, "organization": "lab", "type": kind, **given}
            reply = self.client.post("/api/repos/create", token=self.lab.tokens["admin"], json=body)
            assert reply.status_code == 200, reply.text
            return f"lab/{name}"

        def commit(self, name: str, files: dict[str, bytes], *, kind: str = "models", **given: Any) -> Any:
            who, path = given.pop("who", "admin"), given.pop("path", "main")
            lines = [inline(each, content) for each, content in files.items()]
            reply = self.client.post(
                f"/api/{kind}/{name}/commit/{path}",
                token=self.lab.tokens[who],
                content=ndjson(given.pop("message", "Change"), *lines),
                headers={"Content-Type": "application/x-ndjson"},
            )
            assert reply.status_code == 200, reply.text
            return reply.json()

    @pytest.fixture(scope="module")
    def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        for lab, client in open_lab(tmp_path_factory.mktemp("lab")):
            yield Place(lab, client)

    @pytest.fixture
    def place(tmp_path: Any) -> Iterator[Place]:
        for lab, client in open_lab(tmp_path):
            yield Place(lab, client)

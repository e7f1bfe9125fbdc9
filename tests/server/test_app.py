"""Requests find their route, their caller and their repository, and errors are replies that clients know."""

import base64
import re
from collections.abc import AsyncIterator

from tests.server.hub_app import Client, make_repository

from ayni.server.app import LARGEST_BODY_BYTES


def test_who_asks_is_told_by_the_token(client: Client) -> None:
    reply = client.get("/api/whoami-v2")

    assert reply.status_code == 200
    assert reply.json()["name"] == "ada"
    assert reply.json()["auth"]["accessToken"] == {"displayName": "laptop", "role": "write"}


def test_a_token_that_is_not_known_is_refused_in_the_words_that_clients_look_for(client: Client) -> None:
    reply = client.get("/api/whoami-v2", token="hf_nobody")

    assert reply.status_code == 401
    assert "Invalid credentials in Authorization header" in reply.headers["X-Error-Message"]


def test_who_says_nothing_is_asked_to_log_in(client: Client) -> None:
    reply = client.get("/api/whoami-v2", token=None)

    assert reply.status_code == 401
    assert "X-Error-Code" not in reply.headers


def test_another_method_is_told_which_there_are(client: Client) -> None:
    reply = client.post("/api/whoami-v2")

    assert reply.status_code == 405
    assert reply.headers["Allow"] == "GET"


def test_an_address_that_is_none_is_404_in_json(client: Client) -> None:
    reply = client.get("/no/such/address")

    assert reply.status_code == 404
    assert "error" in reply.json()


def test_the_hub_says_that_it_is_there(client: Client) -> None:
    assert client.get("/api/v1/health", token=None).json() == {"status": "ok"}


def test_a_password_of_git_is_the_token(client: Client) -> None:
    def status(credentials: str) -> int:
        headers = {"Authorization": credentials}
        return int(client.get("/api/whoami-v2", token=None, headers=headers).status_code)

    good = base64.b64encode(b"whoever:hf_ada").decode()
    assert status(f"Basic {good}") == 200
    for credentials in (
        "Basic !",
        "Basic ",
        f"Digest {good}",
        "Bearer ",
        "Bearer",
        "hf_ada",
        "Basic aGZfYWRh",
    ):
        assert status(credentials) == 401


def test_a_nul_is_refused_wherever_it_stands(client: Client) -> None:
    make_repository(client)
    message = {"message": "a\0b"}

    assert client.post("/api/models/ada/x/super-squash/main", json=message).status_code == 400
    assert client.get("/api/models?search=a%00b").status_code == 400
    paths = client.post("/api/models/ada/x/paths-info/main", data={"paths": ["a\0b"]})
    assert paths.json() == []


def test_a_body_that_is_too_large_is_413(client: Client) -> None:
    reply = client.post("/api/repos/create", content=b"x" * (LARGEST_BODY_BYTES + 1))

    assert reply.status_code == 413


def test_every_part_of_a_path_is_in_the_description(client: Client) -> None:
    for path, operations in client.app.api.openapi()["paths"].items():
        for operation in operations.values():
            told = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
            assert told == set(re.findall(r"\{(\w+)\}", path)), path


def test_no_address_of_the_api_reads_more_than_it_takes(client: Client) -> None:
    def much() -> AsyncIterator[bytes]:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * (1 << 18)

        return pieces()

    for path in ("/api/v1/users", "/api/v1/tokens", "/api/validate-yaml"):
        reply = client.post(path, content=much(), token=None)
        assert reply.status_code in (400, 413), path

"""Devices log in by OAuth's words; the page believes a typed token and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.hub_app import Client
from tests.server.lab import Lab, open_lab

from ayni.hub.device_logins import UnknownUserCodeError

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


Opened = tuple[Lab, Client]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    yield from open_lab(tmp_path)


def test_a_device_is_let_in_on_the_page(opened: Opened) -> None:
    lab, client = opened
    asked = client.post("/oauth/device", token=None, data={"client_id": "x"}).json()
    wanted = {"grant_type": DEVICE, "device_code": asked["device_code"]}

    before = client.post("/oauth/token", token=None, data=wanted)
    typed = {"user_code": asked["user_code"], "token": lab.tokens["writer"]}
    page = client.post("/device", token=None, data=typed)
    after = client.post("/oauth/token", token=None, data=wanted)

    assert (before.status_code, before.json()["error"]) == (400, "authorization_pending")
    assert page.status_code == 200 and "form-action" in page.headers["Content-Security-Policy"]
    assert client.get("/api/whoami-v2", token=after.json()["access_token"]).json()["name"] == "writer"
    assert after.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("caller", ["limited", "elsewhere"])
def test_a_token_that_may_not_make_tokens_lets_nobody_in(opened: Opened, caller: str) -> None:
    lab, client = opened
    asked = client.post("/oauth/device", token=None, data={}).json()

    typed = {"user_code": asked["user_code"], "token": lab.tokens[caller]}

    assert client.post("/device", token=None, data=typed).status_code == 403


def test_wrong_words_are_told_as_such(opened: Opened) -> None:
    lab, client = opened
    wrong_code = {"user_code": "AAAA-AAAA", "token": lab.tokens["writer"]}

    assert client.post("/device", token=None, data=wrong_code).json()["error"] == str(UnknownUserCodeError())
    assert client.post("/device", token=None, data={"token": "hf_x"}).status_code == 401
    assert client.post("/oauth/token", token=None, data={"grant_type": "password"}).status_code == 400
    refused = client.post("/oauth/token", token=None, data={"grant_type": "refresh_token"})
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")

import dataclasses
from pathlib import Path

import pytest
from tests.server.hub_app import make_hub

from ayni.hub import audit
from ayni.hub.connection import HubRefusedError
from ayni.server.app import make_app
from ayni.server.in_process import OPERATOR, OperatorCallers, connected


def test_the_operator_may_do_everything_and_stands_in_the_audit_log(tmp_path: Path) -> None:
    hub = dataclasses.replace(make_hub(tmp_path), callers=OperatorCallers())

    with connected(make_app(hub)) as connection:
        connection.ask("POST", "/api/v1/users", json={"name": "ada"})
        made = connection.ask("POST", "/api/repos/create", json={"name": "x", "organization": "ada"})
        listed = list(connection.pages("/api/models", limit=1))

    assert made["name"] == "ada/x" and [each["id"] for each in listed] == ["ada/x"]
    with hub.database.reading() as rows:
        assert {line.actor for line in audit.lines(rows)} == {OPERATOR}
    hub.database.close()


def test_nobody_can_take_the_operators_name(tmp_path: Path) -> None:
    hub = dataclasses.replace(make_hub(tmp_path), callers=OperatorCallers())

    with connected(make_app(hub)) as connection, pytest.raises(HubRefusedError, match="addresses of the hub"):
        connection.ask("POST", "/api/v1/users", json={"name": OPERATOR})
    hub.database.close()

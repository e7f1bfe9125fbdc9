import hashlib
import os
import pickle
from typing import Any

import pytest
from tests.server.hub_app import Client, commit, inline, make_repository

CARD = b"---\nlicense: mit\nbase_model: ada/base\nbase_model_relation: quantized\ndatasets: [far/data]\n---\n"


class Calls:
    """Pickled as a call of a function."""

    def __reduce__(self) -> Any:
        return os.system, ("id",)


@pytest.fixture
def model(client: Client) -> str:
    base = make_repository(client, "base")
    assert commit(client, base, inline("README.md", b"---\nlicense: gpl-3.0\n---\n")).status_code == 200
    name = make_repository(client, "small")
    files = (inline("README.md", CARD), inline("notes.txt", b"hello"))
    assert commit(client, name, *files).status_code == 200
    return name


def test_the_lineage_of_a_model_says_that_it_is_freer_than_its_base(client: Client, model: str) -> None:
    found = client.get(f"/api/models/{model}/lineage").json()

    assert [each["name"] for each in found["nodes"]] == ["ada/small", "far/data", "ada/base"]
    assert {"child": 0, "parent": 2, "relation": "quantized"} in found["edges"]
    assert found["licence"]["isAllowed"] is False
    assert found["licence"]["allowed"] == ["agpl-3.0", "gpl-3.0"]
    assert client.get("/api/models/ada/base/lineage").json()["children"] == [
        {"name": "ada/small", "relation": "quantized"}
    ]


def test_the_lineage_tells_others_nothing_of_a_private_base(client: Client, model: str) -> None:
    client.send("PUT", "/api/models/ada/base/settings", json={"private": True})

    found = client.get(f"/api/models/{model}/lineage", token="hf_ben").json()

    assert {"kind": "model", "name": "ada/base", "isHere": False, "licences": []} in found["nodes"]


def test_the_bill_of_materials_holds_the_files_with_their_digests(client: Client, model: str) -> None:
    bill = client.get(f"/api/models/{model}/ml-bom/main").json()

    [notes] = [each for each in bill["components"] if each["name"] == "notes.txt"]
    assert notes["hashes"][0]["content"] == hashlib.sha256(b"hello").hexdigest()
    assert {"name": "ayni:content_scan", "value": "none"} in notes["properties"]
    assert bill["dependencies"][0]["dependsOn"] == ["dataset:far/data", "model:ada/base"]


def test_a_file_that_runs_commands_is_refused_and_what_was_found_is_shown(client: Client, model: str) -> None:
    refused = commit(client, model, inline("data/x.txt", pickle.dumps(Calls())))

    assert refused.status_code == 400
    assert "system when it is loaded" in refused.json()["error"]
    assert (
        client.get(f"/api/models/{model}/content-scan/main").json()["files"]["notes.txt"]["verdict"] == "none"
    )


def test_a_card_with_kilograms_is_refused(client: Client, model: str) -> None:
    card = b"---\nlicense: mit\nco2_eq_emissions: {emissions: 83.5}\n---\nCO2: 83.5 kg\n"

    refused = commit(client, model, inline("README.md", card))

    assert (refused.status_code, "Write 83500" in refused.json()["error"]) == (400, True)


def test_a_signature_says_what_it_covers(client: Client, model: str) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from ayni.hub.model_signatures import sign_model

    files = {"README.md": hashlib.sha256(CARD).hexdigest(), "gone.txt": "0" * 64}
    bundle = sign_model("small", files, ed25519.Ed25519PrivateKey.generate())
    assert client.get(f"/api/models/{model}/signature/main").status_code == 404
    assert commit(client, model, inline("model.sig", bundle)).status_code == 200

    found = client.get(f"/api/models/{model}/signature/main").json()

    assert (found["covered"], found["missing"], found["unsigned"]) == (
        ["README.md"],
        ["gone.txt"],
        ["notes.txt"],
    )
    assert found["isWhole"] is False

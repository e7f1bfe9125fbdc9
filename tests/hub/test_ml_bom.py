import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.hub.test_card import card

from ayni.hub.card import card_metadata
from ayni.hub.licences import KNOWN_LICENCES
from ayni.hub.ml_bom import BomFile, BomParent, BomSubject, cyclonedx, licences_of

SUBJECT = BomSubject(
    repository="me/digits",
    revision="a" * 40,
    committed_at=datetime(2026, 3, 4, tzinfo=UTC),
    url="https://hub.example.org",
    card=card_metadata(card()),
    files=[BomFile(path="model.safetensors", sha256="b" * 64, size_bytes=7, verdict="none")],
    parents=[
        BomParent(name="a/base", kind="model", relation="finetune", licences=("apache-2.0",)),
        BomParent(name="a/data", kind="dataset", revision="c" * 40),
    ],
    joules=7.2e6,
    grams_co2e=800.0,
)


def test_the_bill_names_the_model_its_files_and_what_it_comes_from() -> None:
    bill = cyclonedx(SUBJECT)

    model = bill["metadata"]["component"]
    assert (model["group"], model["name"], model["version"]) == ("me", "digits", "a" * 40)
    assert [each["type"] for each in bill["components"]] == ["file", "machine-learning-model", "data"]
    assert bill["components"][0]["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert bill["dependencies"][0]["dependsOn"] == ["dataset:a/data@" + "c" * 40, "model:a/base"]
    json.dumps(bill, allow_nan=False)


def test_energy_is_in_kilowatt_hours_and_carbon_in_tonnes() -> None:
    card_of_model = cyclonedx(SUBJECT)["metadata"]["component"]["modelCard"]

    [used] = card_of_model["considerations"]["environmentalConsiderations"]["energyConsumptions"]
    assert used["activityEnergyCost"] == {"value": 2.0, "unit": "kWh"}
    assert used["co2CostEquivalent"] == {"value": 0.0008, "unit": "tCO2eq"}


def test_what_is_not_known_is_left_out() -> None:
    bare = BomSubject(
        repository="me/x", revision="a" * 40, committed_at=SUBJECT.committed_at, url="https://hub.example.org"
    )

    model = cyclonedx(bare)["metadata"]["component"]

    assert model["modelCard"] == {}
    assert "licenses" not in model


def test_the_same_revision_gives_the_same_bill_and_another_one_another_number() -> None:
    other = replace(SUBJECT, revision="d" * 40)

    assert cyclonedx(SUBJECT) == cyclonedx(SUBJECT)
    assert cyclonedx(SUBJECT)["serialNumber"] != cyclonedx(other)["serialNumber"]


def test_every_reference_is_unique_and_every_dependency_is_a_component() -> None:
    bill = cyclonedx(SUBJECT)
    references = [each["bom-ref"] for each in bill["components"]]

    assert len(set(references)) == len(references)
    assert set(bill["dependencies"][0]["dependsOn"]) <= set(references)


@pytest.mark.parametrize("index", ["text", [3], [{"results": 3}], [{"results": [{"metrics": [{}]}]}]])
def test_results_that_nobody_can_read_are_left_out(index: Any) -> None:
    bill = cyclonedx(replace(SUBJECT, card={"model-index": index}))

    assert "quantitativeAnalysis" not in bill["metadata"]["component"]["modelCard"]


def test_licences_are_identifiers_of_spdx_or_names() -> None:
    assert licences_of(["Apache 2.0", "CC BY-SA 4.0", "llama3"]) == [
        {"license": {"id": "Apache-2.0"}},
        {"license": {"id": "CC-BY-SA-4.0"}},
        {"license": {"name": "llama3"}},
    ]
    assert all(licences_of([each]) for each in KNOWN_LICENCES)

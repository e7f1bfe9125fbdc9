import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.footprint.pretended_node import SITE, Node

from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.receipts.receipt import ReceiptSubject, receipt_of_step
from ayni.footprint.receipts.receipt_checks import check_receipt
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.signing import load_or_create_key

ELSEWHERE = SiteConditions(zone="FR", pue=1.7, tariff=Tariff(name="t", flat_microcredits_per_kwh=3))


@pytest.fixture
def receipt(tmp_path: Path) -> dict[str, Any]:
    node = Node(tmp_path, jitter_seconds=1e-4)
    node.start("outer", cores=2)
    node.start("r1", cores=3, holds_gpu=True, within="outer")
    node.start("neighbour", cores=4)
    node.work(100.0, {"r1": 30.0}, others=7.0, device=12_345_678)
    for job in ("r1", "outer", "neighbour"):
        node.stop(job)
    folder = node.sign("r1", load_or_create_key(tmp_path / "key.pem"))
    value: dict[str, Any] = json.loads((folder / "receipts" / "0001-train.json").read_text())
    return value


def test_an_honest_receipt_agrees_with_itself(receipt: dict[str, Any]) -> None:
    assert check_receipt(receipt) == []


NUMBERS = (
    "energy_microjoules",
    "energy_low_microjoules",
    "facility_energy_microjoules",
    "pue",
    "within.energy_microjoules",
    "carbon.grams_co2e",
    "carbon.low_grams_co2e",
    "carbon.high_grams_co2e",
    "carbon.grams_co2e_per_kwh",
    "carbon.hours.0.it_microjoules",
    "carbon.hours.0.facility_microjoules",
    "carbon.hours.0.grams_co2e_per_kwh",
    "embodied.grams_co2e",
    "embodied.devices.0.reserved_share",
    "embodied.devices.0.reserved_hours",
    "embodied.devices.1.reserved_share",
    "water.total_litres.value",
    "water.on_site_litres.high",
    "cost.electricity_microcredits",
    "cost.machine_microcredits",
    "cost.total_microcredits",
    "cost.tariff_microcredits_per_kwh",
    "node_account.node_microjoules",
    "node_account.job_microjoules",
    "node_account.neighbours_microjoules",
    "node_account.other_microjoules",
    "windows.count",
    "windows.first",
    "wall_seconds",
)


@pytest.mark.parametrize("path", NUMBERS)
def test_a_number_that_contradicts_the_rest_is_found_without_any_window(
    receipt: dict[str, Any], path: str
) -> None:
    *way, last = path.split(".")
    place: Any = receipt
    for step in way:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = place[last] * 2 + 1

    assert check_receipt(receipt)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tier", "W0.5"),
        ("tier", "W5"),
        ("carbon.zone", "FR"),
        ("carbon.worst_link", "metered hour"),
        ("within.run", "r1"),
        ("ended_at", "2020-01-01T00:00:00+00:00"),
        ("windows.ranges", [[2, 1]]),
        ("windows.ranges", [[1, 2], [2, 3]]),
        ("energy_microjoules", None),
        ("carbon.basis", "direct average location-based"),
        ("embodied.devices", []),
        ("water", None),
        ("carbon.hours", []),
    ],
)
def test_a_word_that_contradicts_the_rest_is_found(receipt: dict[str, Any], path: str, value: Any) -> None:
    *way, last = path.split(".")
    place = receipt
    for step in way:
        place = place[step]
    place[last] = value

    assert check_receipt(receipt)


@settings(max_examples=40)
@given(
    cores=st.integers(0, 4),
    seconds=st.sampled_from([0.0, 0.001, 1.0, 5000.0]),
    ask=st.sampled_from([0, 1, 10_000_000]),
    conditions=st.sampled_from([SITE, SiteConditions(), ELSEWHERE]),
)
def test_no_receipt_that_is_made_of_windows_is_accused(
    cores: int, seconds: float, ask: int, conditions: SiteConditions, tmp_path_factory: pytest.TempPathFactory
) -> None:
    node = Node(tmp_path_factory.mktemp("node"))
    node.start("r1", cores=cores)
    node.work(seconds, {"r1": seconds / 3})
    node.stop("r1")
    body = receipt_of_step(
        node.rows("r1"),
        "train",
        subject=ReceiptSubject(run="r1", job="j", member="me", site="own", node="n"),
        conditions=replace(conditions, ask_microcredits_per_core_hour=ask),
    )

    assert check_receipt(body) == []

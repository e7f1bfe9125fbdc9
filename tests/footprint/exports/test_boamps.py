import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.exports.boamps import boamps_report
from ayni.footprint.exports.options import ExportOptions, UnknownFigureError
from ayni.footprint.impacts.sci import FunctionalUnit
from ayni.footprint.receipts.receipt_terms import BY_CORES, WHOLE
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import entry_of_receipt

GOLDEN = Path(__file__).parent.parent / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)
NOW = datetime(2026, 4, 1, 9, 30, tzinfo=UTC)

# What BoAmps' schemas ask for: required keys with their types, then the optional ones. `nb` is a number.
NB = (int, float)
HEADER = ({"reportDatetime": str}, {"licensing": str, "formatVersion": str, "reportId": str})
HEADER[1].update({"formatVersionSpecificationUri": str, "reportStatus": str, "publisher": dict})
PUBLISHER = ({"confidentialityLevel": str}, {"name": str, "division": str, "projectName": str})
PUBLISHER[1].update({"publicKey": str})
TASK = ({"taskStage": str, "taskFamily": str, "algorithms": list, "dataset": list}, {"nbRequest": NB})
TASK[1].update({"measuredAccuracy": NB, "estimatedAccuracy": str, "taskDescription": str})
DATA = ({"dataUsage": str, "dataType": str}, {"dataQuantity": NB, "dataSize": NB, "source": str})
MEASURE = ({"measurementMethod": str, "powerConsumption": NB}, {"version": str, "measurementDuration": NB})
MEASURE[1].update({"measurementDateTime": str, "cpuTrackingMode": str, "gpuTrackingMode": str})
INFRASTRUCTURE = ({"infraType": str, "components": list}, {"cloudProvider": str})
COMPONENT = ({"componentType": str, "nbComponent": int}, {"componentName": str, "share": NB})
ENVIRONMENT = ({"country": str}, {"location": str, "powerSourceCarbonIntensity": NB})
REPORT = ({"task": dict, "measures": list, "infrastructure": dict}, {"header": dict, "environment": dict})
REPORT[1].update({"quality": str})


def check(value: dict[str, Any], form: tuple[dict[str, Any], dict[str, Any]]) -> None:
    required, optional = form
    assert set(required) <= set(value) <= set(required) | set(optional)
    for key, kind in {**required, **optional}.items():
        assert key not in value or isinstance(value[key], kind), key


def assert_has_the_form(report: dict[str, Any]) -> None:
    """Every key known, every required one there, types and enumerations as Boavizta's schemas say."""
    check(report, REPORT)
    check(report["header"], HEADER)
    check(report["header"]["publisher"], PUBLISHER)
    check(report["task"], TASK)
    assert report["task"]["algorithms"] and report["task"]["dataset"] and report["measures"]
    for data in report["task"]["dataset"]:
        check(data, DATA)
        assert data["dataUsage"] in ("input", "output")
        assert data["dataType"] in ("image", "token", "other")
    for measure in report["measures"]:
        check(measure, MEASURE)
        datetime.strptime(measure["measurementDateTime"], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007
    check(report["infrastructure"], INFRASTRUCTURE)
    assert report["infrastructure"]["infraType"] in ("publicCloud", "privateCloud", "onPremise", "other")
    for component in report["infrastructure"]["components"]:
        check(component, COMPONENT)
        assert 0 <= component.get("share", 1) <= 1
    if "environment" in report:
        check(report["environment"], ENVIRONMENT)
    assert report["header"]["reportStatus"] in ("draft", "final", "corrective", "other")
    assert report.get("quality", "low") in ("high", "medium", "low")
    datetime.strptime(report["header"]["reportDatetime"], "%Y-%m-%d %H:%M:%S")  # noqa: DTZ007


def test_energy_is_that_of_the_machines_in_kilowatt_hours() -> None:
    report = boamps_report([ENTRY], now=NOW)

    assert_has_the_form(report)
    (measure,) = report["measures"]
    assert measure["powerConsumption"] == pytest.approx(1.0)
    assert measure["measurementDuration"] == 7200.0
    assert measure["measurementMethod"].startswith("ayni, tier W3, step train: model of CPU time")


def test_the_place_is_a_country_with_what_its_electricity_weighs() -> None:
    report = boamps_report([ENTRY], now=NOW)

    assert report["environment"] == {
        "country": "DE",
        "location": "DE",
        "powerSourceCarbonIntensity": 400.0,
    }


@pytest.mark.parametrize("zones", [("unknown",), ("DE", "FR")])
def test_an_unknown_place_and_several_are_left_out(zones: tuple[str, ...]) -> None:
    report = boamps_report([replace(ENTRY, zone=zone) for zone in zones], now=NOW)

    assert_has_the_form(report)
    assert "environment" not in report


def test_the_reserved_share_of_a_machine_is_its_share() -> None:
    report = boamps_report([ENTRY], now=NOW)

    assert report["infrastructure"]["components"] == [
        {"componentName": "server", "componentType": "server", "nbComponent": 1, "share": 0.5}
    ]


def test_what_is_taken_as_a_whole_is_an_accelerator_and_what_is_shared_a_machine() -> None:
    gpu = {"name": "NVIDIA H100", "method": "m", "reserved_share": 1.0, "reserved_by": WHOLE}
    machine = {"name": "virtual machine", "method": "m", "reserved_share": 0.5, "reserved_by": BY_CORES}

    report = boamps_report([replace(ENTRY, devices=(machine, gpu, gpu))] * 2, now=NOW)

    assert_has_the_form(report)
    server, accelerator = report["infrastructure"]["components"]
    assert [server[key] for key in ("componentType", "nbComponent", "share")] == ["server", 1, 0.5]
    assert [accelerator[key] for key in ("componentType", "nbComponent", "share")] == ["gpu", 2, 1.0]


def test_hardware_that_no_receipt_knows_is_of_an_unknown_kind() -> None:
    report = boamps_report([replace(ENTRY, devices=())], now=NOW)

    assert_has_the_form(report)
    assert report["infrastructure"]["components"][0]["componentName"] == "unknown"


@pytest.mark.parametrize(
    ("low", "high", "quality"),
    [(0.91, 1.10, "high"), (0.8, 1.25, "medium"), (0.5, 1.5, "low"), (0.5, 2.0, None)],
)
def test_quality_is_as_good_as_the_interval(low: float, high: float, quality: str | None) -> None:
    entry = replace(ENTRY, energy=Amount(value=100.0, low=100 * low, high=100 * high))

    report = boamps_report([entry], now=NOW)

    assert_has_the_form(report)
    assert report.get("quality") == quality


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("1k images", {"dataUsage": "input", "dataType": "image", "dataQuantity": 40.0}),
        ("1k tokens", {"dataUsage": "input", "dataType": "token", "dataQuantity": 40.0}),
        ("1k requests", {"dataUsage": "input", "dataType": "other"}),
    ],
)
def test_a_functional_unit_becomes_data_or_requests(unit: str, expected: dict[str, Any]) -> None:
    options = ExportOptions(unit=FunctionalUnit(name=unit, count=40.0), stage="inference", family="chatbot")

    task = boamps_report([ENTRY], options, now=NOW)["task"]

    assert task["dataset"] == [expected]
    assert task.get("nbRequest") == (40.0 if unit == "1k requests" else None)
    assert (task["taskStage"], task["taskFamily"]) == ("inference", "chatbot")


def test_what_has_no_field_stands_in_the_description() -> None:
    text = boamps_report([ENTRY], now=NOW)["task"]["taskDescription"]

    assert "1 kWh (90 %: 0.5 to 2), tier W3; 480 g CO2e (average, location-based, life-cycle)" in text
    assert "embodied 45 g" in text


def test_the_same_receipts_make_a_report_of_the_same_name() -> None:
    first = boamps_report([ENTRY], now=NOW)["header"]["reportId"]
    later = boamps_report([ENTRY], now=datetime(2027, 1, 1, tzinfo=UTC))["header"]["reportId"]
    other = boamps_report([replace(ENTRY, hash="other")], now=NOW)["header"]["reportId"]

    assert first == later != other


def test_unknown_energy_is_refused_since_boamps_has_no_word_for_it() -> None:
    with pytest.raises(UnknownFigureError, match="the energy of explain is unknown"):
        boamps_report([ENTRY, replace(ENTRY, step="explain", energy=None)], now=NOW)

"""`ayni footprint meters` and `calibrate`, as they are typed."""

import json
from pathlib import Path

import pytest

from ayni.cli import main
from ayni.cli.footprint_node_parts import calibration_parts, watts_text
from ayni.footprint.counters.cascade import WALL_FILE_NAME
from ayni.footprint.counters.node_survey import survey_node


@pytest.fixture(autouse=True)
def narrow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def plug(tmp_path: Path) -> Path:
    path = tmp_path / "watts"
    path.write_text("55\n")
    return path


def test_the_meters_of_this_node_are_named_with_what_would_be_better(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["footprint", "meters", "--seconds", "0"]) == 0

    shown = capsys.readouterr().out
    tier = survey_node(home / "meters").counters.processor.trust.tier
    assert f"Its meter: {tier}, " in shown
    assert "  ayni footprint calibrate --wall-command 'COMMAND' --unit W\n" in shown
    assert "Draws now" not in shown
    assert max(len(line.rstrip()) for line in shown.splitlines()) <= 80
    assert not home.exists()


def test_the_power_of_now_has_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["footprint", "meters", "--seconds", "0.2", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["watts"]["low"] <= found["watts"]["value"] <= found["watts"]["high"]
    assert {rung["state"] for rung in found["rungs"]} >= {"in use"}


def test_a_wall_meter_is_set_up_and_then_in_use(
    plug: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--wall-file", str(plug), "--unit", "W", "--only-setup"]

    assert main.run_command(["footprint", "calibrate", *words]) == 0
    assert f"Wall meter: {home / 'meters' / WALL_FILE_NAME}" in capsys.readouterr().out

    assert main.run_command(["footprint", "meters", "--seconds", "0.2"]) == 0
    shown = capsys.readouterr().out
    assert "Its meter: W0, wall meter" in shown
    assert "Draws now: 55 W (52 to 58)" in shown


def test_a_meter_that_does_not_answer_ends_with_2_and_says_why(
    plug: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["footprint", "calibrate", "--wall-file", str(plug)]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert "answered '55'" in shown.err
    assert "--unit W" in shown.err


def test_a_calibration_shows_each_load_beside_the_curve() -> None:
    curve = {
        "idle_watts": 20.0,
        "full_watts": 60.0,
        "exponent": 0.6,
        "lowest_watts": 21.0,
        "highest_watts": 79.0,
    }
    point = {
        "load": 0.5,
        "watts": 50.0,
        "model_watts": 45.0,
        "frequency_share": None,
        "component_watts": 20.0,
    }
    found = {
        "model": {
            "curve": curve,
            "mean_error": 0.1,
            "points": [point],
            "highest_megahertz": None,
            "wall_line": {"base_watts": 80.0, "factor": 1.2},
        },
        "fit": [point],
        "reference": {"tier": "W0", "method": "a plug"},
        "wall_file": None,
        "model_file": "/home/me/.ayni/meters/node-model.json",
        "tier_now": "W1+",
        "method_now": "RAPL",
        "notes": ["Something"],
    }

    table, *rest = calibration_parts(found)

    cells = [next(iter(column.cells)) for column in table.columns]  # type: ignore[union-attr]
    assert cells == ["50%", "50.0 W", "45.0 W", "\N{MINUS SIGN}10 %", "20.0 W"]
    lines = [str(part) for part in rest]
    assert "Wall = 80.0 W + 1.20 x RAPL" in lines
    assert "Model: /home/me/.ayni/meters/node-model.json" in lines
    assert lines[-1] == "Note: Something"


def test_watts_have_two_digits() -> None:
    assert watts_text(34.4, 12.1, 88.0) == "34 W (12 to 88)"
    assert watts_text(0.123) == "0.12 W"

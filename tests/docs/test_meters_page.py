"""docs/meters.md has the keys that the commands print, and the numbers of the code."""

import re
from pathlib import Path

from ayni.footprint.counters.cascade import WALL_FILE_NAME
from ayni.footprint.counters.node_model import FILE_NAME, MIN_SPREAD_OF_LOAD
from ayni.wiring import footprint as footprint_wiring
from ayni.workflows.calibrate_node import CalibrateRequest, calibrate

PAGE = (Path(__file__).parent.parent.parent / "docs" / "meters.md").read_text(encoding="utf-8")


def keys_after(sentence: str) -> list[str]:
    """The first column of the table of keys that follows a sentence."""
    table = PAGE.partition(sentence)[2].partition("| key | meaning |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    return [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]


def test_the_keys_of_the_commands_are_those_on_the_page(tmp_path: Path, home: Path) -> None:
    (tmp_path / "watts").write_text("55 W")
    request = CalibrateRequest(wall_file=tmp_path / "watts", is_only_setup=True)

    calibrated = calibrate(request, tmp_path / "meters")
    survey = footprint_wiring.meters(seconds=0)

    assert sorted(keys_after("`calibrate` prints")) == sorted(calibrated)
    assert sorted(keys_after("and `meters`")) == sorted(survey)
    assert all(f"`{key}`" in PAGE for key in (*survey["rungs"][0], *survey["watts"]))


def test_the_numbers_and_names_of_the_page_are_those_of_the_code() -> None:
    assert f"more than {1 - MIN_SPREAD_OF_LOAD:.0%} busy" in PAGE.replace(" %", "%")
    assert f"`{WALL_FILE_NAME}`" in PAGE
    assert f"`{FILE_NAME}`" in PAGE

"""docs/grid-data.md says what the code does."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.footprint.grid.climatology import shipped_climatologies
from ayni.footprint.grid.generation_mix import MIX_FACTORS
from ayni.footprint.grid.intensity_chain import LINKS
from ayni.footprint.grid.intensity_series import FORECAST, PUBLISHED_FACTORS
from ayni.footprint.grid.scheduling import NO_USE_BELOW
from ayni.footprint.impacts.sci import UNIT_SIZES
from ayni.workflows.advise_start import StartRequest, advise_start
from ayni.workflows.describe_grid import describe_file

PAGE = (Path(__file__).parent.parent.parent / "docs" / "grid-data.md").read_text(encoding="utf-8")
TRUST = {"tier": "W1", "low_factor": 0.9, "high_factor": 1.1, "method": "m", "scope": "s"}


def test_the_links_of_the_chain_are_in_their_order() -> None:
    table = PAGE.partition("| link |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| ([a-z -]+) \|", table, re.MULTILINE) == [
        link for link in LINKS if link != FORECAST
    ]


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    factors = [area.low_factor for area in shipped_climatologies().values()]
    highs = [area.high_factor for area in shipped_climatologies().values()]

    assert f"{PUBLISHED_FACTORS[0]} to {PUBLISHED_FACTORS[1]}" in PAGE
    assert f"{MIX_FACTORS[0]} to {MIX_FACTORS[1]}" in PAGE
    assert f"{min(factors):.2f} to {max(highs):.2f} at most" in PAGE
    assert f"Below {NO_USE_BELOW:.0%} it says" in PAGE.replace(" %", "%")
    assert all(unit in PAGE for unit in UNIT_SIZES)


def test_the_program_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grid.csv").write_text("datetime_utc,DE-LU,FR\n2023-01-01 00:00,140.2,41.9\n")
    monkeypatch.chdir(tmp_path)
    share = {
        "cpu_seconds": 1,
        "dynamic_microjoules": 36 * 10**11,
        "idle_microjoules": 0,
        "device_microjoules": 0,
    }
    start = datetime(2023, 1, 1, tzinfo=UTC)
    meter = {
        "kind": "meter",
        "meter": 1,
        "processor": TRUST,
        "device": None,
        "reserved_cores": 1,
        "unknown": [],
    }
    window = {
        "kind": "window",
        "window": 1,
        "meter": 1,
        "step": "train",
        "attempt": 1,
        "started_at": start.isoformat(),
        "ended_at": start.replace(hour=1).isoformat(),
        "seconds": 3600.0,
        "node_microjoules": 36 * 10**11,
        "other_microjoules": 0,
        "unreserved_idle_microjoules": 0,
        "jobs": {"my-run": share},
    }
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

    names: dict[str, object] = {"windows": [meter, window]}
    exec(program, names)

    assert names["emissions"].grams_co2e.value == pytest.approx(140.2 * 1.2)  # type: ignore[attr-defined]


def keys_after(sentence: str) -> list[str]:
    """The first column of the table of keys that follows a sentence."""
    table = PAGE.partition(sentence)[2].partition("| key | meaning |")[2].partition("\n\n")[0]
    cells = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    return [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]


def test_the_keys_of_the_commands_are_those_on_the_page(tmp_path: Path) -> None:
    path = tmp_path / "grid.csv"
    rows = [f"2026-03-{1 + hour // 24:02d} {hour % 24:02d}:00,{hour}" for hour in range(24 * 31)]
    path.write_text("\n".join(["utc,DE", *rows]))
    request = StartRequest(hours=4, within="24h", files=(path,), counting="direct")

    advice = advise_start(request, now=datetime(2026, 3, 31, tzinfo=UTC))
    described = describe_file(path, counting="direct")

    assert sorted(keys_after("With `--json` the answer is one object")) == sorted(advice)
    assert sorted(keys_after("draws its mean day. With `--json`")) == sorted(described)
    assert all(f"`{key}`" in PAGE for part in (advice["replayed"], described["series"]) for key in part)

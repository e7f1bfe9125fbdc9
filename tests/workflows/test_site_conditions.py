import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflows.conftest import write_job

from ayni.footprint.grid.grid_files import GridFileError
from ayni.jobs.loading import load_job
from ayni.jobs.problems import BadJobError
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job
from ayni.workflows.site_conditions import NoLiveGridError, conditions_of_job
from ayni.workflows.verify_run import verify_run

NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def hourly(path: Path, zone: str, value: float) -> None:
    """A plain table of the hours around now."""
    hours = [NOW + timedelta(hours=index) for index in range(-2, 5)]
    lines = [f"datetime_utc,{zone}", *(f"{hour:%Y-%m-%d %H:%M},{value}" for hour in hours)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def job_of(tmp_path: Path) -> Callable[[str], Any]:
    def make(site: str) -> Any:
        path = write_job(tmp_path / "job")
        text = path.read_text(encoding="utf-8")
        start = text.index("site:")
        path.write_text(f"{text[:start]}site: {site}\n{text[text.index('explain:') :]}", encoding="utf-8")
        hourly(tmp_path / "job" / "grid.csv", "DE-LU", 123.0)
        hourly(tmp_path / "job" / "prices.csv", "DE-LU", -40.0)
        return load_job(path)

    return make


HOURLY = (
    "{zone: DE, pue: 1.2, wue_litres_per_kwh: 1.8, ask_credits_per_core_hour: 1, "
    "grid: {files: [grid.csv], zone: DE-LU, counting: life-cycle}, "
    "tariff: {file: prices.csv, zone: DE-LU, credits_per_unit: 2}, hardware: {kilograms_co2e: 3504}}"
)


def test_receipts_weigh_and_price_energy_by_the_files_of_the_site_and_verify_without_them(
    job_of: Callable[[str], Any], house: House, tmp_path: Path
) -> None:
    # Given a job with hourly carbon and negative prices, whose files are gone once the run is planned
    run = house.runs.create(job_of(HOURLY))
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)
    for name in ("grid.csv", "prices.csv"):
        (tmp_path / "job" / name).unlink()

    receipt = json.loads((run.folder / "receipts" / "0002-train.json").read_text())

    assert receipt["carbon"]["worst_link"] == "metered hour"
    assert receipt["carbon"]["grams_co2e_per_kwh"] == pytest.approx(123)
    assert {price["microcredits_per_kwh"] for price in receipt["cost"]["prices"]} == {-80_000}
    assert receipt["cost"]["electricity_microcredits"] <= 0
    assert receipt["water"]["total_litres"]["value"] > 0
    reserved_hours = receipt["embodied"]["devices"][0]["reserved_hours"]
    share = receipt["embodied"]["devices"][0]["reserved_share"]
    assert receipt["embodied"]["grams_co2e"] == pytest.approx(100 * reserved_hours * share)
    assert all(check.problems == () for check in verify_run(run.folder, expected_public_key=None))


def test_a_grid_file_that_is_not_there_is_found_before_anything_runs(
    job_of: Callable[[str], Any], house: House
) -> None:
    job = job_of("{zone: DE, grid: {files: [elsewhere.csv], counting: direct}}")

    with pytest.raises(GridFileError, match=r"elsewhere\.csv: is not there"):
        conditions_of_job(job, house)


def test_live_figures_need_a_token(job_of: Callable[[str], Any], house: House) -> None:
    job = job_of("{zone: DE, grid: {live: true}}")

    with pytest.raises(NoLiveGridError, match="AYNI_ELECTRICITY_MAPS_TOKEN"):
        conditions_of_job(job, house)


def test_hourly_figures_need_a_zone(job_of: Callable[[str], Any]) -> None:
    with pytest.raises(BadJobError, match=r"no site\.zone says what place"):
        job_of("{grid: {files: [grid.csv]}}")


def test_a_part_of_a_country_is_a_zone(job_of: Callable[[str], Any], house: House) -> None:
    conditions = conditions_of_job(job_of("{zone: DE-LU}"), house)

    assert conditions.intensity_between(NOW, NOW).zone == "DE"

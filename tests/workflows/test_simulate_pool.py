"""The what-if simulation from its files to its object."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.grid.grid_files import GridFileError
from ayni.market.simulation.pool import GangTooLargeError, HoursExhaustedError
from ayni.market.traces import TraceFileError
from ayni.workflows.progress import RecordedProgress
from ayni.workflows.simulate_pool import (
    GridHoursMissingError,
    StrangerInTraceError,
    UnknownPolicyError,
    load_scenario,
    simulate_pool,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "pool"
POOL = """\
name: two
start: 2026-03-02
carbon: {file: carbon.csv, counting: life-cycle}
prices: {file: prices.csv}
machine_classes:
  gpu: {watts: 1000}
sites:
  - {name: a, member: a, zone: A, machine_class: gpu, machines: 2, wear_credits_per_machine_hour: 0.5}
  - {name: b, member: b, zone: B, machine_class: gpu, machines: 2, wear_credits_per_machine_hour: 0.5}
jobs: {slack_hours: 6, data_median_gigabytes: 0}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten days: A weighs 500 g and costs 0.1 credits a kWh, B 100 g and 0.2."""
    hours = [f"2026-03-{day:02} {hour:02}:00" for day in range(1, 11) for hour in range(24)]
    (tmp_path / "carbon.csv").write_text(
        "\n".join(["datetime_utc,A,B", *(f"{hour},500,100" for hour in hours)])
    )
    (tmp_path / "prices.csv").write_text(
        "\n".join(["datetime_utc,A,B", *(f"{hour},100,200" for hour in hours)])
    )
    (tmp_path / "pool.yaml").write_text(POOL)
    write_jobs(tmp_path, "2020-01-01 00:10:00,3600,2,a", "2020-01-01 05:00:00,7200,1,b")
    return tmp_path


def write_jobs(folder: Path, *rows: str) -> None:
    (folder / "trace.csv").write_text("\n".join(["timestamp,duration,machines,member", *rows]))


def simulated(folder: Path, policies: Sequence[str]) -> dict[str, Any]:
    return simulate_pool(folder / "pool.yaml", folder / "trace.csv", policies)


def test_alone_is_always_there_and_the_numbers_are_those_of_the_files(folder: Path) -> None:
    view = simulated(folder, ["strict-fcfs"])

    alone, fcfs = view["policies"]
    assert (alone["name"], fcfs["name"]) == ("alone", "strict-fcfs")
    # Two machines of A for an hour, one of B for two: 2 kWh at 500 g and 2 kWh at 100 g.
    assert alone["measures"]["grams"] == pytest.approx(1200.0)
    # Four hours of wear, 2 kWh at 0.1 and 2 kWh at 0.2 credits.
    assert alone["measures"]["cost_microcredits"] == pytest.approx(2_600_000)
    assert alone["fairness"]["min_share_ratio"] == 1.0
    # An ask holds wear and the mean price of electricity: 0.5 and 1 kWh at 0.1 or 0.2.
    assert [site["ask_microcredits_per_hour"] for site in view["sites"]] == [600_000, 700_000]
    assert view["num_machines"] == 4 and view["machines_by_member"] == {"a": 2, "b": 2}


def test_the_market_has_its_books_and_other_policies_have_none(folder: Path) -> None:
    view = simulated(folder, ["market", "drf"])

    market = next(policy for policy in view["policies"] if policy["name"] == "market")["market"]
    assert market["num_leases"] == 2
    paid, earned = sum(market["paid_microcredits"].values()), sum(market["earned_microcredits"].values())
    assert paid == earned + market["carbon_microcredits"] + market["surplus_microcredits"]
    assert market["surplus_microcredits"] >= -4  # each line is rounded by itself
    assert view["policies"][-1]["market"] is None


def test_the_clairvoyant_gives_bounds_that_no_policy_passes(folder: Path) -> None:
    pytest.importorskip("scipy")

    view = simulated(folder, ["market", "lowest-price", "clairvoyant"])

    for policy in view["policies"]:
        assert policy["measures"]["grams"] >= view["bounds"]["carbon"]["value"] - 1e-3
        assert policy["measures"]["cost_microcredits"] >= view["bounds"]["cost"]["value"] - 1
        assert policy["welfare_microcredits"] <= view["bounds"]["welfare"]["value"] + 1


def test_the_object_is_plain_json_and_the_same_for_the_same_seed(folder: Path) -> None:
    first, second = (simulated(folder, ["market", "karma"]) for _ in range(2))

    assert json.loads(json.dumps(first, allow_nan=False)) == second


def test_the_trace_is_moved_to_the_start_of_the_pool(folder: Path) -> None:
    scenario = load_scenario(folder / "pool.yaml", folder / "trace.csv")

    assert scenario.pool.start.isoformat() == "2026-03-02T00:00:00+00:00"
    assert scenario.demand.release_seconds_J[0] == 0.0
    assert scenario.settings.before_SH is not None  # a day of the files lies before it


def test_progress_names_each_policy(folder: Path) -> None:
    progress = RecordedProgress()

    simulate_pool(folder / "pool.yaml", folder / "trace.csv", ["drf"], progress=progress)

    assert [step for step, *_ in progress.events if step] and "drf" in str(progress.events)


def test_a_member_that_cannot_hold_its_gangs_leaves_fairness_unknown(folder: Path) -> None:
    text = POOL.replace(
        "name: b, member: b, zone: B, machine_class: gpu, machines: 2",
        "name: b, member: b, zone: B, machine_class: gpu, machines: 9",
    )
    (folder / "pool.yaml").write_text(text)
    write_jobs(folder, "2020-01-01,60,5,a")

    view = simulated(folder, ["drf"])

    assert [policy["name"] for policy in view["policies"]] == ["drf"]
    assert view["policies"][0]["fairness"] is None
    with pytest.raises(GangTooLargeError, match="a, has 2"):
        simulated(folder, ["alone"])


def test_a_gang_that_no_site_can_hold_is_refused(folder: Path) -> None:
    write_jobs(folder, "2020-01-01,60,5,a")

    with pytest.raises(GangTooLargeError, match="needs 5 machines"):
        simulated(folder, ["drf"])


def test_jobs_of_strangers_are_refused(folder: Path) -> None:
    write_jobs(folder, "2020-01-01,60,1,c")

    with pytest.raises(StrangerInTraceError, match=r"jobs of c, .* sites of a, b"):
        simulated(folder, [])


def test_unknown_policies_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UnknownPolicyError, match=r"no policy 'magic'.*easy-backfill.*clairvoyant"):
        simulate_pool(tmp_path / "no.yaml", tmp_path / "no.csv", ["magic"])


def test_a_bad_trace_is_refused(folder: Path) -> None:
    write_jobs(folder, "2020-01-01,-5,1,a")

    with pytest.raises(TraceFileError, match="line 2"):
        simulated(folder, [])


def test_a_hole_in_the_hours_is_never_filled(folder: Path) -> None:
    lines = (folder / "carbon.csv").read_text().splitlines()
    lines[60] = lines[60].replace(",100", ",")
    (folder / "carbon.csv").write_text("\n".join(lines))

    with pytest.raises(GridHoursMissingError, match=r"zone B: the hour .* has no value"):
        simulated(folder, [])


def test_a_start_outside_the_hours_is_refused(folder: Path) -> None:
    (folder / "pool.yaml").write_text(POOL.replace("2026-03-02", "2027-03-02"))

    with pytest.raises(GridHoursMissingError, match="not 2027-03-02"):
        simulated(folder, [])


def test_a_zone_that_the_file_does_not_have_is_refused(folder: Path) -> None:
    (folder / "pool.yaml").write_text(POOL.replace("zone: B", "zone: C"))

    with pytest.raises(GridFileError, match="no zone 'C'"):
        simulated(folder, [])


def test_hours_that_end_before_the_last_job_are_said(folder: Path) -> None:
    write_jobs(folder, "2020-01-01,9999999,1,a")

    with pytest.raises(HoursExhaustedError, match="cover 216 hours"):
        simulated(folder, [])


def test_a_file_that_begins_with_the_pool_has_no_day_before(folder: Path) -> None:
    (folder / "pool.yaml").write_text(POOL.replace("2026-03-02", "2026-03-01"))

    assert load_scenario(folder / "pool.yaml", folder / "trace.csv").settings.before_SH is None


def test_the_example_runs(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "pool")
    rows = (tmp_path / "pool" / "trace.csv").read_text().splitlines()[:80]
    (tmp_path / "pool" / "trace.csv").write_text("\n".join(rows))

    view = simulate_pool(tmp_path / "pool" / "pool.yaml", tmp_path / "pool" / "trace.csv", ["market"])

    alone, market = view["policies"]
    assert market["measures"]["grams"] < alone["measures"]["grams"]

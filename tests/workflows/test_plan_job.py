"""The plan says what it can know, and refuses what would fail after the training."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import ScriptedCounter
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.hub.licences import LicenceConflictError, MissingLicenceError
from ayni.jobs.runs import Run
from ayni.market.planning import UnwatchableLimitError
from ayni.workflows.house import House
from ayni.workflows.plan_job import plan_job, text_of

NewRun = Callable[..., Run]


def with_unmetered_gpu(house: House) -> House:
    counters = NodeCounters(
        processor=ScriptedCounter(), device=None, unknown=("gpu",), notes=(), cpu_clock=ScriptedCpuClock()
    )
    return replace(house, make_counters=lambda _spec: counters)


def say_the_data_are(run: Run, licence: str) -> None:
    path = run.job.task.module_path
    card = f"\n    def data_card(self):\n        return {{'licence': {licence!r}}}\n"
    path.write_text(path.read_text() + card)


def test_the_plan_has_a_row_for_each_step_within_its_own_interval(house: House, new_run: NewRun) -> None:
    plan = plan_job(new_run().job, house)

    assert [row.step for row in plan.rows] == ["train", "explain", "publish"]
    for row in plan.rows:
        low, energy, high = row.low_joules, row.energy_joules, row.high_joules
        assert low is not None and energy is not None and high is not None
        assert low <= energy <= high
        assert row.tier == "W3"
    assert "J, " in text_of(plan)


def test_declared_watts_count_in_the_plan_as_they_do_in_the_meter(house: House, new_run: NewRun) -> None:
    def explain_joules(*overrides: str) -> float:
        row = plan_job(new_run(*overrides).job, house).rows[1]
        assert (row.step, row.tier, row.energy_joules is None) == ("explain", "W4", False)
        return float(row.energy_joules or 0)

    # The time of this step does not depend on a measurement, so that the watts alone make the difference.
    assert explain_joules("site.cpu_watts=500") == pytest.approx(10 * explain_joules("site.cpu_watts=50"))


def test_limits_that_no_meter_can_watch_are_refused(house: House, new_run: NewRun) -> None:
    with pytest.raises(UnwatchableLimitError, match=r"limits\.energy_kwh and limits\.carbon_grams") as caught:
        plan_job(new_run().job, with_unmetered_gpu(house))

    assert caught.value.exit_code == 2


def test_the_remedy_for_limits_that_cannot_be_watched_works_and_leaves_energy_unknown(
    house: House, new_run: NewRun
) -> None:
    run = new_run("limits.energy_kwh=null", "limits.carbon_grams=null")

    plan = plan_job(run.job, with_unmetered_gpu(house))

    assert {row.tier for row in plan.rows} == {"W5"}
    assert {row.energy_joules for row in plan.rows} == {row.grams_co2e for row in plan.rows} == {None}
    assert plan.total("cost_microcredits") > 0
    assert "energy and CO2e unknown" in text_of(plan)


@pytest.mark.parametrize(
    ("overrides", "error", "words"),
    [
        (["publish.licence=null"], MissingLicenceError, r"one of: cc-by-sa-3\.0, cc-by-sa-4\.0"),
        (["publish.licence=mit"], LicenceConflictError, r"one of: cc-by-sa-3\.0, cc-by-sa-4\.0"),
    ],
)
def test_a_licence_that_share_alike_data_do_not_allow_is_refused_before_training(
    house: House, new_run: NewRun, overrides: list[str], error: Any, words: str
) -> None:
    run = new_run(*overrides)
    say_the_data_are(run, "CC BY-SA 3.0")

    with pytest.raises(error, match=words):
        plan_job(run.job, house)


@pytest.mark.parametrize(
    ("override", "licence"),
    [
        ("publish.licence=cc-by-sa-4.0", "cc-by-sa-3.0"),
        ("publish.licence=null", "mit"),
        ("publish=null", "cc-by-sa-3.0"),
    ],
)
def test_a_licence_may_be_left_out_where_the_data_ask_for_none(
    house: House, new_run: NewRun, override: str, licence: str
) -> None:
    run = new_run(override)
    say_the_data_are(run, licence)

    assert plan_job(run.job, house).rows

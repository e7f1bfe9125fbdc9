"""The whole story on a job that takes a second: every step, interrupted anywhere, verified after."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.files import read_json
from ayni.jobs.runs import STEP_ORDER, Run
from ayni.market.double_entry import available
from ayni.market.planning import BudgetTooSmallError
from ayni.workflows.house import House
from ayni.workflows.limits import LimitReachedError
from ayni.workflows.progress import SilentProgress
from ayni.workflows.report_run import report_path, view_of
from ayni.workflows.run_job import run_job
from ayni.workflows.verify_run import verify_run

NewRun = Callable[..., Run]


def work(run: Run, house: House, *, yes: bool = False, **ports: Any) -> None:
    with run.lock():
        run_job(
            run,
            house,
            progress=ports.get("progress") or SilentProgress(),
            approve=ports.get("approve"),
            yes=yes,
        )


def problems(run: Run, house: House) -> list[str]:
    checks = verify_run(run.folder, expected_public_key=house.key.public_key)
    return [f"{check.name}: {problem}" for check in checks for problem in check.problems]


class StopAt:
    """Progress that dies when a step begins, as Ctrl-C would."""

    def __init__(self, step: str) -> None:
        self._step = step

    def started(self, step: str, *, total: float | None) -> None:
        if step == self._step:
            raise KeyboardInterrupt

    def advanced(self, step: str, *, done: float, text: str) -> None: ...

    def finished(self, step: str, *, text: str) -> None: ...


@pytest.fixture
def its_house(finished_once: tuple[Run, House]) -> House:
    """The house of the finished run."""
    return finished_once[1]


def test_a_job_leaves_everything_that_it_promised(its_house: House, finished: Run) -> None:
    view = view_of(finished)

    assert [step for step in STEP_ORDER if finished.result(step) is not None] == list(STEP_ORDER)
    assert view["train"]["samples"] == 2 * 3 * 5 * 16
    assert view["published"]["repository"] == "me/points"
    assert [Path(path).name for path in view["receipts"]] == [
        f"{number:04d}-{step}.json"
        for number, step in enumerate(("plan", "train", "explain", "publish", "settle", "report"), start=1)
    ]
    assert view["baseline"]["metrics"]["accuracy"] > 0.9
    path = report_path(finished)
    assert path is not None and "points" in path.read_text(encoding="utf-8")
    assert read_json(path.with_name("run.json"))["variants"] == view["variants"]
    assert problems(finished, its_house) == []


def test_the_owner_pays_its_own_site_and_ends_with_its_grant(its_house: House, finished: Run) -> None:
    kinds = [transaction["kind"] for transaction in read_json(finished.folder / "ledger.json")]

    assert kinds[0] == "hold" and kinds[-2:] == ["release", "pay-out"]
    assert its_house.ledger.balance(available("me")) == 100_000_000
    assert its_house.ledger.check() == []


@pytest.mark.parametrize("step", STEP_ORDER)
def test_a_run_stopped_before_any_step_ends_as_if_it_had_not_been(
    step: str, house: House, new_run: NewRun
) -> None:
    run = new_run()

    with pytest.raises(KeyboardInterrupt):
        work(run, house, progress=StopAt(step))
    work(run, house)

    assert problems(run, house) == []
    assert len(house.hub.revisions("me/points")) == 1
    assert [run.num_attempts(each) for each in ("plan", "train", "publish")] == [1, 1, 1]


def test_a_run_killed_between_its_seal_and_its_status_is_not_touched_again(
    its_house: House, finished: Run
) -> None:
    work(finished, its_house)

    assert problems(finished, its_house) == []


def test_removing_an_unfinished_run_pays_for_its_steps_and_gives_the_rest_back(
    house: House, new_run: NewRun
) -> None:
    run = new_run("site.ask_credits_per_core_hour=100")
    with pytest.raises(KeyboardInterrupt):
        work(run, house, progress=StopAt("explain"))
    assert house.ledger.balance(available("me")) == 99_000_000

    wiring.runs_remove(run.id)

    assert house.ledger.balance(available("me")) == 100_000_000
    kinds = [transaction["kind"] for transaction in house.ledger.transactions(run.id)]
    assert kinds == ["hold", "draw", "draw", "release", "pay-out"]
    assert not run.folder.exists()


def test_going_beyond_the_credits_of_a_job_sets_more_aside(house: House, new_run: NewRun) -> None:
    run = new_run("limits.credits=1e-6", "site.ask_credits_per_core_hour=100")

    work(run, house, yes=True)

    settled = run.result("settle")
    assert settled is not None and settled["unpaid_microcredits"] == 0
    assert house.ledger.check() == []


def test_a_plan_beyond_a_limit_is_refused_before_anything_is_trained(house: House, new_run: NewRun) -> None:
    run = new_run("limits.energy_kwh=1e-9")

    with pytest.raises(BudgetTooSmallError, match=r"limits\.energy_kwh"):
        work(run, house)

    assert run.result("train") is None
    assert house.ledger.transactions(run.id) == []


def test_a_person_is_asked_with_the_plan_and_may_agree(house: House, new_run: NewRun) -> None:
    run = new_run("limits.energy_kwh=1e-9")
    asked: list[Mapping[str, Any]] = []

    def agree(plan: Mapping[str, Any]) -> bool:
        asked.append(plan)
        return True

    work(run, house, approve=agree)

    assert [found["limit"] for found in asked[0]["violations"]] == ["energy_kwh"]
    assert problems(run, house) == []


def test_a_limit_reached_on_the_way_stops_the_run_and_yes_goes_on(house: House, new_run: NewRun) -> None:
    run = new_run("limits.deadline=5m")
    plan_only = StopAt("train")
    with pytest.raises(KeyboardInterrupt):
        work(run, house, progress=plan_only)
    job = read_json(run.folder / "job.json")
    job["spec"]["limits"]["deadline"] = "0.001s"
    (run.folder / "job.json").write_text(json.dumps(job))

    with pytest.raises(LimitReachedError, match=f"ayni resume {run.id} --yes"):
        work(run, house)
    work(run, house, yes=True)

    assert run.result("report") is not None


def test_two_runs_of_a_job_publish_two_revisions_on_top_of_each_other(house: House, new_run: NewRun) -> None:
    for seed in (1, 2):
        work(new_run(f"seed={seed}"), house)

    newest, older = house.hub.revisions("me/points")
    assert house.hub.commit("me/points", newest).parent == older


def test_the_same_seed_trains_the_same_model(house: House, new_run: NewRun) -> None:
    runs = [new_run(), new_run()]
    for run in runs:
        work(run, house)

    models = [(run.folder / "train" / "model.safetensors").read_bytes() for run in runs]
    assert models[0] == models[1]


@pytest.mark.parametrize(
    "name",
    [
        "receipts/0002-train.json",
        "train/model.safetensors",
        "train/accepted.jsonl",
        "steps/train.json",
        "ledger.json",
        "meter/windows.jsonl",
        "report/report.html",
        "manifest.json",
        "job.json",
    ],
)
def test_one_changed_byte_in_any_file_is_found(name: str, its_house: House, finished: Run) -> None:
    path = finished.folder / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    assert problems(finished, its_house) != []


def test_a_changed_published_file_is_found(house: House, new_run: NewRun) -> None:
    run = new_run()
    work(run, house)
    folder = Path(view_of(run)["published"]["folder"])
    (folder / "config.json").write_text("{}")

    assert any("config.json was changed" in problem for problem in problems(run, house))


def test_an_added_and_a_removed_file_are_found(its_house: House, finished: Run) -> None:
    (finished.folder / "receipts" / "0007-train.json").write_text("{}")
    (finished.folder / "train" / "rounds.jsonl").unlink()

    found = "\n".join(problems(finished, its_house))

    assert "0007-train.json was added" in found and "rounds.jsonl is missing" in found


def test_a_run_signed_by_another_key_is_not_ours(its_house: House, finished: Run) -> None:
    checks = verify_run(finished.folder, expected_public_key="AAAA")

    assert {check.name for check in checks if check.problems} >= {"files", "receipts"}


def test_a_run_moved_to_another_machine_verifies_by_its_own_key(
    house: House, new_run: NewRun, tmp_path: Path
) -> None:
    run = new_run()
    work(run, house)
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    shutil.rmtree(house.spill_folder.parent)

    checks = verify_run(Path(copy), expected_public_key=None)

    assert [check.name for check in checks if check.problems] == []

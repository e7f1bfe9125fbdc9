"""A job with privacy: what it promises is on card, receipt and page, and booked for its data set."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayni.jobs.loading import load_job
from ayni.jobs.problems import BadJobError
from ayni.jobs.runs import Run
from ayni.signing import verify_record
from ayni.train.privacy_ledger import DatasetBudgetError, PrivacyLedger
from ayni.workflows.house import House
from ayni.workflows.private_training import identity_of
from ayni.workflows.progress import RecordedProgress, SilentProgress
from ayni.workflows.report_run import view_of
from ayni.workflows.run_job import run_job

pytest.importorskip("opacus")

NewRun = Callable[..., Run]
PRIVATE = "train.privacy={epsilon: 3.0, delta: 0.001, accountant: rdp}"


def finish(run: Run, house: House) -> RecordedProgress:
    progress = RecordedProgress()
    with run.lock():
        run_job(run, house, progress=progress, approve=None, yes=True)
    return progress


@pytest.mark.slow
def test_card_receipt_page_and_account_tell_the_same_promise(new_run: NewRun, house: House) -> None:
    run = new_run(PRIVATE)

    finish(run, house)

    spent = view_of(run)["train"]["privacy"]
    assert 0 < spent["epsilon"] <= 3.0
    assert spent["steps"] == 3 * 2 * 5
    snapshot = house.hub.find("me/points", None)
    card = (snapshot.folder / "README.md").read_text()
    assert f"epsilon {spent['epsilon']:.4g}, delta 0.001, for one example of the training split" in card
    assert "Poisson, rate 0.1, 30 steps of 2 learners together" in card
    assert "logistic regression" not in card
    receipt = json.loads((run.folder / "receipts" / "0002-train.json").read_text())
    assert receipt["privacy"]["epsilon"] == spent["epsilon"]
    verify_record(receipt)
    others = [json.loads(path.read_text()) for path in (run.folder / "receipts").glob("*.json")]
    assert [each["step"] for each in others if "privacy" in each] == ["train"]
    assert "Trained with differential privacy" in (run.folder / "report" / "report.html").read_text()
    account = PrivacyLedger(house.database).accounts()[0]
    assert (account.epsilon, account.spends[0].is_settled) == (spent["epsilon"], True)


@pytest.mark.slow
def test_runs_on_the_same_data_add_up_until_the_cap_refuses_one(new_run: NewRun, house: House) -> None:
    capped = PRIVATE.replace("}", ", dataset_epsilon: 4.0}")
    finish(new_run(capped, "publish=null"), house)

    refused = new_run(PRIVATE, "publish=null", "seed=2")
    with pytest.raises(DatasetBudgetError, match=r"asks for 3; the lowest dataset_epsilon .* is 4\."):
        finish(refused, house)

    assert not (refused.folder / "train" / "started.jsonl").exists()
    assert len(PrivacyLedger(house.database).accounts()[0].spends) == 1


@pytest.mark.slow
def test_a_run_that_never_began_leaves_no_debt_and_one_that_did_stays_booked(
    new_run: NewRun, house: House
) -> None:
    def no_engine(_config: Any) -> Any:
        raise ConnectionError("no cluster")

    with pytest.raises(ConnectionError):
        finish(new_run(PRIVATE), replace(house, make_engine=no_engine))
    assert PrivacyLedger(house.database).accounts() == []

    class Stopped(SilentProgress):
        def advanced(self, step: str, *, done: float, text: str) -> None:
            if text.startswith("loss"):
                raise KeyboardInterrupt

    run = new_run(PRIVATE)
    with run.lock(), pytest.raises(KeyboardInterrupt):
        run_job(run, house, progress=Stopped(), approve=None, yes=True)
    assert [spend.epsilon for spend in PrivacyLedger(house.database).accounts()[0].spends] == [3.0]

    finish(run, house)
    account = PrivacyLedger(house.database).accounts()[0]
    assert len(account.spends) == 1
    assert account.spends[0].epsilon == view_of(run)["train"]["privacy"]["epsilon"]
    assert view_of(run)["train"]["privacy"]["lost_attempts"] > 0


@pytest.mark.slow
def test_a_hint_says_when_a_linear_model_would_do_better(new_run: NewRun, house: House) -> None:
    # So little is told that nothing is learned.
    run = new_run("train.privacy={epsilon: 0.05, delta: 0.001}", "publish=null")

    progress = finish(run, house)

    messages = [notice["message"] for notice in view_of(run)["train"]["notices"]]
    hints = [message for message in messages if message.startswith("logistic regression without privacy")]
    assert len(hints) == 1
    assert "with epsilon 0.0" in hints[0]
    assert any(hints[0] in str(event) for event in progress.events)


def test_variants_and_privacy_do_not_go_together(job_file: Path) -> None:
    with pytest.raises(BadJobError, match=r"without the noise that train\.privacy promises"):
        load_job(job_file, (PRIVATE, "compress={}"))


def test_a_data_set_is_recognised_in_any_order(new_run: NewRun) -> None:
    one, other = identity_of(new_run()), identity_of(new_run("seed=9"))

    assert one == other
    assert one.name is None

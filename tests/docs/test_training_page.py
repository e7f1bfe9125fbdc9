"""docs/training.md names every strategy, codec, rule and method, and every key of a training's status."""

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, Runs
from ayni.train.config import Strategy, TrainConfig
from ayni.train.quantizers import QUANTIZERS
from ayni.train.status import LearnerStatus
from ayni.train.strategy_config import (
    CODECS,
    SMALLEST_COHORT,
    AsyncMethod,
    RuleName,
)
from ayni.workflows.watch_training import training_status

PAGE = (Path(__file__).parent.parent.parent / "docs" / "training.md").read_text(encoding="utf-8")


def table(header: str) -> list[list[str]]:
    """The cells of the lines of the table whose first column is called so."""
    (block,) = re.findall(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]


def names(header: str) -> list[str]:
    return [cells[0].strip("`") for cells in table(header)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    (tmp_path / "job.yaml").write_text("name: digits\ntask: task:Digits\n")
    return Runs(tmp_path / "runs").create(load_job(tmp_path / "job.yaml"))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("strategy", get_args(Strategy)),
        ("codec", CODECS),
        ("rule", get_args(RuleName)),
        ("method", get_args(AsyncMethod)),
    ],
)
def test_the_page_has_a_row_for_every_choice_and_no_other(header: str, expected: tuple[str, ...]) -> None:
    assert sorted(names(header)) == sorted(expected)


@pytest.mark.parametrize("num_faulty", [1, 2, 5])
def test_the_updates_that_a_rule_needs_are_those_of_the_code(num_faulty: int) -> None:
    for cells in table("rule"):
        rule, formula = cells[0].strip("`"), cells[1].replace("f", f" * {num_faulty}")

        assert eval(formula) == SMALLEST_COHORT[rule](num_faulty), rule


def test_every_codec_of_the_page_is_written_and_read() -> None:
    assert sorted(names("codec")) == sorted(QUANTIZERS)


def test_the_status_has_the_keys_of_the_page(run: Run) -> None:
    status = training_status(run, now=datetime(2026, 11, 22, tzinfo=UTC))

    assert list(status) == names("key")


def test_a_learner_in_the_status_has_the_keys_of_the_page() -> None:
    (cells,) = (cells for cells in table("key") if cells[0] == "`learners`")

    assert re.findall(r"`(\w+)`", cells[2]) == [field.name for field in dataclasses.fields(LearnerStatus)]


def test_the_keys_that_the_page_names_are_keys_of_a_job() -> None:
    known = {field.name for field in dataclasses.fields(TrainConfig)}
    config = TrainConfig()
    for section in (config.aggregation, config.streaming, config.asynchronous):
        known |= {field.name for field in dataclasses.fields(section)}

    named = {key for cells in table("what happens") for key in re.findall(r"`(\w+)`", cells[2])}

    assert named and named <= known


@pytest.mark.parametrize("number", re.findall(r"arxiv\.org/abs/(\S+?)\)", PAGE))
def test_links_to_papers_show_the_number_they_lead_to(number: str) -> None:
    assert f"[arXiv:{number}](https://arxiv.org/abs/{number})" in PAGE

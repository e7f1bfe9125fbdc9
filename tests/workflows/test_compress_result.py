"""Looking at what a run's compression made, from its files alone."""

from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run, RunNotFoundError, Runs
from ayni.workflows.compress_result import (
    NoSuchVariantError,
    NoVariantsError,
    compare_variants,
    compression_of,
)


@pytest.fixture
def runs(home: Path) -> Runs:
    return Runs(home / "runs")


@pytest.fixture
def run(runs: Runs, job_file: Path) -> Run:
    """A run that was created, and whose compression is not done."""
    return runs.create(load_job(job_file))


def test_the_files_of_variants_are_where_the_run_is(run: Run, compress_result: dict[str, Any]) -> None:
    run.save_result("compress", compress_result)

    view = compression_of(run)

    assert (view["run"], view["status"], view["chosen"]) == (run.id, "interrupted", "int8")
    assert view["variants"][2]["file"] == str(run.folder / "compress" / "int8.onnx")
    assert wiring.compress_show("latest") == view


def test_a_run_that_has_not_come_so_far_says_how_to_go_on(run: Run) -> None:
    with pytest.raises(NoVariantsError, match=f"not come so far. Go on with: ayni resume {run.id}"):
        compression_of(run)


def test_a_run_whose_job_asks_for_none_says_so(run: Run) -> None:
    run.save_result("compress", {"skipped": "the job asks for no variants"})

    with pytest.raises(NoVariantsError, match=r"the job asks for no variants\. .* ayni compress owner/name"):
        compression_of(run)


def test_two_variants_of_a_run_are_compared_by_name(
    run: Run, runs: Runs, compress_result: dict[str, Any]
) -> None:
    run.save_result("compress", compress_result)

    found = compare_variants(runs, run.id, "full", "int4")

    assert (found["a"]["name"], found["b"]["name"]) == ("full", "int4")
    assert wiring.compress_compare("latest", "full", "int4") == found


def test_two_runs_are_compared_by_what_they_chose(
    run: Run, runs: Runs, job_file: Path, compress_result: dict[str, Any]
) -> None:
    other = runs.create(load_job(job_file))
    run.save_result("compress", compress_result)
    other.save_result("compress", {**compress_result, "chosen": "int4"})

    found = compare_variants(runs, run.id, other.id, None)

    assert [(found[side]["run"], found[side]["name"]) for side in ("a", "b")] == [
        (run.id, "int8"),
        (other.id, "int4"),
    ]


def test_a_variant_that_is_not_there_is_named_with_those_that_are(
    run: Run, runs: Runs, compress_result: dict[str, Any]
) -> None:
    run.save_result("compress", {**compress_result, "chosen": None})

    with pytest.raises(NoSuchVariantError, match=r"no variant 'int2'\. It has full, full-onnx, int8, int4"):
        compare_variants(runs, run.id, "full", "int2")
    with pytest.raises(NoSuchVariantError, match="chosen none of its variants"):
        compare_variants(runs, run.id, run.id, None)
    with pytest.raises(RunNotFoundError):
        compare_variants(runs, run.id, "int8", None)

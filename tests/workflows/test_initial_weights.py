"""Where training starts is found before work begins, and what cannot be read is named."""

from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import save_file

from ayni.errors import UserError
from ayni.hub.repositories import RepositoryNotFoundError
from ayni.jobs.runs import Run
from ayni.train.initial import InitialWeightsError
from ayni.workflows.house import House
from ayni.workflows.initial_weights import (
    ChangedInitialWeightsError,
    InitialWeightsNotFoundError,
    NotSafetensorsError,
    find_initial_weights,
    keep_initial_weights,
)
from ayni.workflows.plan_job import plan_job

NewRun = Callable[..., Run]


def write_weights(run: Run, bias: float = 0.5, *, name: str = "0.bias", num_values: int = 8) -> None:
    """A file of weights beside the job, of which the first bias fits the model."""
    path = run.job.task.module_path.parent / "model.safetensors"
    save_file({name: np.full(num_values, bias, np.float32)}, path)


@pytest.mark.parametrize("name", ["model.pt", "weights/model.bin"])
def test_a_pickled_file_is_refused_as_such(name: str, house: House, new_run: NewRun) -> None:
    run = new_run(f"train.init_from={name}")
    path = run.job.task.module_path.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x80\x02.")

    with pytest.raises(NotSafetensorsError, match="only safetensors files are read"):
        find_initial_weights(run.job, house.hub)


def test_an_absent_file_is_named_with_its_whole_path(house: House, new_run: NewRun) -> None:
    run = new_run("train.init_from=model.safetensors")

    with pytest.raises(InitialWeightsNotFoundError, match=r"/model\.safetensors does not exist"):
        find_initial_weights(run.job, house.hub)


@pytest.mark.parametrize(
    ("init_from", "error"),
    [
        ("model.safetensors", InitialWeightsNotFoundError),
        ("model.bin", NotSafetensorsError),
        ("me/nobody-published-this", RepositoryNotFoundError),
    ],
)
def test_weights_that_are_not_there_are_refused_with_the_plan(
    init_from: str, error: type[UserError], house: House, new_run: NewRun
) -> None:
    run = new_run(f"train.init_from={init_from}")

    with pytest.raises(error):
        plan_job(run.job, house)


def test_weights_of_which_nothing_fits_are_refused_with_the_plan(house: House, new_run: NewRun) -> None:
    run = new_run("train.init_from=model.safetensors")
    write_weights(run, num_values=7)

    with pytest.raises(InitialWeightsError, match="nothing of it fits"):
        plan_job(run.job, house)


def test_a_plan_keeps_nothing_of_the_weights_so_that_they_may_change_until_training_begins(
    house: House, new_run: NewRun
) -> None:
    run = new_run("train.init_from=model.safetensors")
    write_weights(run, 0.5)

    plan = plan_job(run.job, house)
    write_weights(run, 0.25)

    assert plan.rows
    assert keep_initial_weights(run, house.hub) == run.job.task.module_path.parent / "model.safetensors"


def test_a_run_goes_on_from_the_weights_that_it_began_with_or_not_at_all(
    house: House, new_run: NewRun
) -> None:
    run = new_run("train.init_from=model.safetensors")
    write_weights(run, 0.5)

    first = keep_initial_weights(run, house.hub)

    assert keep_initial_weights(run, house.hub) == first
    write_weights(run, 0.25)
    with pytest.raises(ChangedInitialWeightsError, match="start a new run"):
        keep_initial_weights(run, house.hub)


def test_a_job_that_names_no_weights_has_none_to_keep(house: House, new_run: NewRun) -> None:
    run = new_run()

    assert keep_initial_weights(run, house.hub) is None
    assert not (run.folder / "train").exists()

"""Where training starts is found before work begins, and what cannot be read is named."""

from collections.abc import Callable

import pytest

from ayni.jobs.runs import Run
from ayni.workflows.house import House
from ayni.workflows.initial_weights import (
    InitialWeightsNotFoundError,
    NotSafetensorsError,
    find_initial_weights,
)

NewRun = Callable[..., Run]


@pytest.mark.parametrize("name", ["model.pt", "weights/model.bin"])
def test_a_pickled_file_is_refused_as_such(name: str, house: House, new_run: NewRun) -> None:
    run = new_run(f"train.init_from={name}")
    path = run.job.task.module_path.parent / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x80\x02.")

    with pytest.raises(NotSafetensorsError, match="only safetensors files are read"):
        find_initial_weights(run, house.hub)


def test_an_absent_file_is_named_with_its_whole_path(house: House, new_run: NewRun) -> None:
    run = new_run("train.init_from=model.safetensors")

    with pytest.raises(InitialWeightsNotFoundError, match=r"/model\.safetensors does not exist"):
        find_initial_weights(run, house.hub)

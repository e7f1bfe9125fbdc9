"""The Keras example: clean splits, an honest card, and a whole run on worker processes."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import ayni
from ayni.data.splits import check_splits
from ayni.task import Task, TaskReference

pytestmark = pytest.mark.keras
FOLDER = Path(__file__).parents[2] / "examples" / "keras_digits"


@pytest.fixture(scope="module")
def task() -> Any:
    return TaskReference(module_path=FOLDER / "task.py", object_name="Digits").load()


def test_it_is_a_task_whose_splits_share_nothing(task: Any) -> None:
    found = check_splits(task)

    assert isinstance(task, Task)
    assert found.num_examples == {"train": 1258, "validation": 180, "test": 359}
    assert not found.has_leak


def test_an_example_is_an_image_between_0_and_1_and_its_digit(task: Any) -> None:
    image, digit = task.dataset("train")[0]

    assert (image.shape, image.dtype, digit.dtype) == ((8, 8, 1), np.float32, np.int64)
    assert (image.min(), image.max()) == (0.0, 1.0)


def test_the_models_size_is_the_one_its_docstring_states(task: Any) -> None:
    model = task.build_model()
    num_parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)

    assert f"{num_parameters:,}" in task.build_model.__doc__


def test_the_models_licence_is_the_datas(task: Any) -> None:
    job = yaml.safe_load((FOLDER / "job.yaml").read_text())

    assert job["publish"]["licence"] == task.data_card()["licence"]


@pytest.mark.slow
@pytest.mark.cluster
def test_two_worker_processes_learn_to_tell_digits_apart(home: Path) -> None:
    found = ayni.run(FOLDER / "job.yaml", yes=True, home=home)

    assert found["status"] == "finished"
    assert found["train"]["metrics"]["accuracy"] > 0.93
    assert found["train"]["num_lost_updates"] == 0, "a worker built other weights than the coordinator"
    assert ayni.verify(found["run"], home=home)["ok"]
    model = ayni.load("me/keras-digits", home=home)
    assert type(model).__name__ == "Sequential"
    assert os.environ["KERAS_BACKEND"] == "tensorflow"
    compressed = {variant["name"]: variant for variant in found["variants"]}
    assert found["chosen"] == "int8-static"
    assert compressed["int8-static"]["stored_bytes"] < 0.4 * compressed["full"]["stored_bytes"]
    small = ayni.load("me/keras-digits", variant="int8-static", home=home)
    assert small(np.zeros((1, 8, 8, 1), np.float32)).shape == (1, 10)

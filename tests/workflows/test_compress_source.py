"""Which model and which task `ayni compress` begins with, and what is said where there is none."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ayni.hub.config import ModelConfig
from ayni.hub.repositories import RevisionNotFoundError
from ayni.jobs.runs import Run
from ayni.workflows.compress_source import (
    NoSuchModelError,
    Source,
    TaskOptionError,
    UnusableModelError,
    find_source,
)
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job


def find(house: House, model: str, *, task: str | None = None, text: Path | None = None) -> Source:
    return find_source(model, task=task, text=text, hub=house.hub, runs=house.runs)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "points.safetensors"
    save_file({"0.bias": np.zeros(8, np.float32)}, path)
    return path


@pytest.fixture
def task(job_file: Path) -> str:
    return f"{job_file.parent / 'task.py'}:Points"


@pytest.fixture
def in_job_folder(job_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are relative to the folder of task.py."""
    monkeypatch.chdir(job_file.parent)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What passes for a model of Transformers until somebody loads it."""
    path = tmp_path / "small-lm"
    path.mkdir()
    (path / "config.json").write_text("{}")
    return path


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "book.txt"
    path.write_text("Once upon a time.")
    return path


def test_a_file_goes_with_a_task_that_stays_where_it_is(house: House, weights: Path, task: str) -> None:
    source = find(house, str(weights), task=task)

    assert (source.model, source.task, source.name) == (str(weights), "task:Points", "points")
    assert source.files == {"task.py": Path(task.partition(":")[0])}
    assert source.better == "higher"


def test_a_file_with_a_name_of_all_models_is_called_by_its_folder(
    house: House, weights: Path, task: str
) -> None:
    plain = weights.parent / "digits" / "model.safetensors"
    plain.parent.mkdir()
    weights.rename(plain)

    assert find(house, str(plain), task=task).name == "digits"


def test_a_published_model_brings_its_task_and_is_pinned(finished_once: tuple[Run, House]) -> None:
    run, house = finished_once
    published = run.result("publish")
    assert published is not None

    source = find(house, "me/points")

    assert source.model == f"me/points@{published['revision']}"
    assert (source.task, source.name) == ("task:Points", "points")
    assert source.files == {"task.py": run.job.task.module_path.read_text()}


def test_a_published_model_may_get_another_task(finished_once: tuple[Run, House], task: str) -> None:
    _, house = finished_once

    source = find(house, "points@main", task=task)

    assert source.model.startswith("me/points@")
    assert source.files == {"task.py": Path(task.partition(":")[0])}


def test_a_metric_is_read_as_in_the_run_that_published_the_model(
    house: House, new_run: Callable[..., Run]
) -> None:
    run = new_run("metric.better=lower", "explain.samples=0")
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)

    assert find(house, "me/points").better == "lower"

    house.runs.remove(run.id)
    assert find(house, "me/points").better == "higher"


def test_a_published_model_of_keras_is_refused(house: House) -> None:
    config = ModelConfig(
        task="task:Points",
        task_sha256="0" * 64,
        architecture="Functional",
        library="keras",
        input_shape=(2,),
        variants={},
    )
    house.hub.publish(
        "me/keras",
        {"config.json": json.dumps(config.to_json()).encode()},
        message="m",
        author="me <me@here>",
        when=house.now(),
    )

    with pytest.raises(UnusableModelError, match=r"me/keras cannot be compressed .* a model of Keras"):
        find(house, "me/keras")


def test_a_folder_of_transformers_gets_a_generated_task(house: House, folder: Path, text: Path) -> None:
    source = find(house, str(folder), task="perplexity", text=text)

    assert (source.model, source.task, source.name) == ("task", "task:task", "small-lm")
    assert source.better == "lower"
    names: dict[str, object] = {}
    generated = source.files["task.py"]
    assert isinstance(generated, str)
    exec(generated, names)
    made = names["task"]()  # type: ignore[operator]
    assert type(made).__name__ == "Perplexity"
    assert (made._folder, Path(str(made._text_file))) == (folder, text)


def test_sentences_are_better_the_nearer_they_stay(house: House, folder: Path, text: Path) -> None:
    assert find(house, str(folder), task="sentences", text=text).better == "higher"


def test_a_task_may_build_the_trained_model_itself(house: House, task: str) -> None:
    source = find(house, "task", task=task)

    assert (source.model, source.task, source.name) == ("task", "task:Points", "Points")


@pytest.mark.parametrize("model", ["nowhere.safetensors", "me/nothing", "./nothing", "nothing"])
def test_a_model_that_is_nowhere_is_named_with_what_would_do(house: House, model: str) -> None:
    with pytest.raises(NoSuchModelError, match="MODEL is a safetensors file, owner/name, a folder") as caught:
        find(house, model)

    assert repr(model) in str(caught.value)


def test_a_name_that_is_nearly_one_of_the_hub_gets_the_right_one(finished_once: tuple[Run, House]) -> None:
    with pytest.raises(NoSuchModelError, match=r"Did you mean me/points\?"):
        find(finished_once[1], "me/point")


def test_a_revision_that_is_not_there_is_refused(finished_once: tuple[Run, House]) -> None:
    with pytest.raises(RevisionNotFoundError):
        find(finished_once[1], "me/points@ffff")


@pytest.mark.parametrize(
    ("suffix", "advice"),
    [
        (".pt", r"could run code when they are read\. Convert it with safetensors"),
        (".keras", "a model of Keras. Those are compressed in the job that trains them"),
        (".h5", "a model of Keras"),
        (".onnx", "exported already"),
        (".gguf", "quantized already"),
        (".txt", "Give a safetensors file"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(
    house: House, tmp_path: Path, task: str, suffix: str, advice: str
) -> None:
    path = tmp_path / f"model{suffix}"
    path.touch()

    with pytest.raises(UnusableModelError, match=advice):
        find(house, str(path), task=task)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (None, "--task is missing. A safetensors file holds weights, and no code"),
        ("perplexity", "perplexity is for a folder of Transformers .* is a file"),
        ("perplexty", r"no built-in task 'perplexty'\. Did you mean perplexity\?"),
        ("task.py", r"which object in it\? Write task\.py:Object"),
        ("absent.py:Points", r"there is no Python file absent\.py"),
        ("task.py:1st", "'1st' is none"),
    ],
)
def test_a_task_that_is_none_is_refused_with_what_to_do(
    house: House, weights: Path, in_job_folder: None, given: str | None, advice: str
) -> None:

    with pytest.raises(TaskOptionError, match=advice) as caught:
        find(house, str(weights), task=given)

    assert "--task is path/to/task.py:Object, or a built-in one: perplexity, sentences." in str(caught.value)


def test_a_task_named_as_in_a_job_gets_the_name_of_its_file(
    house: House, weights: Path, in_job_folder: None
) -> None:
    with pytest.raises(TaskOptionError, match=r"Write the file: task\.py:Points\."):
        find(house, str(weights), task="task:Points")


def test_a_file_whose_name_is_none_in_python_is_refused(house: House, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "my-task.py").touch()

    with pytest.raises(TaskOptionError, match=r"'my-task' is none\. Rename it"):
        find(house, str(weights), task=f"{tmp_path / 'my-task.py'}:Points")


def test_a_built_in_task_wants_its_text(house: House, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TaskOptionError, match=r"--text is missing: sentences .* one sentence a line"):
        find(house, str(folder), task="sentences")
    with pytest.raises(TaskOptionError, match="there is no such file"):
        find(house, str(folder), task="sentences", text=tmp_path / "absent.txt")


def test_text_goes_with_built_in_tasks_only(house: House, weights: Path, task: str, text: Path) -> None:
    with pytest.raises(TaskOptionError, match="--text is for the built-in tasks"):
        find(house, str(weights), task=task, text=text)


def test_a_folder_wants_a_built_in_task_or_the_file_in_it(
    house: House, folder: Path, tmp_path: Path, task: str, text: Path
) -> None:
    with pytest.raises(TaskOptionError, match=r"what is the model in .* good for"):
        find(house, str(folder))
    with pytest.raises(UnusableModelError, match=r"give the file of the weights, such as .*safetensors"):
        find(house, str(folder), task=task)
    with pytest.raises(UnusableModelError, match=r"It has no config\.json"):
        find(house, str(tmp_path), task="perplexity", text=text)

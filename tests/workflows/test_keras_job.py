"""A job whose model is one of Keras: trained, published, receipted; the rest refused before work."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ayni.compress.frameworks import CannotCompressError
from ayni.jobs.loading import load_job
from ayni.jobs.runs import Run
from ayni.train.keras_replica import UnsupportedByKerasError
from ayni.workflows.corrupt_model import CorruptRequest, measure_models
from ayni.workflows.explain_again import NotExplainableError, explain_again
from ayni.workflows.explain_source import find_explain_source
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job
from ayni.workflows.verify_run import verify_run

pytestmark = pytest.mark.keras
TASK = '''
import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np


class Points:
    """Is a point above the diagonal?"""

    def build_model(self):
        return keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2)])

    def dataset(self, split):
        rng = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[split])
        points = rng.random((160, 2), dtype=np.float32)
        return [(point, int(point[1] > point[0])) for point in points]

    def loss(self, model, batch):
        points, above = batch
        losses = keras.losses.sparse_categorical_crossentropy(above, model(points), from_logits=True)
        return keras.ops.mean(losses)

    def evaluate(self, model, batches):
        right = [np.argmax(model(points), axis=1) == above for points, above in batches]
        return {"accuracy": float(np.concatenate(right).mean())}

    def example_input(self):
        return np.zeros((1, 2), np.float32)

    def labels(self):
        return ["below", "above"]
'''
JOB = """
name: points
task: task:Points
seed: 1
train: {rounds: 3, local_steps: 10, batch_size: 16, learning_rate: 0.05}
limits: {credits: 1, energy_kwh: 1, carbon_grams: 100, deadline: 2h}
site: {zone: DE, pue: 1.2, ask_credits_per_core_hour: 1}
publish: {repository: me/points, licence: mit}
"""


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "job.yaml").write_text(JOB)
    return folder / "job.yaml"


def work(house: House, job_file: Path, *overrides: str) -> Run:
    run = house.runs.create(load_job(job_file, overrides))
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)
    return run


def point_file(tmp_path: Path) -> Path:
    path = tmp_path / "point.npy"
    np.save(path, np.array([0.1, 0.9], np.float32))
    return path


def test_a_keras_job_is_done_from_plan_to_seal(house: House, job_file: Path, tmp_path: Path) -> None:
    run = work(house, job_file)

    checks = verify_run(run.folder, expected_public_key=house.key.public_key)
    assert [problem for check in checks for problem in check.problems] == []
    explained: Any = run.result("explain")
    assert "Keras" in explained["note"] and explained["items"] == []
    assert explained["baseline"]["name"] == "logistic regression"
    assert explained["baseline"]["metrics"]["accuracy"] > 0.9
    receipts = {path.stem.partition("-")[2] for path in (run.folder / "receipts").glob("*.json")}
    assert {"train", "publish", "report"} <= receipts

    snapshot = house.hub.find("me/points", None)
    config = json.loads((snapshot.folder / "config.json").read_text())
    assert (config["ayni"]["library"], config["pipeline_tag"]) == ("keras", "tabular-classification")
    assert "library_name: keras" in (snapshot.folder / "README.md").read_text()


def test_corrupted_images_are_shown_to_a_model_of_keras(house: House, job_file: Path) -> None:
    images = (
        TASK.replace("keras.Sequential([", "keras.Sequential([keras.layers.Flatten(), ")
        .replace("rng.random((160, 2), dtype=np.float32)", "rng.random((60, 8, 8, 1), dtype=np.float32)")
        .replace("int(point[1] > point[0])", "int(point[4:].mean() > point[:4].mean())")
        .replace("np.zeros((1, 2), np.float32)", "np.zeros((1, 8, 8, 1), np.float32)")
    )
    (job_file.parent / "task.py").write_text(images)

    run = work(house, job_file, "explain.corruptions={samples: 30}")

    explained: Any = run.result("explain")
    names = [model["model"] for model in explained["robustness"]["models"]]
    assert names == ["full", "logistic regression"] and explained["robustness"]["num_examples"] == 30
    asked = CorruptRequest(models=["me/points"], reference=run.id, samples=30, seed=1)
    published = measure_models(asked, runs=house.runs, hub=house.hub, advanced=lambda share: None)
    assert published.models[0].errors.errors == published.models[1].errors.errors
    assert published.to_json()["models"][0]["errors"] == explained["robustness"]["models"][0]["errors"]


def test_a_published_keras_model_answers_as_the_trained_one(
    house: House, job_file: Path, tmp_path: Path
) -> None:
    from ayni.hub.loading import load_model
    from ayni.hub.prediction import predict

    run = work(house, job_file)
    snapshot = house.hub.find("me/points", None)

    [answer] = predict(snapshot, [point_file(tmp_path)])
    model = load_model(snapshot)

    right = run.job.task.load().evaluate(model, [_all(run.job.task.load().dataset("validation"))])
    trained: Any = run.result("train")
    assert right["accuracy"] == pytest.approx(trained["metrics"]["accuracy"])
    assert answer["label"] == "above"


@pytest.mark.slow
def test_variants_of_a_keras_job_are_published_and_answer_alike(
    house: House, job_file: Path, tmp_path: Path
) -> None:
    from ayni.hub.prediction import predict
    from ayni.workflows.load_variant import load_variant

    steps = "[{quantize: {}}, {quantize: {runtime: keras}}]"
    run = work(house, job_file, f"compress={{max_accuracy_drop: 0.05, steps: {steps}}}")

    checks = verify_run(run.folder, expected_public_key=house.key.public_key)
    assert [problem for check in checks for problem in check.problems] == []
    compressed: Any = run.result("compress")
    names = [variant["name"] for variant in compressed["variants"]]
    assert names == ["full", "full-litert", "int8", "int8-keras"]
    assert compressed["chosen"] in ("int8", "int8-keras")
    snapshot = house.hub.find("me/points", None)
    metadata = (snapshot.folder / "README.md").read_text()
    assert "- tflite" in metadata
    for name in names:
        [answer] = predict(snapshot, [point_file(tmp_path)], name, load_variant=load_variant)
        assert (name, answer["label"]) == (name, "above")
    for what in (run.id, "me/points"):
        source = find_explain_source(what, task=None, hub=house.hub, runs=house.runs)
        assert source.variant is not None and source.variant_name == compressed["chosen"]
        with pytest.raises(NotExplainableError, match="model of Keras"):
            explain_again(source, method="auto", num_samples=1, seed=0, folder=tmp_path / "explained")


@pytest.mark.slow
def test_the_program_on_the_card_works_without_ayni(house: House, job_file: Path) -> None:
    work(house, job_file)
    folder = house.hub.find("me/points", None).folder
    program = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]

    done = subprocess.run(
        [sys.executable, "-B", "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "(1, 2)", done.stderr[-2000:]


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("compress={}", CannotCompressError),
        ("compress={steps: [{quantize: {bits: 8, runtime: onnxruntime}}]}", CannotCompressError),
        ("train.strategy=sync", UnsupportedByKerasError),
        ("train.adapter={rank: 2}", UnsupportedByKerasError),
    ],
)
def test_what_keras_cannot_do_is_refused_before_training(
    override: str, error: type[Exception], house: House, job_file: Path
) -> None:
    with pytest.raises(error):
        work(house, job_file, override)

    [run] = house.runs.list()
    assert run.result("plan") is None
    assert not (run.folder / "train").exists()


def _all(dataset: Any) -> Any:
    points, labels = zip(*dataset, strict=True)
    return np.stack(points), np.array(labels)

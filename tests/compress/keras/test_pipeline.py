"""All forms of the MNIST network, by the steps of a job and by a search."""

import json
from pathlib import Path
from typing import Any

import pytest

from ayni.compress.config import CompressConfig, SearchConfig, StepEntry
from ayni.compress.frameworks import CannotCompressError
from ayni.compress.keras.litert import LiteRtFailedError
from ayni.compress.keras.pipeline import compress_keras
from ayni.compress.ports import DeclaredPowerMeter, RecordingObserver
from ayni.compress.score import UnknownScoreTermError
from ayni.compress.steps import HalfStep, PruneStep, QuantizeStep, Step
from ayni.compress.variants import CompressResult

pytestmark = pytest.mark.keras
STEPS: tuple[Step, ...] = (
    QuantizeStep(),
    QuantizeStep(mode="static"),
    HalfStep(dtype="float16"),
    QuantizeStep(runtime="keras"),
    QuantizeStep(bits=4),
)
NAMES = ["full", "full-litert", "int8", "int8-static", "float16", "int8-keras", "int4-keras"]


def config(*steps: Step, **settings: Any) -> CompressConfig:
    return CompressConfig(steps=tuple(map(StepEntry.of, steps or STEPS)), **settings)


def run(task: Any, weights: Path, folder: Path, job: CompressConfig, **options: Any) -> CompressResult:
    return compress_keras(
        task,
        weights,
        job,
        seed=1,
        folder=folder,
        meter=DeclaredPowerMeter(),
        measure_seconds=0.05,
        **{"observer": RecordingObserver(), **options},
    )


class StopsAt:
    """An observer that stops the work, as Ctrl-C or a limit does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step_progress(self, name: str, done: int, total: int, text: str) -> None:
        if name == self.name:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of all tests here: what one has made the others find."""
    return tmp_path_factory.mktemp("variants")


@pytest.fixture(scope="module")
def result(mnist_task: Any, mnist_weights: Path, folder: Path) -> CompressResult:
    return run(mnist_task, mnist_weights, folder, config())


def test_each_step_is_a_variant_beside_the_model_and_its_plain_conversion(result: CompressResult) -> None:
    rows = {variant.name: variant for variant in result.variants}

    assert list(rows) == NAMES
    assert [rows[name].artefact.runtime for name in NAMES] == ["keras", *["litert"] * 4, "keras", "keras"]
    assert [name for name in NAMES if not rows[name].artefact.is_candidate] == ["full", "full-litert"]
    assert result.chosen in ("int8", "int8-static", "float16")


def test_bytes_are_those_of_weights_without_an_optimizer(result: CompressResult) -> None:
    num_weights = 784 * 128 + 128 + 128 * 10 + 10
    full, static = result.variant("full").artefact, result.variant("int8-static").artefact

    assert full.num_parameters == static.num_parameters == num_weights
    assert 4 * num_weights < full.stored_bytes < 4 * num_weights + 1000
    assert static.stored_bytes == static.file.stat().st_size <= 0.27 * full.stored_bytes


def test_no_form_loses_more_than_a_point_and_each_says_whose_answers_changed(result: CompressResult) -> None:
    full = result.variant("full").artefact.quality

    assert full.test["accuracy"] > 0.88
    assert full.interval is not None and full.interval.method == "wilson"
    for variant in result.variants[1:]:
        assert variant.test_drop is not None and variant.test_drop <= 0.01, variant.name
        assert variant.artefact.changes is not None, variant.artefact.no_changes_reason
        assert variant.artefact.changes.flip_rate <= 0.03
    exact = result.variant("full-litert").artefact.changes
    assert exact is not None and exact.flip_rate <= 0.001


def test_the_row_of_a_form_that_is_there_for_its_size_says_that_it_is_slower(result: CompressResult) -> None:
    note = result.variant("int4-keras").artefact.note

    assert note.startswith("2 layers in Keras' int4; for size, not for speed: a call takes ")


def test_a_result_survives_json(result: CompressResult) -> None:
    text = json.dumps(result.to_json(), allow_nan=False)

    assert CompressResult.from_json(json.loads(text)) == result


def test_a_second_run_makes_nothing_again_and_a_damaged_file_only(
    result: CompressResult, mnist_task: Any, mnist_weights: Path, folder: Path
) -> None:
    damaged = result.variant("int8-keras").file
    good = damaged.read_bytes()
    damaged.write_bytes(good[:-1])
    made_at = {path: path.stat().st_mtime_ns for path in folder.glob("*.tflite")}

    again = run(mnist_task, mnist_weights, folder, config())

    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.tflite")} == made_at
    assert damaged.read_bytes() == good
    assert [v.artefact.quality for v in again.variants] == [v.artefact.quality for v in result.variants]


@pytest.mark.usefixtures("result")
def test_a_search_tries_every_form_and_chooses_by_its_score(
    mnist_task: Any, mnist_weights: Path, folder: Path
) -> None:
    job = CompressConfig(
        search=SearchConfig(prefer="bytes"),
        score={"metric": 1.0, "stored_bytes": -1.0},
        max_accuracy_drop=0.03,
    )
    observer = RecordingObserver()

    found = run(mnist_task, mnist_weights, folder, job, observer=observer)

    assert found.search is not None
    assert found.search.num_measured == 5 and not found.search.skipped
    assert {variant.name for variant in found.variants} == set(NAMES)
    assert found.chosen == "int4-keras"
    assert observer.heard[-1][1] == observer.heard[-1][2]


def test_a_step_that_keras_cannot_have_is_refused_before_anything_is_made(
    mnist_task: Any, mnist_weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(CannotCompressError, match="`prune`"):
        run(mnist_task, mnist_weights, tmp_path, config(PruneStep(), QuantizeStep()))

    assert not list(tmp_path.iterdir())


def test_a_score_of_an_unknown_metric_is_refused_before_anything_is_made(
    mnist_task: Any, mnist_weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownScoreTermError, match="'f1'"):
        run(mnist_task, mnist_weights, tmp_path, config(score={"f1": 1.0}))

    assert not list(tmp_path.glob("*.tflite"))


def test_an_interrupted_run_goes_on_with_the_first_missing_file(
    mnist_task: Any, mnist_weights: Path, tmp_path: Path
) -> None:
    job = config(QuantizeStep(runtime="keras"), QuantizeStep(bits=4))
    with pytest.raises(KeyboardInterrupt):
        run(mnist_task, mnist_weights, tmp_path, job, observer=StopsAt("int4-keras"))
    made_at = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

    resumed = run(mnist_task, mnist_weights, tmp_path, job)

    assert {"full.json", "full-litert.tflite", "int8-keras.keras.safetensors"} <= made_at.keys()
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in made_at.items())
    assert [variant.name for variant in resumed.variants][-1] == "int4-keras"


def test_a_file_that_is_damaged_after_it_was_judged_is_not_run(
    mnist_task: Any, mnist_weights: Path, tmp_path: Path
) -> None:
    class Damages(RecordingObserver):
        def step_progress(self, name: str, done: int, total: int, text: str) -> None:
            if name == "measure":
                file = tmp_path / "full-litert.tflite"
                file.write_bytes(file.read_bytes()[:5000])

    with pytest.raises(LiteRtFailedError, match="SHA-256"):
        run(mnist_task, mnist_weights, tmp_path, config(QuantizeStep(bits=4)), observer=Damages())

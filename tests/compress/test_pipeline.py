"""The whole step, on two small tasks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ayni.compress.artefacts import ModelFileError, load_full_model
from ayni.compress.config import CompressConfig, StepEntry
from ayni.compress.pipeline import compress
from ayni.compress.ports import DeclaredPowerMeter, RecordingObserver
from ayni.compress.score import UnknownScoreTermError
from ayni.compress.steps import DistillStep, PruneStep, QuantizeStep
from ayni.compress.variant_names import variant_names
from ayni.compress.variants import CompressResult
from ayni.task import Task

STEPS = (
    StepEntry(prune=PruneStep(channels=0.5)),
    StepEntry(distill=DistillStep(epochs=4, learning_rate=1e-2)),
    StepEntry(quantize=QuantizeStep()),
)
SCORE = {"accuracy": 1.0, "stored_bytes": -0.2}
CONFIG = CompressConfig(max_accuracy_drop=0.05, steps=STEPS, score=SCORE)


def run(
    task: Task, file: Path, folder: Path, config: CompressConfig = CONFIG, **options: Any
) -> CompressResult:
    options = {"observer": RecordingObserver(), **options}
    return compress(
        task, file, config, seed=1, folder=folder, meter=DeclaredPowerMeter(), measure_seconds=0.01, **options
    )


class StopsAt:
    """An observer that stops the work, as Ctrl-C or a limit does."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step_progress(self, name: str, done: int, total: int, text: str) -> None:
        if name == self.name:
            raise KeyboardInterrupt


def test_each_step_is_a_variant_and_the_small_one_is_chosen(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    result = run(bars, bars_file, tmp_path)

    rows = {variant.name: variant for variant in result.variants}
    full, int8 = rows["full"], rows["int8"]
    assert list(rows) == ["full", "full-onnx", "pruned", "distilled", "int8"]
    assert result.chosen in ("distilled", "int8")
    assert full.file == bars_file
    assert int8.artefact.num_parameters < full.artefact.num_parameters / 2
    assert int8.artefact.stored_bytes == int8.file.stat().st_size
    assert full.drop == rows["full-onnx"].drop == 0
    assert int8.drop is not None
    assert int8.drop <= 0.05
    assert full.score == pytest.approx(0.8)


def test_a_result_survives_json(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    config = CompressConfig(steps=(StepEntry(quantize=QuantizeStep()),), score=SCORE)
    result = run(bars, bars_file, tmp_path, config)

    text = json.dumps(result.to_json(), allow_nan=False)

    assert CompressResult.from_json(json.loads(text)) == result


def test_an_interrupted_run_goes_on_with_the_first_missing_file(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    whole = run(bars, bars_file, tmp_path / "whole")
    folder = tmp_path / "interrupted"

    with pytest.raises(KeyboardInterrupt):
        run(bars, bars_file, folder, observer=StopsAt("int8"))
    made_at = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    resumed = run(bars, bars_file, folder)

    assert all((folder / name).stat().st_mtime_ns == time for name, time in made_at.items())
    assert [v.artefact.quality for v in resumed.variants] == [v.artefact.quality for v in whole.variants]
    assert (folder / "int8.onnx").read_bytes() == (tmp_path / "whole" / "int8.onnx").read_bytes()


def test_a_changed_file_and_what_follows_a_changed_setting_are_made_again(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    run(bars, bars_file, tmp_path)
    good = (tmp_path / "pruned.onnx").read_bytes()
    (tmp_path / "pruned.onnx").write_bytes(good[:-1] + b"?")
    milder = CompressConfig(steps=(STEPS[0], StepEntry(distill=DistillStep(epochs=1))), score=SCORE)

    result = run(bars, bars_file, tmp_path, milder)

    assert (tmp_path / "pruned.onnx").read_bytes() == good
    assert result.variant("distilled").artefact.note.startswith("1 epochs at T = 4")


def test_integers_in_and_a_metric_that_should_be_low(
    symbols: Task, symbols_file: Path, tmp_path: Path
) -> None:
    config = CompressConfig(
        max_accuracy_drop=0.2,
        steps=(StepEntry(quantize=QuantizeStep()),),
        score={"metric": 1.0, "stored_bytes": -0.2},
    )

    result = run(symbols, symbols_file, tmp_path, config, metric_direction="lower")

    full, int8 = result.variant("full"), result.variant("int8")
    lost = (
        int8.artefact.quality.validation["bits_per_symbol"]
        - full.artefact.quality.validation["bits_per_symbol"]
    )
    assert result.chosen == "int8"
    assert int8.drop == pytest.approx(lost)
    assert int8.artefact.note == "dynamic quantization"
    assert full.artefact.quality.interval is not None
    assert full.artefact.quality.interval.method == "batches"


def test_no_variant_may_qualify_and_that_is_a_result(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    config = CompressConfig(
        max_accuracy_drop=0.0, steps=(StepEntry(prune=PruneStep(channels=0.9)),), score=SCORE
    )

    result = run(bars, bars_file, tmp_path, config)

    assert result.chosen is None
    assert result.reason.startswith("No variant qualifies")


def test_a_score_of_an_unknown_metric_is_refused_before_anything_is_made(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(UnknownScoreTermError, match="'f1'"):
        run(bars, bars_file, tmp_path, CompressConfig(steps=STEPS, score={"f1": 1.0}))

    assert not list(tmp_path.glob("*.onnx"))


def test_progress_rises_to_its_end(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    observer = RecordingObserver()

    run(bars, bars_file, tmp_path, observer=observer)

    done = [heard[1] for heard in observer.heard]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == observer.heard[-1][2]


def test_a_model_file_of_another_model_is_refused(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    tensors: Mapping[str, torch.Tensor] = load_file(bars_file)
    save_file({f"other.{name}": value for name, value in tensors.items()}, tmp_path / "other.safetensors")

    with pytest.raises(ModelFileError, match=r"other\.safetensors does not fit"):
        load_full_model(bars, tmp_path / "other.safetensors")


def test_repeated_steps_get_numbered_names() -> None:
    config = CompressConfig(steps=(STEPS[0], STEPS[1], STEPS[0], STEPS[1], STEPS[2]))

    assert variant_names(config) == ["pruned", "distilled", "pruned-2", "distilled-2", "int8"]

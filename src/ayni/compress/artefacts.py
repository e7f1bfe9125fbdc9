"""The files of compression, made one after the other; a finished one is never made again.

Beside each file lies a record (`int8.json`) with the hash of the file, of what it was made from, and its
quality. A run that was killed finds the records, proves the hashes, and goes on with the first file that
is missing, torn or made from something else.

Not covered: going on in the middle of a distillation.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.compress.calibration import model_inputs
from ayni.compress.config import DistillStep, PruneStep, QuantizeStep, Step
from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_quantize import quantize_onnx
from ayni.compress.deploy.runtimes import OnnxRuntime, Runtime, TorchRuntime
from ayni.compress.evidence.evaluate import evaluate_split, metric_interval
from ayni.compress.inputs import ModelInputs, one_by_one
from ayni.compress.retrain.distill import distill
from ayni.compress.structure.channels import count_parameters, prune_channels
from ayni.compress.variants import Artefact, Quality
from ayni.errors import AyniError
from ayni.files import explain_os_errors, read_json, sha256_of_file, write_json
from ayni.task import Task, TaskFailedError

NUM_CHECK_EXAMPLES = 9
NUM_CALIBRATION_EXAMPLES = 256
OnStep = Callable[[int, int], None]


class ModelFileError(AyniError):
    """The trained model's file cannot be loaded into the task's model."""

    def __init__(self, *, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(
            f"{file} does not fit what the task's build_model() makes: {reason}. Train again, or put back "
            "the task that this model was trained with."
        )


def load_full_model(task: Task, file: Path) -> nn.Module:
    """The trained model, on the CPU, in evaluation mode.

    Raises:
        TaskFailedError: build_model raised.
        ModelFileError: missing or unreadable file, or other names or shapes than the model's.
    """
    from safetensors.torch import load_model

    try:
        model = task.build_model()
    except Exception as error:
        raise TaskFailedError(method="build_model", cause=error) from error
    try:
        load_model(model, file, strict=True)
    except Exception as error:  # safetensors raises its own, torch's and the system's errors.
        raise ModelFileError(file=file, reason=str(error)) from error
    return model.eval()


class ArtefactMaker:
    """Makes the artefacts of one pipeline, in order, and keeps the model that the next step changes."""

    def __init__(
        self, task: Task, model_path: Path, *, seed: int, folder: Path, device: torch.device
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._task, self._model_path, self._seed, self._folder = task, model_path, seed, folder
        self._device = device
        self._teacher = load_full_model(task, model_path)
        self._student = load_full_model(task, model_path)
        self._history: list[Any] = [sha256_of_file(model_path), seed]
        self._checks = model_inputs(
            task, self._teacher, split="validation", num_examples=NUM_CHECK_EXAMPLES, batch_size=3
        )
        self._metric: str | None = None
        self._latest = folder / "full.onnx"

    @property
    def examples(self) -> Sequence[ModelInputs]:
        """A few real inputs, each with a batch dimension of 1."""
        return one_by_one(self._checks)

    def runtime(self, artefact: Artefact) -> Runtime:
        """The artefact, ready for inference on the CPU."""
        return TorchRuntime(self._teacher) if artefact.runtime == "torch" else OnnxRuntime(artefact.file)

    def full(self) -> Artefact:
        """The trained model as it is, run by torch. First of all: the others need its metric's name."""
        artefact = self._artefact("full", self._model_path, lambda: "as trained, run by torch")
        self._metric = next(iter(artefact.quality.validation))
        return artefact

    def full_onnx(self) -> Artefact:
        """The trained model, exported: what the other runtime alone is worth."""
        return self._artefact("full-onnx", self._latest, lambda: self._export(self._latest))

    def add(self, name: str, step: Step, on_step: OnStep) -> Artefact:
        """The artefact after one more step.

        Raises:
            AyniError: what prune, distill, export and quantize raise.
        """
        self._history.append([type(step).__name__, asdict(step)])
        file = self._folder / f"{name}.onnx"
        if isinstance(step, QuantizeStep):
            source = self._latest
            artefact = self._artefact(
                name, file, lambda: self._quantize(source, file, step), is_candidate=True
            )
        elif isinstance(step, PruneStep):
            # Always done, for it is quick and gives the layers that a distilled file fits into.
            prune_channels(self._student, self._task.example_input(), channels=step.channels)
            artefact = self._artefact(name, file, lambda: self._export(file), is_candidate=True)
        else:
            artefact = self._distilled(name, file, step, on_step)
        self._latest = file
        return artefact

    def _distilled(self, name: str, file: Path, step: DistillStep, on_step: OnStep) -> Artefact:
        from safetensors.torch import load_model, save_model

        weights = self._folder / f"{name}.safetensors"

        def make() -> str:
            loss = distill(
                self._task,
                student=self._student,
                teacher=self._teacher,
                step=step,
                seed=self._seed,
                device=self._device,
                on_step=on_step,
            )
            temporary = weights.with_name(f".{weights.name}.tmp")
            with explain_os_errors(weights):
                save_model(self._student, str(temporary))
                temporary.replace(weights)
            return f"{self._export(file)}; {step.epochs} epochs at T = {step.temperature:g}, loss {loss:.4f}"

        artefact = self._artefact(name, file, make, is_candidate=True, companions=(weights,))
        load_model(self._student, weights)
        return artefact

    def _export(self, file: Path) -> str:
        return f"exported by {export_onnx(self._student, self._checks, file)}"

    def _quantize(self, source: Path, file: Path, step: QuantizeStep) -> str:
        calibration = model_inputs(
            self._task, self._teacher, split="train", num_examples=NUM_CALIBRATION_EXAMPLES
        )
        return f"{quantize_onnx(source, file, step, calibration=calibration)} quantization"

    def _artefact(
        self,
        name: str,
        file: Path,
        make: Callable[[], str],
        *,
        is_candidate: bool = False,
        companions: Sequence[Path] = (),
    ) -> Artefact:
        made_from = hashlib.sha256(json.dumps([name, *self._history]).encode()).hexdigest()
        record_file = self._folder / f"{name}.json"
        record = _valid_record(record_file, made_from=made_from, files=(file, *companions))
        if record is None:
            note = make()
            runtime = TorchRuntime(self._teacher) if file == self._model_path else OnnxRuntime(file)
            record = {
                "made_from": made_from,
                "files": {path.name: sha256_of_file(path) for path in (file, *companions)},
                "note": note,
                "quality": self._quality(runtime).to_json(),
            }
            write_json(record_file, record)
        return Artefact(
            name=name,
            file=file,
            runtime="torch" if file == self._model_path else "onnxruntime",
            is_candidate=is_candidate,
            num_parameters=count_parameters(self._student),
            stored_bytes=file.stat().st_size,
            quality=Quality.from_json(record["quality"]),
            note=record["note"],
        )

    def _quality(self, runtime: Runtime) -> Quality:
        is_reference = self._metric is None
        validation = evaluate_split(self._task, runtime, "validation", is_reference=is_reference)
        test = evaluate_split(self._task, runtime, "test", is_reference=is_reference)
        metric = self._metric or next(iter(validation))
        value = test.get(metric)
        interval = (
            None
            if value is None
            else metric_interval(self._task, runtime, "test", metric=metric, value=value)
        )
        return Quality(validation=validation, test=test, interval=interval)


def _valid_record(file: Path, *, made_from: str, files: Sequence[Path]) -> dict[str, Any] | None:
    """The record, if it speaks of the same origin and every file is unchanged; else None: make it again."""
    if not file.exists() or not all(path.exists() for path in files):
        return None
    try:
        record: dict[str, Any] = read_json(file)
    except ValueError:
        return None
    is_same = record.get("made_from") == made_from and record.get("files") == {
        path.name: sha256_of_file(path) for path in files
    }
    return record if is_same else None

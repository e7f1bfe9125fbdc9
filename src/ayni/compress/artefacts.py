"""The files of compression, made one after the other; a finished one is never made again.

    weights/HASH.safetensors    what a step chose or trained, by the hash of all steps before it
    int8.onnx, int8.json        a variant and its record: hashes, quality, what it took to make

A run that was killed finds the records, proves the hashes, and goes on with the first file that is missing,
torn or made from something else. A step that fails leaves the files of those before it whole.

Not covered: going on in the middle of a training.
"""

import hashlib
import json
import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.compress.config import step_name
from ayni.compress.deploy.runtimes import Runtime, TorchRuntime
from ayni.compress.draft import Draft, OnStep, Workshop, find_values, has_values_to_find, mark, reshape
from ayni.compress.evidence.answers import NoAnswers, RecordedAnswers, changes_between, evaluate_recorded
from ayni.compress.evidence.break_even import EnergyInterval, interval_of_estimate
from ayni.compress.evidence.changes import Changes
from ayni.compress.evidence.evaluate import evaluate_split, metric_interval
from ayni.compress.open_form import open_form
from ayni.compress.ports import EnergyMeter
from ayni.compress.steps import Step
from ayni.compress.stored_forms import Stored, store_by_step, store_model
from ayni.compress.structure.channels import count_parameters
from ayni.compress.variants import MAX_INDICES, Artefact, Quality
from ayni.errors import AyniError
from ayni.files import explain_os_errors, make_folder, read_json, sha256_of_file, write_json
from ayni.task import Task, TaskFailedError

FULL = "full"
FULL_ONNX = "full-onnx"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Files of a variant with their record, which lacks the quality until somebody judges it."""

    name: str
    files: Sequence[Path]
    steps: tuple[Mapping[str, Any], ...]
    record: dict[str, Any]

    @property
    def file(self) -> Path:
        """The one that is opened."""
        return self.files[0]


class ArtefactMaker:
    """Makes variants of one model in one folder, and knows which are there already.

    Args:
        task: gives the model, the data, the loss and the metrics.
        model_path: model.safetensors of the full model; never changed.
        seed: of everything that trains.
        folder: receives the files.
        device: where training computes.
        meter: of what making takes.
        max_drop: what a class or slice may lose before it counts as lost.
        load_model: other teachers, by name.
    """

    def __init__(
        self,
        task: Task,
        model_path: Path,
        *,
        seed: int,
        folder: Path,
        device: torch.device,
        meter: EnergyMeter,
        max_drop: float = 0.0,
        load_model: Callable[[str], nn.Module] | None = None,
    ) -> None:
        make_folder(folder / "weights")
        self._task, self._model_path, self._folder = task, model_path, folder
        self._meter, self._max_drop = meter, max_drop
        self._teacher = load_full_model(task, model_path)
        self._origin = [sha256_of_file(model_path), seed]
        self._metric: str | None = None
        self._onnx: dict[tuple[Step, ...], Path] = {}
        self.shop = Workshop(
            task=task, teacher=self._teacher, seed=seed, device=device, load_model=load_model
        )

    def draft(self) -> Draft:
        """The full model once more, for a pipeline to work on."""
        return Draft(model=load_full_model(self._task, self._model_path))

    def open(self, artefact: Artefact, *, num_threads: int = 1) -> Runtime:
        """The artefact, ready for inference on the CPU."""
        if artefact.name == FULL:
            return TorchRuntime(self._teacher)
        return open_form(artefact.file, artefact.runtime, self._task.build_model, num_threads=num_threads)

    def full(self) -> Artefact:
        """The trained model as it is, run by torch. First of all: the others need its metric's name."""
        stored = Stored(file=self._model_path, runtime="torch", note="as trained, run by torch")
        artefact = self.judge(self._made(FULL, self.draft(), lambda: stored, key=[]))
        self._metric = next(iter(artefact.quality.validation))
        return artefact

    def full_onnx(self) -> Artefact | None:
        """The trained model, exported: what the other runtime alone is worth. None if it has no ONNX form."""
        draft, stem = self.draft(), self._folder / FULL_ONNX
        made = self._made(FULL_ONNX, draft, lambda: store_model(draft, stem, self.shop), key=["onnx"])
        if made.record["runtime"] != "onnxruntime":
            return None
        self._onnx[()] = made.file
        return self.judge(made)

    def change(self, draft: Draft, step: Step, on_step: OnStep) -> str:
        """Do a step that changes the model, or take its result from where it was kept.

        Raises:
            AyniError: what the step raises; the draft is then of no use any more.
        """
        self.shop.on_step = on_step
        notes: list[str] = []

        def shape() -> None:
            if note := reshape(draft, step, self.shop):
                notes.append(note)

        spent = self._metered(shape)
        if has_values_to_find(step):
            mark(draft, step)
            note, spent_on_values = self._kept_values(draft, step)
            notes.append(note)
            spent = _sum(spent, spent_on_values)
        else:
            mark(draft, step)
        draft.making = _sum(draft.making, spent)
        return "; ".join(notes)

    def store(self, draft: Draft, name: str, *, step: Step | None = None, note: str = "") -> Artefact:
        """A variant: the model of the draft as it is, or in the form of a last step.

        Raises:
            AyniError: what export, quantization and packing raise.
        """
        return self.judge(self.make(draft, name, step=step, note=note))

    def make(self, draft: Draft, name: str, *, step: Step | None = None, note: str = "") -> Made:
        """The files of a variant, not evaluated yet; one that was evaluated before is taken as it is.

        Raises:
            AyniError: what export, quantization and packing raise.
        """
        stem = self._folder / name
        steps = steps_json((*draft.steps, step) if step is not None else draft.steps)

        def store() -> Stored:
            if step is None:
                return store_model(draft, stem, self.shop)
            return store_by_step(draft, step, stem, self.shop, onnx=self._onnx.get(draft.steps))

        made = self._made(name, draft, store, key=steps, note=note, steps=steps)
        if step is None and made.record["runtime"] == "onnxruntime":
            self._onnx[draft.steps] = made.file
        return made

    def judge(self, made: Made) -> Artefact:
        """Evaluate a variant on all of both splits, compare its answers, and keep the record."""
        record = made.record
        if "quality" not in record:
            quality, answers = self._quality(self._open(made), is_reference=made.name == FULL)
            changes, reason = (None, "the full model itself") if made.name == FULL else self._changes(answers)
            record["quality"] = quality.to_json()
            record["changes"] = None if changes is None else changes.to_json(max_indices=MAX_INDICES)
            record["no_changes_reason"] = reason
            write_json(self._folder / f"{made.name}.json", record)
        making, found = record["making"], record["changes"]
        return Artefact(
            name=made.name,
            file=made.file,
            companions=tuple(made.files[1:]),
            runtime=record["runtime"],
            is_candidate=made.name not in (FULL, FULL_ONNX),
            num_parameters=record["num_parameters"],
            stored_bytes=sum(file.stat().st_size for file in made.files),
            quality=Quality.from_json(record["quality"]),
            note=record["note"],
            steps=made.steps,
            making=None if making is None else EnergyInterval.from_json(making),
            changes=None if found is None else Changes.from_json(found),
            no_changes_reason=record["no_changes_reason"],
        )

    def quick_metric(self, made: Made | None, *, max_examples: int) -> float | None:
        """The first metric on a part of the validation split, of the full model for None.

        None when it is not finite.
        """
        runtime = TorchRuntime(self._teacher) if made is None else self._open(made)
        metrics = evaluate_split(self._task, runtime, "validation", max_examples=max_examples)
        return metrics.get(self._metric or "")

    def _kept_values(self, draft: Draft, step: Step) -> tuple[str, EnergyInterval | None]:
        from safetensors.torch import load_model, save_model

        made_from = self._hash(steps_json(draft.steps))
        weights = self._folder / "weights" / f"{made_from[:16]}.safetensors"
        record_file = weights.with_suffix(".json")
        record = _valid_record(record_file, made_from=made_from, folder=weights.parent)
        if record is None:
            notes: list[str] = []
            spent = self._metered(lambda: notes.append(find_values(draft, step, self.shop)))
            temporary = weights.with_name(f".{weights.name}.tmp")
            with explain_os_errors(weights):
                save_model(draft.model, str(temporary))
                temporary.replace(weights)
            record = {
                "made_from": made_from,
                "files": {weights.name: sha256_of_file(weights)},
                "note": notes[0],
                "making": None if spent is None else spent.to_json(),
            }
            write_json(record_file, record)
        else:
            load_model(draft.model, weights)
        making = record["making"]
        return record["note"], None if making is None else EnergyInterval.from_json(making)

    def _made(
        self,
        name: str,
        draft: Draft,
        store: Callable[[], Stored],
        *,
        key: Sequence[Any],
        note: str = "",
        steps: Sequence[Mapping[str, Any]] = (),
    ) -> Made:
        made_from = self._hash([name, *key])
        record = _valid_record(self._folder / f"{name}.json", made_from=made_from, folder=self._folder)
        if record is None:
            record = self._make_record(draft, store, made_from=made_from, note=note)
        files = [Path(os.path.normpath(self._folder / path)) for path in record["files"]]
        return Made(name=name, files=files, steps=tuple(steps), record=record)

    def _make_record(
        self, draft: Draft, store: Callable[[], Stored], *, made_from: str, note: str
    ) -> dict[str, Any]:
        kept: list[Stored] = []
        spent = self._metered(lambda: kept.append(store()))
        stored = kept[0]
        making = _sum(draft.making, spent)
        return {
            "made_from": made_from,
            # Relative to the folder, so that a run may be moved; the first is the one that is opened.
            "files": {
                os.path.relpath(path, self._folder): sha256_of_file(path)
                for path in (stored.file, *stored.companions)
            },
            "runtime": stored.runtime,
            "num_parameters": count_parameters(draft.model),
            "note": "; ".join(part for part in (note, stored.note) if part),
            "making": None if making is None else making.to_json(),
        }

    def _open(self, made: Made) -> Runtime:
        if made.name == FULL:
            return TorchRuntime(self._teacher)
        return open_form(made.file, made.record["runtime"], self._task.build_model)

    def _quality(
        self, runtime: Runtime, *, is_reference: bool
    ) -> tuple[Quality, RecordedAnswers | NoAnswers]:
        validation = evaluate_split(self._task, runtime, "validation", is_reference=is_reference)
        test, answers = evaluate_recorded(self._task, runtime, "test", is_reference=is_reference)
        metric = self._metric or next(iter(validation))
        value = test.get(metric)
        interval = (
            None
            if value is None
            else metric_interval(self._task, runtime, "test", metric=metric, value=value)
        )
        return Quality(validation=validation, test=test, interval=interval), answers

    def _changes(self, after: RecordedAnswers | NoAnswers) -> tuple[Changes | None, str]:
        before = self._full_answers
        for answers in (before, after):
            if isinstance(answers, NoAnswers):
                return None, answers.reason
        return changes_between(before, after, max_drop=self._max_drop), ""

    @cached_property
    def _full_answers(self) -> RecordedAnswers | NoAnswers:
        return evaluate_recorded(self._task, TorchRuntime(self._teacher), "test")[1]

    def _metered(self, work: Callable[[], object]) -> EnergyInterval | None:
        def once() -> int:
            work()
            return 1

        return interval_of_estimate(self._meter.measure(once))

    def _hash(self, key: Sequence[Any]) -> str:
        return hashlib.sha256(json.dumps([*self._origin, *key]).encode()).hexdigest()


def steps_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as entries of a job."""
    return [{step_name(step): asdict(step)} for step in steps]


def _sum(one: EnergyInterval | None, other: EnergyInterval | None) -> EnergyInterval | None:
    """Both together; None, and never a part, when one is unknown."""
    if one is None or other is None:
        return None
    return EnergyInterval(
        low_joules=one.low_joules + other.low_joules,
        joules=one.joules + other.joules,
        high_joules=one.high_joules + other.high_joules,
    )


def _valid_record(file: Path, *, made_from: str, folder: Path) -> dict[str, Any] | None:
    """The record, if it speaks of the same origin and every file is unchanged; else None: make it again."""
    if not file.exists():
        return None
    try:
        record: dict[str, Any] = read_json(file)
    except ValueError:
        return None
    files = {name: folder / name for name in record.get("files", {})}
    if record.get("made_from") != made_from or not all(path.exists() for path in files.values()):
        return None
    is_whole = all(sha256_of_file(path) == record["files"][name] for name, path in files.items())
    return record if is_whole else None

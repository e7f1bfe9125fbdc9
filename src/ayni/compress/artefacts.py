"""The files of a torch model's compression, made one after the other; a finished one is never made again.

    weights/HASH.safetensors    what a step chose or trained, by the hash of all steps before it
    int8.onnx, int8.json        a variant and its record, see ayni.compress.records

A step that fails leaves the files of those before it whole.

Not covered: going on in the middle of a training.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ayni.compress.deploy.openvino_variants import OpenVinoRuntime
from ayni.compress.deploy.runtimes import OnnxRuntime, Runtime, TorchRuntime
from ayni.compress.draft import Draft, OnStep, Workshop, find_values, has_values_to_find, mark, reshape
from ayni.compress.evidence.break_even import EnergyInterval
from ayni.compress.inputs import ModelInputs, one_by_one
from ayni.compress.judge import Judge
from ayni.compress.open_form import open_form
from ayni.compress.ports import EnergyMeter
from ayni.compress.records import (
    FULL,
    Made,
    Records,
    Stored,
    steps_json,
    sum_of_energies,
    valid_record,
)
from ayni.compress.steps import Step
from ayni.compress.stored_forms import store_by_step, store_model
from ayni.compress.structure.channels import count_parameters
from ayni.compress.variants import Artefact
from ayni.errors import AyniError
from ayni.files import explain_os_errors, make_folder, sha256_of_file, write_json
from ayni.task import Task, TaskFailedError

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
        self._teacher = load_full_model(task, model_path)
        self._records = Records(folder, origin=[sha256_of_file(model_path), seed], meter=meter)
        self._judge = Judge(task, self._records, self._open, max_drop=max_drop)
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

    def inputs(self, batch_size: int) -> list[ModelInputs]:
        """Real inputs: all that are shown, one by one, or one batch of more.

        A batch is of those examples that have the shape of the first, repeated as needed.
        """
        singles = one_by_one(self.shop.shown)
        if batch_size == 1:
            return singles
        alike = [single for single in singles if _shapes(single) == _shapes(singles[0])]
        return [ModelInputs.joined([alike[index % len(alike)] for index in range(batch_size)])]

    def opener(self, artefact: Artefact) -> Callable[[], Runtime] | None:
        """Opens the artefact in another process; None for forms that need the task's code."""
        if artefact.runtime == "onnxruntime":
            return partial(OnnxRuntime, artefact.file)
        return partial(OpenVinoRuntime, artefact.file) if artefact.runtime == "openvino" else None

    def full(self) -> Artefact:
        """The trained model as it is, run by torch. First of all: the others need its metric's name."""
        stored = Stored(file=self._model_path, runtime="torch", note="as trained, run by torch")
        return self.judge(self._made(FULL, self.draft(), lambda: stored, key=[]))

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

        spent = self._records.metered(shape)
        if has_values_to_find(step):
            mark(draft, step)
            note, spent_on_values = self._kept_values(draft, step)
            notes.append(note)
            spent = sum_of_energies(spent, spent_on_values)
        else:
            mark(draft, step)
        draft.making = sum_of_energies(draft.making, spent)
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
        return self._judge.judge(made, is_candidate=made.name != FULL_ONNX)

    def quick_metric(self, made: Made | None, *, max_examples: int) -> float | None:
        """The first metric on a part of the validation split, of the full model for None.

        None when it is not finite.
        """
        return self._judge.quick_metric(made, max_examples=max_examples)

    def _kept_values(self, draft: Draft, step: Step) -> tuple[str, EnergyInterval | None]:
        from safetensors.torch import load_model, save_model

        made_from = self._records.hash_of(steps_json(draft.steps))
        weights = self._folder / "weights" / f"{made_from[:16]}.safetensors"
        record_file = weights.with_suffix(".json")
        record = valid_record(record_file, made_from=made_from, folder=weights.parent)
        if record is None:
            notes: list[str] = []
            spent = self._records.metered(lambda: notes.append(find_values(draft, step, self.shop)))
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
        return self._records.made(
            name,
            store,
            key=key,
            num_parameters=count_parameters(draft.model),
            spent_before=draft.making,
            note=note,
            steps=steps,
        )

    def _open(self, made: Made) -> Runtime:
        if made.name == FULL:
            return TorchRuntime(self._teacher)
        return open_form(made.file, made.record["runtime"], self._task.build_model)


def _shapes(batch: ModelInputs) -> list[torch.Size]:
    return [tensor.shape for tensor in batch.tensors.values()]

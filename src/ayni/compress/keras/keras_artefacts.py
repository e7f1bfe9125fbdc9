"""The variants of a Keras model in a folder, made one after the other; a finished one is never made again.

    full            the weights as trained, run by Keras, compiled
    full-litert     the same in LiteRT: what the other runtime alone is worth
    int8, ...       the forms of keras_forms.py

All sizes are without an optimizer's state, which no file here holds.

Not covered: steps that train; sparse and clustered models of tf_keras (tfmot_steps.py).
"""

from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.draft import NO_ENERGY, NUM_SHOWN_EXAMPLES
from ayni.compress.judge import Judge
from ayni.compress.keras.keras_forms import KerasForm
from ayni.compress.keras.keras_inputs import joined, keras_inputs, one_by_one
from ayni.compress.keras.keras_quantize import (
    KERAS_SUFFIX,
    KerasQuantizationMode,
    keras_version,
    quantize_keras,
    save_keras_weights,
)
from ayni.compress.keras.keras_runtime import KerasRuntime, build_trained, open_quantized
from ayni.compress.keras.litert import LiteRtForm, LiteRtRuntime
from ayni.compress.keras.litert_conversion import CannotConvertError, convert_keras
from ayni.compress.ports import EnergyMeter
from ayni.compress.records import FULL, Made, Records, Stored, steps_json
from ayni.compress.variants import Artefact
from ayni.files import sha256_of_file
from ayni.keras_weights import count_parameters
from ayni.task import Task

FULL_LITERT = "full-litert"
NUM_CALIBRATION_EXAMPLES = 128
"""Ranges of activations settle with some hundred examples; each more costs one run."""


class KerasArtefactMaker:
    """Makes variants of one Keras model in one folder. Fulfils ayni.compress.trials.Judges.

    Args:
        task: gives the model, the data and the metrics.
        model_path: model.safetensors of the full model; never changed.
        seed: of the job.
        folder: receives the files.
        meter: of what making takes.
        max_drop: what a class or slice may lose before it counts as lost.

    Raises:
        TaskFailedError: build_model or example_input raised.
        DamagedWeightsError: the file does not fit.
    """

    def __init__(
        self,
        task: Task,
        model_path: Path,
        *,
        seed: int,
        folder: Path,
        meter: EnergyMeter,
        max_drop: float = 0.0,
    ) -> None:
        self._task, self._model_path, self._folder = task, model_path, folder
        self._model = build_trained(task, model_path)
        self._num_parameters = count_parameters(self._model)
        self._records = Records(folder, origin=[sha256_of_file(model_path), seed, "keras"], meter=meter)
        self._judge = Judge(task, self._records, self._open, max_drop=max_drop, takes_arrays=True)
        self._judged: dict[str, Made] = {}
        self._compiled: dict[str, KerasRuntime] = {}

    def full(self) -> Artefact:
        """The trained model as it is, run by Keras. First of all: the others need its metric's name."""
        stored = Stored(file=self._model_path, runtime="keras", note="as trained, run by Keras")
        return self.judge(self._made(FULL, lambda: stored, key=[]))

    def full_litert(self) -> Artefact | None:
        """The trained model in LiteRT; None if it has no such form."""
        try:
            made = self._made(FULL_LITERT, partial(self._converted, FULL_LITERT, "float32"), key=["float32"])
        except CannotConvertError:
            return None
        return self.judge(made)

    def make(self, form: KerasForm) -> Made:
        """The file of a form, not evaluated yet; one that was evaluated before is taken as it is.

        Raises:
            CannotConvertError: LiteRT has no such form of this model.
            CannotQuantizeKerasError, KerasQuantizationFailedError: Keras has none.
            NoModelInputError, TaskFailedError: there are no inputs to calibrate with.
        """
        steps = steps_json([form.step])
        if form.litert is not None:
            store, key = partial(self._converted, form.name, form.litert), steps
        else:
            assert form.mode is not None
            # Another version of Keras may pack codes in another order, and refuses the file.
            store, key = partial(self._quantized, form.name, form.mode), [*steps, {"keras": keras_version()}]
        return self._made(form.name, store, key=key, steps=steps)

    def judge(self, made: Made) -> Artefact:
        """Evaluate a variant on all of both splits, compare its answers, and keep the record."""
        self._judged[made.name] = made
        return self._judge.judge(made, is_candidate=made.name != FULL_LITERT)

    def quick_metric(self, made: Made | None, *, max_examples: int) -> float | None:
        """The first metric on a part of the validation split, of the full model for None."""
        return self._judge.quick_metric(made, max_examples=max_examples)

    def open(self, artefact: Artefact, *, num_threads: int = 1) -> Runtime:
        """A judged artefact, ready for inference; `num_threads` is LiteRT's alone.

        Raises:
            LiteRtFailedError, DamagedKerasFileError: the file is not what it was.
        """
        return self._open(self._judged[artefact.name], num_threads=num_threads)

    def inputs(self, batch_size: int) -> list[Any]:
        """Real inputs: all that are shown, one by one, or one batch of more."""
        singles = one_by_one(self._shown)
        return singles if batch_size == 1 else [joined(singles, batch_size)]

    def opener(self, artefact: Artefact) -> Callable[[], Runtime] | None:
        """Opens a LiteRT file in another process; None for forms that need the task's code.

        Where only TensorFlow brings the interpreter, its memory counts.
        """
        if artefact.runtime != "litert":
            return None
        return partial(LiteRtRuntime, artefact.file, sha256=self._judged[artefact.name].sha256)

    @cached_property
    def _shown(self) -> list[Any]:
        return keras_inputs(
            self._task, self._model, split="validation", num_examples=NUM_SHOWN_EXAMPLES, batch_size=3
        )

    def _made(
        self,
        name: str,
        store: Callable[[], Stored],
        *,
        key: list[Any],
        steps: list[dict[str, Any]] | None = None,
    ) -> Made:
        return self._records.made(
            name,
            store,
            key=key,
            num_parameters=self._num_parameters,
            spent_before=NO_ENERGY,
            steps=steps or [],
        )

    def _converted(self, name: str, form: LiteRtForm) -> Stored:
        file = self._folder / f"{name}.tflite"
        calibration: list[Any] = []
        if form == "int8":
            calibration = keras_inputs(
                self._task, self._model, split="train", num_examples=NUM_CALIBRATION_EXAMPLES
            )
        done = convert_keras(
            self._model,
            self._task.example_input(),
            {form: file},
            calibration=calibration,
            shown=self._shown,
        )
        if form in done.refused:
            raise CannotConvertError(f"as {form}: {done.refused[form]}")
        difference = done.made[form].largest_difference
        note = f"LiteRT {form}, output differs by {difference:.2g} of its scale"
        return Stored(file=file, runtime="litert", note=note)

    def _quantized(self, name: str, mode: KerasQuantizationMode) -> Stored:
        model = build_trained(self._task, self._model_path)
        done = quantize_keras(model, mode)
        file = self._folder / f"{name}{KERAS_SUFFIX}"
        save_keras_weights(model, file, quantization=done)
        left = f", {len(done.skipped)} as they were" if done.skipped else ""
        note = f"{len(done.layers)} layers in Keras' {mode}{left}; for size, not for speed"
        return Stored(file=file, runtime="keras", note=note)

    def _open(self, made: Made, *, num_threads: int = 1) -> Runtime:
        if made.record["runtime"] == "litert":
            return LiteRtRuntime(made.file, num_threads=num_threads, sha256=made.sha256)
        # Compiled once: another runtime of the same model would be compiled anew.
        if made.sha256 not in self._compiled:
            is_full = made.name == FULL
            opened = KerasRuntime(self._model) if is_full else open_quantized(self._task, made.file)
            self._compiled[made.sha256] = opened
        return self._compiled[made.sha256]

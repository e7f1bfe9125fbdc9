"""Train a generator's task by the same rounds as any model: in this process, or on a cluster.

Small generators train in this process with one learner or a few that take turns; the pool's workers get the
task as a file (`write_task_folder`), since they can import nothing from here.

Not covered: going on with a generator's training after a stop; it begins anew.
"""

import json
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import safetensors.torch
from safetensors.numpy import load_file, save_file

from ayni.data.generation.generator import Train, TrainedNetwork
from ayni.data.generation.generator_card import hash_of
from ayni.data.generation.generator_settings import GeneratorSettings, Kind
from ayni.data.generation.generator_task import GeneratorTask
from ayni.data.generation.input_form import InputForm
from ayni.data.records import Records
from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.engine import Engine
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.result import Observer, SilentObserver
from ayni.train.training import MODEL_FILE, train

HERE = "here"
MAX_ROUNDS = 12
# Name of the task in its module, and of the files beside it.
TASK_MODULE, TASK_OBJECT = "generator_task.py", "task"
RECORDS_FILE, SETTINGS_FILE = "records.safetensors", "settings.json"
_MODULE_TEXT = '''"""A generator to be trained. The hash makes it another task when the data change."""

from pathlib import Path

from ayni.workflows.train_generator import read_task_folder

RECORDS_SHA256 = "{records_sha256}"
SETTINGS = {settings!r}


def task():
    return read_task_folder(Path(__file__).parent)
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorTraining:
    """How much a neural generator is trained. Fields as in TrainConfig, whose other defaults stay.

    More steps make better examples, and examples that give more away of those that they were made of.
    """

    steps: int = 1500
    learners: int = 1
    batch_size: int = 64
    learning_rate: float = 1e-3
    engine: str = HERE
    """"here" is this process; else as in TrainConfig."""

    def config(self, kind: Kind) -> TrainConfig:
        """For the rounds: each learner takes its share of the steps.

        One learner needs no outer step, and of the two players of a gan neither: its momentum carries
        each past the other (the distance after training was six times that of plain averages). Else less
        momentum than DiLoCo's 0.9, which takes more rounds to settle.
        """
        own_steps = max(1, round(self.steps / self.learners))
        rounds = max(1, min(MAX_ROUNDS, own_steps // 10))
        is_plain = self.learners == 1 or kind == "gan"
        return TrainConfig(
            learners=self.learners,
            rounds=rounds,
            local_steps=max(1, round(own_steps / rounds)),
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            outer_learning_rate=1.0,
            outer_momentum=0.0 if is_plain else 0.6,
            codec="fp32" if self.learners == 1 else "int8",
            device="cpu" if self.engine == HERE else "auto",
            engine="local" if self.engine == HERE else self.engine,
            checkpoint_every=rounds,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _HeldTask:
    """A task at hand in the place of a reference to one; good for engines of this process only."""

    task: GeneratorTask
    sha256: str = ""
    is_built: bool = True

    def load(self) -> GeneratorTask:
        return self.task


def train_here(training: GeneratorTraining, *, observer: Observer | None = None) -> Train:
    """A trainer for `fit_generator`: rounds in this process, learners taking turns on one thread."""

    def run(task: GeneratorTask, seed: int) -> TrainedNetwork:
        # Engines of this process ask no more of a reference than load().
        reference = cast(TaskReference, _HeldTask(task=task))
        return _trained(
            task,
            reference,
            training.config(task.kind),
            seed=seed,
            engine=InProcessEngine(),
            observer=observer,
        )

    return run


def train_on_pool(
    training: GeneratorTraining,
    records: Records,
    settings: GeneratorSettings,
    *,
    held_out: Records | None,
    make_engine: Callable[[TrainConfig], AbstractContextManager[Engine]],
    folder: Path,
    observer: Observer | None = None,
) -> Train:
    """A trainer whose learners are the workers of a cluster. `folder` must be seen by all of them."""

    def run(task: GeneratorTask, seed: int) -> TrainedNetwork:
        reference = write_task_folder(folder, records, settings, held_out=held_out)
        with make_engine(training.config(settings.kind)) as engine:
            return _trained(
                task, reference, training.config(task.kind), seed=seed, engine=engine, observer=observer
            )

    return run


def _trained(
    task: GeneratorTask,
    reference: TaskReference,
    config: TrainConfig,
    *,
    seed: int,
    engine: Engine,
    observer: Observer | None,
) -> TrainedNetwork:
    with tempfile.TemporaryDirectory(prefix="ayni-generator-") as scratch:
        result = train(
            reference,
            config,
            seed=seed,
            folder=Path(scratch) / "train",
            spill_folder=Path(scratch) / "spill",
            engine=engine,
            observer=observer or SilentObserver(),
        )
        network = task.build_model()
        network.load_state_dict(safetensors.torch.load_file(Path(scratch) / "train" / MODEL_FILE))
    return TrainedNetwork(network=network.eval(), metrics=result.metrics)


def write_task_folder(
    folder: Path, records: Records, settings: GeneratorSettings, *, held_out: Records | None = None
) -> TaskReference:
    """A task in files, for engines whose workers are other processes. It holds the data: keep it private."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"inputs": records.inputs, "labels": records.labels}
    if held_out is not None:
        arrays |= {"held_out_inputs": held_out.inputs, "held_out_labels": held_out.labels}
    save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, folder / RECORDS_FILE)
    settings_json = json.dumps(settings.to_json())
    (folder / SETTINGS_FILE).write_text(settings_json, encoding="utf-8")
    text = _MODULE_TEXT.format(records_sha256=hash_of(records), settings=settings_json)
    (folder / TASK_MODULE).write_text(text, encoding="utf-8")
    return TaskReference(module_path=folder / TASK_MODULE, object_name=TASK_OBJECT)


def read_task_folder(folder: Path) -> GeneratorTask:
    """The task that `write_task_folder` wrote."""
    arrays = load_file(folder / RECORDS_FILE)
    settings = GeneratorSettings.from_json(json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8")))
    records = Records(inputs=arrays["inputs"], labels=arrays["labels"])
    held_out = None
    if "held_out_inputs" in arrays:
        held_out = Records(inputs=arrays["held_out_inputs"], labels=arrays["held_out_labels"])
    form = InputForm.of(records, category_columns=settings.category_columns)
    return GeneratorTask(settings, form, num_classes=records.num_classes, records=records, held_out=held_out)

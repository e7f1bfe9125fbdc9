"""Train shadow models by a job's own recipe, on other records.

The same rounds, steps, batches and rates as the job's training, with its learners one after the other in this
process; only the training examples and the seed differ.

Not covered: shadow models on a cluster; sixteen trainings on one core take sixteen times as long as the job.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ayni.compress.artefacts import load_full_model
from ayni.data.audit.shadows import Predict
from ayni.data.records import Records
from ayni.task import Task, TaskReference
from ayni.train.config import TrainConfig
from ayni.train.in_process_engine import InProcessEngine
from ayni.train.local import one_thread
from ayni.train.result import SilentObserver
from ayni.train.training import train

_ROWS_AT_ONCE = 512


class OnRecords:
    """A task with other training examples; everything else is the task's own."""

    def __init__(self, task: Task, examples: Sequence[Any]) -> None:
        self._task, self._examples = task, examples

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def dataset(self, split: str) -> Sequence[Any]:
        """The given examples as "train"; validation and test stay."""
        return self._examples if split == "train" else self._task.dataset(split)


class _Held:
    """A task that is there already, where training asks for a reference to one."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def load(self) -> Any:
        return self._task


class _Examples(Sequence[Any]):
    """Records as pairs of tensors, in the input type that the task's model takes."""

    def __init__(self, records: Records, dtype: torch.dtype) -> None:
        self._inputs = torch.from_numpy(records.inputs).to(dtype)
        self._labels = torch.from_numpy(records.labels)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, row: Any) -> Any:
        return self._inputs[row], self._labels[row]


class ShadowTraining:
    """Trains a task's model on given records. Fulfils `ayni.data.audit.shadows.TrainShadow`.

    Args:
        task: What is learned.
        config: The job's training.
        init_path: Weights that the job's training started from.
        check: Called after each training; may raise to stop at a limit.
    """

    def __init__(
        self, task: Task, config: TrainConfig, *, init_path: Path | None, check: Callable[[], None]
    ) -> None:
        self._task, self._init_path, self._check = task, init_path, check
        # Nothing here is resumed, so nothing is checkpointed on the way.
        self._config = replace(config, engine="local", checkpoint_every=config.rounds)
        self._dtype = task.example_input().dtype

    def __call__(self, records: Records, *, seed: int) -> Predict:
        """The model that the recipe makes of these records, as class probabilities."""
        with tempfile.TemporaryDirectory(prefix="ayni-shadow-") as folder:
            task = OnRecords(self._task, _Examples(records, self._dtype))
            result = train(
                cast("TaskReference", _Held(task)),
                self._config,
                seed=seed % 2**32,
                folder=Path(folder) / "train",
                spill_folder=Path(folder) / "spill",
                engine=InProcessEngine(),
                observer=SilentObserver(),
                init_path=self._init_path,
            )
            model = load_full_model(self._task, Path(result.model_path))
        self._check()
        return probabilities_of(model, self._dtype)


def probabilities_of(model: nn.Module, dtype: torch.dtype) -> Predict:
    """A model that answers logits [N, C] as a function from arrays to class probabilities.

    Args:
        model: On the CPU, in evaluation mode.
        dtype: What it takes.
    """

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.floating]:
        with torch.no_grad(), one_thread():
            answers = [
                model(torch.from_numpy(inputs[first : first + _ROWS_AT_ONCE]).to(dtype)).double().softmax(-1)
                for first in range(0, len(inputs), _ROWS_AT_ONCE)
            ]
        found: NDArray[np.floating] = torch.cat(answers).numpy()
        return found

    return predict

"""What every tool that compresses gets, and what it hands back: models, data, the clock, a list of files.

    digits    a small network with convolutions on MNIST, trained here     quality: right answers
    encoder   MiniLM as its package has it                                 quality: cosine with its answers

All tools calibrate on the same examples of the training split and look at all of the validation split; the
test split is for `compress_measure` alone. A tool works on one core, beginning with the model in the form
that it takes, which is prepared for all before the clock begins. The clock counts seconds that the process
computed, which on an idle machine are those that passed; it does not run while others have the core. A form
that is ready after the time is up does not count.

Not covered: tools that need more than one process.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from benchmarks.registry import HERE
from benchmarks.small_cnn import SmallCnnDigits
from torch import nn
from torch.nn import functional

from ayni.compress.calibration import model_inputs
from ayni.compress.inputs import ModelInputs, one_by_one
from ayni.task import TaskReference

FULL, FULL_ONNX = "model.safetensors", "full.onnx"
NUM_CALIBRATION_EXAMPLES = 256
TASKS = ("digits", "encoder")


class Model(Protocol):
    """A model in whatever form, called with the model's own inputs."""

    def __call__(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Scores or embeddings of the examples."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A form that a tool made; `opener` says how `compress_measure` opens `file`."""

    name: str
    opener: str
    file: str
    bytes: int
    after_seconds: float
    note: str = ""


@dataclass(slots=True)
class Workbench:
    """One task with the clock of one tool."""

    task_name: str
    folder: Path
    seconds: float
    max_drop: float
    made: list[Made] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.process_time)

    @property
    def spent_seconds(self) -> float:
        return time.process_time() - self.started

    def attempt(self, name: str, work: Callable[[], tuple[str, Path, list[Path], str]]) -> None:
        """Make one form if there is time; what fails, and what comes too late, is noted with its reason.

        `work` gives the opener, the file to open, all files that are needed, and a note.
        """
        if self.spent_seconds >= self.seconds:
            self.problems[name] = "not begun: the time was up"
            return
        try:
            opener, file, files, note = work()
        except Exception as error:  # Tools raise whatever they met; the reason belongs in the table.
            reason = (str(error).strip().splitlines() or [""])[0]
            self.problems[name] = f"{type(error).__name__}: {reason[:300]}"
            return
        after = self.spent_seconds
        if after > self.seconds:
            self.problems[name] = f"ready after {after:.0f} s of {self.seconds:g} s"
            return
        size = sum(each.stat().st_size for each in files)
        self.made.append(
            Made(name=name, opener=opener, file=str(file), bytes=size, after_seconds=after, note=note)
        )

    def report(self, **more: Any) -> None:
        """Print the result as the last line."""
        made = [asdict(each) for each in self.made]
        found = {"made": made, "problems": self.problems, "seconds": self.spent_seconds, **more}
        print(json.dumps(found), flush=True)


def parse_workbench() -> Workbench:
    """The command line of a tool; from here on the process has one core and one thread, and time runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--max-drop", type=float, required=True)
    arguments = parser.parse_args()
    one_core()
    return Workbench(arguments.task, arguments.folder, arguments.seconds, arguments.max_drop)


def one_core() -> None:
    """Keep to one core: not every tool can be told the number of its threads."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    torch.set_num_threads(1)


def build_task(name: str) -> Any:
    """The small CNN on MNIST, or the sentence encoder of the examples."""
    if name == "digits":
        return SmallCnnDigits()
    path = HERE.parent / "examples" / "sentence_encoder" / "task.py"
    return TaskReference(module_path=path, object_name="Encoder").load()


def load_full(task: Any, folder: Path) -> nn.Module:
    """The full model with its trained weights, in evaluation mode."""
    from safetensors.torch import load_model

    model: nn.Module = task.build_model()
    load_model(model, folder / FULL)
    return model.eval()


def calibration(task: Any, model: nn.Module) -> list[ModelInputs]:
    """Calls with one example each, of the training split."""
    return one_by_one(model_inputs(task, model, split="train", num_examples=NUM_CALIBRATION_EXAMPLES))


def qualities(
    model: Model, full: nn.Module, examples: list[ModelInputs], labels: list[int] | None
) -> list[float]:
    """Of each example: 1 or 0 for right and wrong; without labels the cosine with the full model's answer."""
    found = []
    with torch.no_grad():
        for index, example in enumerate(examples):
            answer = torch.as_tensor(example.run(model)).float()
            if labels is not None:
                found.append(float(int(answer.argmax()) == labels[index]))
            else:
                found.append(float(functional.cosine_similarity(answer, example.run(full))))
    return found


def split_of(
    task: Any, task_name: str, full: nn.Module, split: str
) -> tuple[list[ModelInputs], list[int] | None]:
    """All examples of a split as calls with one example each, and their labels where there are some."""
    dataset = task.dataset(split)
    inputs = one_by_one(model_inputs(task, full, split=split, num_examples=len(dataset)))
    return inputs, [int(label) for _, label in dataset] if task_name == "digits" else None


def validation_metric(workbench: Workbench, task: Any, full: nn.Module) -> Callable[[Model], float]:
    """Mean quality on the validation split."""
    examples, labels = split_of(task, workbench.task_name, full, "validation")

    def metric(model: Model) -> float:
        found = qualities(model, full, examples, labels)
        return sum(found) / len(found)

    return metric


def files_in(folder: Path) -> Iterator[Path]:
    """All files below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())

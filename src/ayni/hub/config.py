"""`config.json` of a published model: what its weights need to be used, by Ayni and by others.

Keys that other programs understand stand at the top (`architectures`, `labels`, `input_shape`); what only
Ayni reads stands under `ayni`.

Not covered: the configuration classes of other libraries; a model is built by the task's own code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ayni.errors import AyniError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
FULL = "full"

PipelineTag = Literal[
    "image-classification", "tabular-classification", "text-classification", "text-generation", "other"
]
Library = Literal["pytorch", "keras"]


class UnusableConfigError(AyniError):
    """`config.json` does not say how to use the model."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path} does not describe a model that Ayni can use: {reason}. Choose a revision that `ayni "
            "run` published."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """How to use a published model.

    Attributes:
        task: where the model's code is, as `module:object`; `module.py` lies in the repository.
        task_sha256: hash of that file.
        architecture: name of the model's class, for readers.
        library: whose the model is, in the words of the Hugging Face Hub.
        input_shape: shape of one example, without the batch dimension.
        input_dtype: numpy's name of the input's type.
        value_range: the values that black (0) and white (255) of an image file become.
        labels: names of the classes in the order of the outputs; None when the outputs are no classes. For
            text-generation the vocabulary: what each number in the input and each output stands for.
        pipeline_tag: what the model does, in the words of the Hugging Face Hub.
        variants: name of each variant -> its file in the repository.
        chosen: the variant to use when nobody asks for another; None means the full model.
        run: id of the run that made it.
    """

    task: str
    task_sha256: str
    architecture: str
    library: Library = "pytorch"
    input_shape: tuple[int, ...]
    input_dtype: str = "float32"
    value_range: tuple[float, float] = (0.0, 1.0)
    labels: tuple[str, ...] | None = None
    pipeline_tag: PipelineTag = "other"
    variants: Mapping[str, str]
    chosen: str | None = None
    run: str | None = None

    def __post_init__(self) -> None:
        module, _, name = self.task.partition(":")
        if not module.isidentifier() or not name.isidentifier():
            raise ValueError(f"the task {self.task!r} is not written as module:object")
        if not self.input_dtype.isalnum():
            raise ValueError(f"{self.input_dtype!r} is not the name of a number type")
        if self.chosen is not None and self.chosen not in self.variants:
            raise ValueError(f"the chosen variant {self.chosen!r} is not one of {sorted(self.variants)}")
        for file in self.variants.values():
            if PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                raise ValueError(f"the variant's file {file!r} is outside the repository")

    @property
    def task_file(self) -> str:
        """The file in the repository that holds the model's code."""
        return f"{self.task.partition(':')[0]}.py"

    @property
    def task_object(self) -> str:
        """The name of the task inside its file."""
        return self.task.partition(":")[2]

    def to_json(self) -> dict[str, Any]:
        """The content of `config.json`."""
        return {
            "architectures": [self.architecture],
            "input_shape": list(self.input_shape),
            "input_dtype": self.input_dtype,
            "value_range": list(self.value_range),
            "labels": None if self.labels is None else list(self.labels),
            "pipeline_tag": self.pipeline_tag,
            "ayni": {
                "task": self.task,
                "task_sha256": self.task_sha256,
                "library": self.library,
                "variants": dict(self.variants),
                "chosen": self.chosen,
                "run": self.run,
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelConfig":
        """The inverse of `to_json`. A missing or mistyped key raises KeyError, TypeError or ValueError."""
        own = data["ayni"]
        low, high = data["value_range"]
        return cls(
            task=str(own["task"]),
            task_sha256=str(own["task_sha256"]),
            architecture=str(data["architectures"][0]),
            # Revisions from before there were two do not say.
            library=own.get("library", "pytorch"),
            input_shape=tuple(int(size) for size in data["input_shape"]),
            input_dtype=str(data["input_dtype"]),
            value_range=(float(low), float(high)),
            labels=None if data["labels"] is None else tuple(str(label) for label in data["labels"]),
            pipeline_tag=data["pipeline_tag"],
            variants={str(name): str(file) for name, file in own["variants"].items()},
            chosen=own["chosen"],
            run=own["run"],
        )


def read_config(folder: Path) -> ModelConfig:
    """The configuration of the model in `folder`.

    Raises:
        UnusableConfigError: no `config.json`, or it was not written by Ayni.
    """
    path = folder / CONFIG_FILE
    try:
        return ModelConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise UnusableConfigError(path, "there is no such file") from error
    except KeyError as error:
        raise UnusableConfigError(path, f"the key {error} is missing") from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise UnusableConfigError(path, str(error)) from error

"""A task whose data come from the job's source, and whose training batches are augmented.

The user's task is wrapped: `dataset` gives the source's examples, `loss` makes views of the batch while the
model is in training mode, `data_card` says where the data come from; everything else is the task's own.
Validation and test data are never augmented.

What a batch may be: images [N, C, H, W], tokens [N, T] or rows [N, D] with labels [N]; images and tokens
also alone. Random draws come from torch's global generator, which training seeds for each learner and
round: no two learners see the same views, and a round that is tried again sees its own.

Not covered: tasks of Keras with `augment` (put layers such as RandomRotation into the model), examples with
more than two parts.
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ayni.data.augmentation.backends import find_backend
from ayni.data.augmentation.images import AugmentationInputError, augment_labelled_images
from ayni.data.augmentation.mixing import shares_of
from ayni.data.augmentation.policy import AugmentConfig, Policy
from ayni.data.augmentation.tables import augment_rows
from ayni.data.augmentation.text import augment_tokens
from ayni.data.config import DataConfig
from ayni.data.preparation import DataChangedError, DataPreparation
from ayni.data.sources.collection import Collection, SourceError
from ayni.data.sources.file_trees import content_hash, fetched, open_files
from ayni.data.sources.reading import read_collection, rows_of_splits
from ayni.errors import UserError
from ayni.keras_weights import is_keras

DEFAULT_VALUE_RANGE = (0.0, 1.0)
# Values that rounding puts a little beyond the range are no sign of another range.
_RANGE_SLACK = 1e-3
_MISSING = object()


class PreparationError(UserError):
    """The job's `data` do not go with its task."""


class PreparedTask:
    """The user's task with the job's data and augmentation. Fulfils `ayni.task.Task`."""

    def __init__(self, task: Any, preparation: DataPreparation) -> None:
        self._task = task
        self._preparation = preparation
        self._config = preparation.config
        self._augmenter: _Augmenter | None = None
        if self._config.augment is not None:
            self._augmenter = _Augmenter(self._config.augment, self)
        if preparation.brings_data:
            len(
                self._examples.collection
            )  # what is wrong with the data shows now, and not as the task's fault

    def __getattr__(self, name: str) -> Any:
        """Members that a task may have: its own, else what the source knows."""
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self._task, name, _MISSING)
        if found is _MISSING and self._preparation.brings_data:
            if name == "labels":
                return lambda: list(self._examples.collection.classes)
            if name == "feature_names" and self._examples.collection.columns:
                return lambda: list(self._examples.collection.columns)
        if found is _MISSING:
            raise AttributeError(f"the task has no {name!r}")
        return found

    def build_model(self) -> torch.nn.Module:
        """The task's own.

        Raises:
            PreparationError: it is a model of Keras and batches are to be augmented.
        """
        model: torch.nn.Module = self._task.build_model()
        if self._augmenter is not None and is_keras(model):
            raise PreparationError(
                "data.augment works on batches of torch, and this task's model is one of Keras. Remove "
                "data.augment, and put Keras' own layers into the model (RandomRotation, RandomTranslation, "
                "GaussianNoise ...), which are active in training alone."
            )
        return model

    def dataset(self, split: str) -> Sequence[Any]:
        """The source's examples, pairs of an input and a class number; the task's own without a source.

        A task that has `encode(value)` gets each input through it: a text, or an array.
        """
        if not self._preparation.brings_data:
            examples: Sequence[Any] = self._task.dataset(split)
            return examples
        return self._examples.of_split(split, getattr(self._task, "encode", None))

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """The task's loss on views of the batch while the model is in training mode, else on the batch."""
        if self._augmenter is not None and getattr(model, "training", False):
            batch = self._augmenter.views(batch)
            if self._augmenter.policy.mixes_labels:
                return self._loss_of_mixed(model, batch)
        loss: torch.Tensor = self._task.loss(model, batch)
        return loss

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """The task's own."""
        metrics: Mapping[str, float] = self._task.evaluate(model, batches)
        return metrics

    def example_input(self) -> torch.Tensor:
        """The task's own."""
        example: torch.Tensor = self._task.example_input()
        return example

    def data_card(self) -> Mapping[str, Any]:
        """What the source and the job say of the data; the task's own without a source."""
        if not self._preparation.brings_data:
            stated = getattr(self._task, "data_card", None)
            card: Mapping[str, Any] = {} if stated is None else stated()
            return card
        return stated_card(self._config, self._examples.collection, self._preparation.content_sha256)

    @property
    def num_classes(self) -> int:
        """The source's classes, the task's labels, or the highest class of the training split and one."""
        if self._preparation.brings_data:
            return len(self._examples.collection.classes)
        if hasattr(self._task, "labels"):
            return len(self._task.labels())
        return 1 + max(int(label) for _, label in self._task.dataset("train"))

    @property
    def _examples(self) -> "_Examples":
        # A policy holds mappings, which have no hash, and does not change what is read.
        config = dataclasses.replace(self._config, augment=None)
        return _read(config, self._preparation.content_sha256)

    def _loss_of_mixed(self, model: Any, batch: Any) -> torch.Tensor:
        try:
            loss: torch.Tensor = self._task.loss(model, batch)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise PreparationError(
                "The task's loss does not take labels as shares of classes [N, K], which "
                f"{self._augmenter_name} gives ({type(error).__name__}: {error}). torch's cross_entropy "
                "does; or choose a policy that mixes no labels."
            ) from error
        return loss

    @property
    def _augmenter_name(self) -> str:
        assert self._augmenter is not None
        return f"the policy {self._augmenter.policy.name}"


def stated_card(config: DataConfig, collection: Collection, sha256: str | None) -> dict[str, Any]:
    """The fields of a data card that a source and its config tell."""
    stated = {
        "name": config.name or _name_of(config.source or ""),
        "licence": config.licence,
        "source": config.source,
        "attribution": config.attribution,
        "rows": len(collection),
        "classes": len(collection.classes),
        "sha256": sha256,
    }
    return {key: value for key, value in stated.items() if value is not None}


class _Examples:
    """A source in memory, and the rows of its splits."""

    def __init__(self, collection: Collection, config: DataConfig) -> None:
        self.collection = collection
        self._rows = rows_of_splits(collection, config)
        shares = {"train": 1.0, "validation": config.validation_share, "test": config.test_share}
        empty = [split for split, share in shares.items() if share and not len(self._rows[split])]
        if empty:
            raise SourceError(
                str(config.source),
                f"{len(collection)} examples are too few: nothing is left for {' and '.join(empty)}. Add "
                "some, or name splits in the source.",
            )

    def of_split(self, split: str, encode: Any) -> "_Split":
        return _Split(self.collection, self._rows[split], encode)


class _Split(Sequence[Any]):
    """Pairs of an input and a class number, encoded by the task where it says how."""

    def __init__(self, collection: Collection, rows: NDArray[np.int64], encode: Any) -> None:
        self._collection, self._rows, self._encode = collection, rows, encode

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        row = int(self._rows[index])
        value: Any = self._collection.inputs[row]
        if self._encode is not None:
            value = self._encode(value)
        elif not isinstance(value, str):
            value = torch.from_numpy(value)
        return value, int(self._collection.labels[row])


@functools.lru_cache(maxsize=2)
def _read(config: DataConfig, content_sha256: str | None) -> _Examples:
    """The examples; read once in a process for a plan, a training and what follows.

    Raises:
        DataChangedError: the files are not those whose hash is given.
    """
    assert config.source is not None
    files = fetched(open_files(config.source))
    found = content_hash(files)
    if content_sha256 not in (None, found):
        raise DataChangedError(config.source, expected_sha256=str(content_sha256), found_sha256=found)
    return _Examples(read_collection(files, config), config)


class _Augmenter:
    """Views of batches by the job's policy."""

    def __init__(self, config: AugmentConfig, task: PreparedTask) -> None:
        self.policy: Policy = config.made_policy()
        self._config, self._task = config, task
        self._backend = find_backend(config.backend)
        self._is_range_checked = False

    def views(self, batch: Any) -> Any:
        """The batch with `share` of its examples replaced by views; in the form that it has.

        Raises:
            PreparationError: the policy is not for such batches, or values are beyond the task's range.
        """
        inputs, labels = _parts(batch)
        generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
        rows = self._rows(len(inputs), generator)
        try:
            made, made_labels = self._made(
                inputs if rows is None else inputs[rows],
                labels if rows is None or labels is None else labels[rows],
                generator,
            )
        except AugmentationInputError as error:
            raise PreparationError(f"data.augment: {error}") from error
        if rows is not None:
            kept = inputs.clone()
            kept[rows] = made
            made = kept
            if labels is not None and made_labels is not None:
                made_labels = _put(labels, rows, made_labels)
        if made_labels is None:
            return made
        return type(batch)([made, made_labels]) if isinstance(batch, list) else (made, made_labels)

    def _rows(self, num_examples: int, generator: torch.Generator) -> torch.Tensor | None:
        """The examples that are replaced, in order; None for all."""
        if self._config.share == 1:
            return None
        num = round(self._config.share * num_examples)
        return torch.randperm(num_examples, generator=generator)[:num].sort().values

    def _made(
        self, inputs: torch.Tensor, labels: torch.Tensor | None, generator: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if self.policy.kind == "text":
            return augment_tokens(
                inputs, self.policy, pad_token=self._config.pad_token, generator=generator
            ), labels
        if self.policy.kind == "table":
            if labels is None:
                raise AugmentationInputError("Rows of a table need labels beside them.")
            return augment_rows(inputs, labels, self.policy, generator=generator), labels
        value_range = self._value_range(inputs)
        wanted = torch.zeros(len(inputs), dtype=torch.int64) if labels is None else labels
        views, found = augment_labelled_images(
            inputs,
            wanted,
            self.policy,
            num_classes=self._num_classes if self.policy.mixes_labels else 1,
            generator=generator,
            value_range=value_range,
            backend=self._backend,
        )
        return views, None if labels is None else found

    @functools.cached_property
    def _num_classes(self) -> int:
        return self._task.num_classes

    def _value_range(self, inputs: torch.Tensor) -> tuple[float, float]:
        """Black and white of the task's images; the first batch must lie between them."""
        low, high = getattr(self._task, "value_range", DEFAULT_VALUE_RANGE)
        if not self._is_range_checked and inputs.numel():
            least, most = float(inputs.min()), float(inputs.max())
            slack = _RANGE_SLACK * (high - low)
            if least < low - slack or most > high + slack:
                raise PreparationError(
                    f"data.augment: the images reach from {least:.3g} to {most:.3g}, and the task's "
                    f"value_range is ({low:g}, {high:g}). Give the task the attribute `value_range`: what "
                    "black and white are in its inputs."
                )
            self._is_range_checked = True
        return float(low), float(high)


def _parts(batch: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    if isinstance(batch, torch.Tensor):
        return batch, None
    is_pair = isinstance(batch, tuple | list) and len(batch) == 2
    if is_pair and all(isinstance(part, torch.Tensor) for part in batch):
        return batch[0], batch[1]
    raise PreparationError(
        "data.augment needs batches of (inputs, labels), two tensors of torch; the task's batches are "
        f"{type(batch).__name__}. Augment in the task's own loss instead, while `model.training`."
    )


def _put(labels: torch.Tensor, rows: torch.Tensor, made: torch.Tensor) -> torch.Tensor:
    """The labels with those of the views in their rows; all as shares when views have shares."""
    whole = labels.clone()
    if made.ndim == 2:
        whole = shares_of(labels, num_classes=made.shape[1])
    whole[rows] = made
    return whole


def _name_of(source: str) -> str:
    return source.rstrip("/").replace("\\", "/").rsplit("/", 1)[-1] or source

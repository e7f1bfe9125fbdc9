"""A neural generator as a task, so that `ayni.train` trains it like any model, alone or on the pool.

The metric is a distance between made and held-out examples of the same classes, lower is better: the mean
over random directions of the distance between sorted projections (sliced Wasserstein). It tells a collapse
or a divergence; it does not tell whether examples are of use (ayni.data.utility does).

Source: Rabin et al., "Wasserstein Barycenter and its Application to Texture Mixing", SSVM 2011.

Not covered: choosing the best round by the metric, which is noisy on few examples.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from ayni.data.generation.generator_card import CARD_FILE, GeneratorCard
from ayni.data.generation.generator_settings import GeneratorSettings, Kind
from ayni.data.generation.input_form import InputForm
from ayni.data.generation.neural_generators import NeuralGenerator, build_network
from ayni.data.records import Records
from ayni.errors import AyniError

Augment: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
DISTANCE = "sliced_wasserstein"
_NUM_DIRECTIONS = 64
_METRIC_SEED = 20_070


class NoTrainingDataError(AyniError):
    """A published generator is asked for the data that it learned from, which stay where they are."""

    def __init__(self) -> None:
        super().__init__(
            "A published generator holds no examples that it was trained on. Sample from it instead: "
            "generator.sample(num_per_class=100, seed=0)."
        )


class GeneratorTask:
    """Fulfils ayni.task.Task. Without records it only builds the network.

    `augment` changes a batch of inputs [B, ...] in each training step: a generator that never sees an
    example as it is remembers it less.
    """

    def __init__(
        self,
        settings: GeneratorSettings,
        form: InputForm,
        *,
        num_classes: int,
        records: Records | None = None,
        held_out: Records | None = None,
        augment: Augment | None = None,
    ) -> None:
        self._settings, self._form, self._num_classes = settings, form, num_classes
        self._records, self._held_out = records, held_out
        self._augment = augment

    @property
    def kind(self) -> Kind:
        """Of the generator."""
        return self._settings.kind

    def build_model(self) -> NeuralGenerator:
        """The untrained network."""
        return build_network(self._settings, self._form, self._num_classes)

    def dataset(self, split: str) -> Sequence[Any]:
        """Pairs of an encoded input and a class; without held-out records validation is the training set.

        Raises:
            NoTrainingDataError: the task has no records.
        """
        held_out = self._records if self._held_out is None else self._held_out
        records = self._records if split == "train" else held_out
        if records is None:
            raise NoTrainingDataError
        encoded = torch.from_numpy(self._form.encode(records.inputs))
        return list(zip(encoded, records.labels.tolist(), strict=True))

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """The network's own loss."""
        x_BD, labels_B = batch
        if self._augment is not None and model.training:
            x_BD = self._augmented(x_BD)
        loss: torch.Tensor = model.training_loss(x_BD, labels_B)
        return loss

    def _augmented(self, x_BD: torch.Tensor) -> torch.Tensor:
        assert self._augment is not None
        inputs = torch.from_numpy(self._form.decode(x_BD.cpu().numpy()))
        changed = self._form.encode(self._augment(inputs).numpy())
        return torch.from_numpy(changed).to(x_BD.device)

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """Distance between made and real examples of the same classes."""
        pairs = list(batches)
        real_ND = torch.cat([x for x, _ in pairs])
        labels_N = torch.cat([labels for _, labels in pairs])
        generator = torch.Generator().manual_seed(_METRIC_SEED)
        packed = self._packed(labels_N, generator).to(real_ND.device)
        made_ND = model(packed)
        directions = torch.randn(real_ND.shape[1], _NUM_DIRECTIONS, generator=generator).to(real_ND.device)
        directions = directions / directions.norm(dim=0)
        real, made = ((values @ directions).sort(dim=0).values for values in (real_ND, made_ND))
        return {DISTANCE: float((real - made).abs().mean())}

    def example_input(self) -> torch.Tensor:
        """Noise of zeros and class 0."""
        return self._packed(torch.zeros(1, dtype=torch.int64), None)

    def _packed(self, labels_N: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        noise_size = noise_size_of(self._settings, self._form)
        shape = (len(labels_N), noise_size)
        noise = torch.zeros(shape) if generator is None else torch.randn(shape, generator=generator)
        one_hot = torch.nn.functional.one_hot(labels_N.cpu(), self._num_classes)
        return torch.cat([noise, one_hot.to(torch.float32)], dim=1)


def noise_size_of(settings: GeneratorSettings, form: InputForm) -> int:
    """Numbers of noise that a network of this kind takes for one example."""
    sizes = {
        "flow": form.num_encoded,
        "vae": settings.noise_size + form.num_encoded,
        "gan": settings.noise_size,
    }
    return sizes[settings.kind]


def hold_out(records: Records, *, share: float, seed: int) -> tuple[Records, Records | None]:
    """(the rest, a share of each class), by `seed`; None where no class can spare one of its examples."""
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in np.unique(records.labels):
        rows = np.flatnonzero(records.labels == label)
        num = min(round(share * len(rows)), len(rows) - 1)
        held += rng.permutation(rows)[:num].tolist()
    if not held:
        return records, None
    kept = np.setdiff1d(np.arange(len(records)), held)
    return records.subset(kept), records.subset(sorted(held))


def published_task(folder: Path) -> GeneratorTask:
    """The task of a published generator, by the `generator.json` in its folder; it has no data.

    Raises:
        FileNotFoundError, ValueError, KeyError: there is none, or it is damaged.
    """
    card = GeneratorCard.from_json(json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))
    return GeneratorTask(card.settings, card.form, num_classes=card.num_classes)

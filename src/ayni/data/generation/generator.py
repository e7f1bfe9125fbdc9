"""One value for every generator: fit or train it, sample from it, save it, load it.

On disk a folder with `generator.json` (the card) and `model.safetensors`. Loading runs no code of whoever
made it, and pickle is never read.

Not covered: conditions other than a class.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ayni.data.cost import CostMeter, ReadJoules
from ayni.data.generation.copula import fit_copula, sample_copula
from ayni.data.generation.gaussian import fit_gaussian, sample_gaussian
from ayni.data.generation.generator_card import CARD_FILE, GeneratorCard, hash_of
from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.generation.input_form import InputForm
from ayni.data.records import Records, RecordsError
from ayni.errors import AyniError, MissingExtraError
from ayni.files import make_folder, write_atomically, write_json

if TYPE_CHECKING:
    import torch

    from ayni.data.generation.generator_task import Augment, GeneratorTask

WEIGHTS_FILE = "model.safetensors"
# Examples that a network makes at once.
_SAMPLING_BATCH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """What a trainer gives back: the network, and the metrics of its last validation."""

    network: "torch.nn.Module"
    metrics: Mapping[str, float]


# Trains a task by a seed. Whoever calls supplies it: `data` knows no trainer.
Train: TypeAlias = Callable[["GeneratorTask", int], TrainedNetwork]


class DamagedGeneratorError(AyniError):
    """A folder does not hold a generator that can be used."""

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder = folder
        super().__init__(
            f"{folder} holds no generator that can be used: {reason}. Make it again with "
            "`ayni data generate`, or choose another revision."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generator:
    """A fitted or trained generator: its card, and the arrays that it is made of."""

    card: GeneratorCard
    arrays: Mapping[str, NDArray[Any]]

    def sample(
        self,
        *,
        seed: int,
        num_per_class: int | None = None,
        labels: Sequence[int] | NDArray[np.int64] | None = None,
    ) -> Records:
        """New examples: so many of each class, or one for each of `labels`. The same seed gives the same.

        Raises:
            ValueError: neither or both of num_per_class and labels.
            RecordsError: no examples are asked for, or a class that the generator never saw.
            MissingExtraError: torch is needed and absent.
        """
        if (num_per_class is None) == (labels is None):
            raise ValueError("give one of num_per_class and labels")
        if num_per_class is not None:
            wanted = np.repeat(np.array(self.card.classes, dtype=np.int64), num_per_class)
        else:
            wanted = np.asarray(labels, dtype=np.int64)
        self._check(wanted)
        return Records(inputs=self._drawn(wanted, seed), labels=wanted)

    def _check(self, labels_N: NDArray[np.int64]) -> None:
        if len(labels_N) == 0:
            raise RecordsError("No examples are asked for: expected at least one.")
        unknown = sorted(set(labels_N.tolist()) - set(self.card.classes))
        if unknown:
            raise RecordsError(
                f"The generator never saw class {unknown[0]}. It knows "
                f"{', '.join(map(str, self.card.classes))}."
            )

    def _drawn(self, labels_N: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        form, rng = self.card.form, np.random.default_rng(seed)
        if self.card.kind == "gaussian":
            return form.decode(sample_gaussian(dict(self.arrays), labels_N, rng))
        if self.card.kind == "copula":
            flat = sample_copula(dict(self.arrays), labels_N, rng, num_columns=form.num_features)
            return form.conform(flat)
        return form.decode(self._by_network(labels_N, rng))

    def _by_network(self, labels_N: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float32]:
        import torch

        network = self.network()
        noise = rng.standard_normal((len(labels_N), network.noise_size), dtype=np.float32)
        packed = network.pack(torch.from_numpy(noise), torch.from_numpy(labels_N))
        with torch.no_grad():
            made = torch.cat([network(part) for part in packed.split(_SAMPLING_BATCH)])
        if not torch.isfinite(made).all():
            raise RecordsError(
                f"This {self.card.kind} makes numbers that are not finite: its training diverged. Train it "
                "with a lower learning rate, or for less long."
            )
        return made.numpy()

    def network(self) -> Any:
        """The network of a neural kind, in evaluation mode."""
        import torch

        from ayni.data.generation.neural_generators import build_network

        network = build_network(self.card.settings, self.card.form, self.card.num_classes)
        state = {name: torch.from_numpy(np.array(value)) for name, value in self.arrays.items()}
        network.load_state_dict(state)
        return network.eval()

    def audited(self, found: Mapping[str, Any]) -> Self:
        """The generator whose card has the result of a leak audit."""
        return replace(self, card=self.card.audited(found))

    def save(self, folder: Path) -> None:
        """Write `generator.json` and `model.safetensors`."""
        from safetensors.numpy import save

        make_folder(folder)
        arrays = {name: np.ascontiguousarray(value) for name, value in self.arrays.items()}
        write_atomically(folder / WEIGHTS_FILE, save(arrays))
        write_json(folder / CARD_FILE, self.card.to_json())


def load_generator(folder: Path) -> Generator:
    """The generator in a folder.

    Raises:
        DamagedGeneratorError: a file is missing or damaged, or the weights are not those of the card.
        MissingExtraError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ImportError as error:
        raise MissingExtraError(extra="train", package="safetensors") from error
    try:
        card = GeneratorCard.from_json(json.loads((folder / CARD_FILE).read_text(encoding="utf-8")))
        found = Generator(card=card, arrays=load((folder / WEIGHTS_FILE).read_bytes()))
        # Strict: what does not fit shows here and not when somebody samples.
        if card.settings.is_neural:
            found.network()
        elif not {"classes"} <= set(found.arrays):
            raise ValueError("the weights have no classes")
    except FileNotFoundError as error:
        raise DamagedGeneratorError(folder, f"{Path(error.filename).name} is missing") from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise DamagedGeneratorError(folder, f"{type(error).__name__}: {error}") from error
    return found


def fit_generator(
    records: Records,
    settings: GeneratorSettings,
    *,
    seed: int,
    train: Train | None = None,
    held_out: Records | None = None,
    augment: "Augment | None" = None,
    source: str | None = None,
    licence: str | None = None,
    read_joules: ReadJoules | None = None,
) -> Generator:
    """A generator of `records`, fitted at once or trained by `train`.

    Args:
        records: what it learns from.
        settings: what is built.
        seed: of everything random.
        train: needed for neural kinds.
        held_out: examples that a neural kind is validated on; `records` themselves when None.
        augment: see GeneratorTask; only neural kinds have it.
        source: what the records are, for the card.
        licence: of the records, for the card.
        read_joules: the meter; without it the card has CPU seconds.

    Raises:
        RecordsError: a class has a single example, or the records do not suit the kind.
        MissingExtraError: what the kind needs is not installed.
        Errors of `train`.
    """
    classes, counts = np.unique(records.labels, return_counts=True)
    if counts.min() < 2:
        label = classes[counts.argmin()]
        raise RecordsError(
            f"Class {label} has a single example, which a generator could only copy: expected 2 or more."
        )
    meter = CostMeter(read_joules)
    form = InputForm.of(records, category_columns=settings.category_columns)
    metrics: Mapping[str, float] = {}
    if settings.kind == "gaussian":
        encoded = form.encode(records.inputs)
        arrays = fit_gaussian(encoded, records.labels, shrinkage=settings.shrinkage)
    elif settings.kind == "copula":
        flat = records.inputs.reshape(len(records), -1)
        arrays = fit_copula(flat, records.labels, form)
    else:
        if train is None:
            raise ValueError(f"a generator of kind {settings.kind} is trained: give `train`")
        trained = train(_task(records, settings, form, held_out, augment), seed)
        arrays, metrics = _arrays_of(trained.network), trained.metrics
    card = GeneratorCard(
        settings=settings,
        form=form,
        num_classes=records.num_classes,
        classes=tuple(int(label) for label in classes),
        num_records=len(records),
        records_sha256=hash_of(records),
        source=source,
        licence=licence,
        seed=seed,
        cost=meter.read(),
        metrics=metrics,
    )
    return Generator(card=card, arrays=arrays)


def _task(
    records: Records,
    settings: GeneratorSettings,
    form: InputForm,
    held_out: Records | None,
    augment: "Augment | None",
) -> "GeneratorTask":
    try:
        from ayni.data.generation.generator_task import GeneratorTask
    except ImportError as error:
        raise MissingExtraError(extra="train", package=error.name or "torch") from error
    return GeneratorTask(
        settings,
        form,
        num_classes=records.num_classes,
        records=records,
        held_out=held_out,
        augment=augment,
    )


def _arrays_of(network: "torch.nn.Module") -> dict[str, NDArray[Any]]:
    return {name: value.detach().cpu().numpy().copy() for name, value in network.state_dict().items()}

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ayni.data.generation.generator import (
    WEIGHTS_FILE,
    DamagedGeneratorError,
    Generator,
    TrainedNetwork,
    fit_generator,
    load_generator,
)
from ayni.data.generation.generator_card import CARD_FILE, hash_of
from ayni.data.generation.generator_settings import GeneratorSettings, Kind
from ayni.data.generation.generator_task import GeneratorTask
from ayni.data.records import Records, RecordsError

ALL_KINDS: tuple[Kind, ...] = ("gaussian", "copula", "vae", "gan", "flow")


def records() -> Records:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 2], 20)
    inputs = rng.normal(size=(40, 3)) + labels[:, None]
    inputs[:, 2] = rng.integers(0, 5, 40)
    return Records(inputs=inputs.astype(np.float32), labels=labels)


def untrained(task: GeneratorTask, seed: int) -> TrainedNetwork:
    torch.manual_seed(seed)
    return TrainedNetwork(network=task.build_model(), metrics={"distance": 1.0})


def made(kind: Kind) -> Generator:
    settings = GeneratorSettings(kind=kind, width=8, depth=1, noise_size=2)
    return fit_generator(records(), settings, seed=3, train=untrained, source="numbers", licence="mit")


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_samples_what_is_asked_for_and_again_the_same(kind: Kind) -> None:
    generator = made(kind)

    found = generator.sample(num_per_class=7, seed=1)
    again = generator.sample(num_per_class=7, seed=1)
    other = generator.sample(num_per_class=7, seed=2)

    assert found.inputs.shape == (14, 3)
    assert found.labels.tolist() == [0] * 7 + [2] * 7
    np.testing.assert_array_equal(found.inputs, again.inputs)
    assert not np.array_equal(found.inputs, other.inputs)
    assert (found.inputs[:, 2] == np.rint(found.inputs[:, 2])).all()


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_kind_comes_back_from_its_folder(kind: Kind, tmp_path: Path) -> None:
    generator = made(kind)

    generator.save(tmp_path)
    loaded = load_generator(tmp_path)

    assert sorted(path.name for path in tmp_path.iterdir()) == [CARD_FILE, WEIGHTS_FILE]
    assert loaded.card == generator.card
    np.testing.assert_array_equal(
        loaded.sample(labels=[2, 0, 2], seed=5).inputs, generator.sample(labels=[2, 0, 2], seed=5).inputs
    )


def test_the_card_says_what_it_is_and_of_what() -> None:
    card = made("flow").card

    written = card.to_json()

    assert written["is_synthetic"] is True
    assert written["trained_on"] == {
        "num_records": 40,
        "sha256": hash_of(records()),
        "source": "numbers",
        "licence": "mit",
    }
    assert written["audit"] is None
    assert card.audited({"verdict": "pass"}).to_json()["audit"] == {"verdict": "pass"}
    assert card.cost.cpu_seconds > 0


def test_the_cost_is_in_joules_where_there_is_a_meter() -> None:
    readings = iter([10.0, 12.5])
    settings = GeneratorSettings(kind="gaussian")

    generator = fit_generator(records(), settings, seed=0, read_joules=lambda: next(readings))

    assert generator.card.cost.joules == 2.5


def test_the_hash_depends_on_every_label_and_on_the_shape() -> None:
    base = records()
    changed = base.labels.copy()
    changed[0] = 1

    hashes = {
        hash_of(base),
        hash_of(Records(inputs=base.inputs, labels=changed)),
        hash_of(Records(inputs=base.inputs.reshape(40, 3, 1), labels=base.labels)),
    }

    assert len(hashes) == 3


def test_a_class_of_one_example_is_refused_because_it_would_be_copied() -> None:
    lonely = Records(inputs=np.zeros((3, 2), np.float32), labels=np.array([0, 0, 1]))

    with pytest.raises(RecordsError, match="Class 1 has a single example"):
        fit_generator(lonely, GeneratorSettings(kind="gaussian"), seed=0)


def test_a_neural_kind_without_a_trainer_says_so() -> None:
    with pytest.raises(ValueError, match="give `train`"):
        fit_generator(records(), GeneratorSettings(kind="flow"), seed=0)


def test_a_class_that_was_never_seen_is_not_made_up() -> None:
    with pytest.raises(RecordsError, match=r"never saw class 1. It knows 0, 2"):
        made("gaussian").sample(labels=[1], seed=0)


@pytest.mark.parametrize("wanted", [{}, {"num_per_class": 1, "labels": [0]}])
def test_number_and_labels_are_alternatives(wanted: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="one of"):
        made("gaussian").sample(seed=0, **wanted)  # type: ignore[arg-type]


def test_a_diverged_network_is_no_data() -> None:
    generator = made("flow")
    broken = {name: np.full_like(value, np.nan) for name, value in generator.arrays.items()}

    with pytest.raises(RecordsError, match="diverged"):
        replace(generator, arrays=broken).sample(num_per_class=1, seed=0)


def test_folders_without_a_generator_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(DamagedGeneratorError, match=r"generator\.json is missing"):
        load_generator(tmp_path)
    made("flow").save(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"no weights")
    with pytest.raises(DamagedGeneratorError, match="holds no generator"):
        load_generator(tmp_path)


def test_weights_of_another_network_are_refused_when_loading(tmp_path: Path) -> None:
    made("flow").save(tmp_path)
    weights = (tmp_path / WEIGHTS_FILE).read_bytes()
    made("vae").save(tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(weights)

    with pytest.raises(DamagedGeneratorError, match="RuntimeError"):
        load_generator(tmp_path)

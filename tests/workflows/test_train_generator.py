from pathlib import Path

import numpy as np
import pytest

from ayni.data.generation.generator import Generator, fit_generator
from ayni.data.generation.generator_settings import GeneratorSettings, Kind
from ayni.data.generation.generator_task import DISTANCE, hold_out
from ayni.data.records import Records
from ayni.train.result import SilentObserver
from ayni.workflows.train_generator import (
    GeneratorTraining,
    read_task_folder,
    train_here,
    train_on_pool,
    write_task_folder,
)


def two_moons() -> Records:
    """Two arcs in a plane, which no Gaussian describes."""
    rng = np.random.default_rng(0)
    angle, labels = rng.uniform(0, np.pi, 400), np.arange(400) % 2
    sign = np.where(labels == 0, 1.0, -1.0)
    inputs = np.stack([sign * np.cos(angle), sign * np.sin(angle)], axis=1)
    return Records(inputs=(inputs + rng.normal(0, 0.05, inputs.shape)).astype(np.float32), labels=labels)


def two_spots() -> Records:
    """Two round spots, which is about what a small adversarial game can be sure to find."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2
    inputs = rng.normal(0, 0.3, (400, 2)) + np.array([[2.0, -1.0], [-2.0, 1.0]])[labels]
    return Records(inputs=inputs.astype(np.float32), labels=labels)


def trained_by_two(kind: Kind, records: Records, *, steps: int) -> tuple[Generator, SilentObserver]:
    kept, held = hold_out(records, share=0.25, seed=0)
    settings = GeneratorSettings(kind=kind, width=48, depth=2, noise_size=4)
    observer = SilentObserver()
    train = train_here(GeneratorTraining(steps=steps, learners=2, learning_rate=2e-3), observer=observer)
    return fit_generator(kept, settings, seed=1, train=train, held_out=held), observer


def mean_distance_from_arcs(generator: Generator) -> float:
    # Both arcs lie at a distance of 1 from the middle.
    radius = np.linalg.norm(generator.sample(num_per_class=500, seed=0).inputs, axis=1)
    return float(np.abs(radius - 1).mean())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flow", "vae"])
def test_two_learners_find_by_the_real_rounds_what_no_gaussian_can(kind: Kind) -> None:
    generator, observer = trained_by_two(kind, two_moons(), steps=3000)

    gaussian = fit_generator(two_moons(), GeneratorSettings(kind="gaussian"), seed=0)
    assert [each.num_updates for each in observer.rounds] == [2] * len(observer.rounds)
    assert mean_distance_from_arcs(generator) < 0.8 * mean_distance_from_arcs(gaussian)
    assert generator.card.metrics == observer.rounds[-1].metrics


@pytest.mark.slow
def test_two_learners_play_the_game_of_a_gan_by_the_real_rounds() -> None:
    generator, observer = trained_by_two("gan", two_spots(), steps=4000)

    made = generator.sample(num_per_class=300, seed=0)
    distances = [each.metrics[DISTANCE] for each in observer.rounds]
    assert distances[-1] < 0.5 * distances[0]
    middles = [made.inputs[made.labels == label].mean(axis=0) for label in (0, 1)]
    np.testing.assert_allclose(middles, [[2.0, -1.0], [-2.0, 1.0]], atol=0.7)


def test_a_task_in_files_is_the_same_task(tmp_path: Path) -> None:
    kept, held = hold_out(two_moons(), share=0.25, seed=0)
    settings = GeneratorSettings(kind="vae", width=16)

    reference = write_task_folder(tmp_path, kept, settings, held_out=held)
    task = reference.load()

    assert len(task.dataset("train")) == 300
    assert len(task.dataset("validation")) == 100
    assert len(read_task_folder(tmp_path).dataset("train")) == 300
    before = reference.sha256
    changed = Records(inputs=kept.inputs + 1, labels=kept.labels)
    assert write_task_folder(tmp_path, changed, settings, held_out=held).sha256 != before


@pytest.mark.slow
@pytest.mark.cluster
def test_worker_processes_train_a_generator(tmp_path: Path) -> None:
    from ayni.train.dask_engine import make_engine

    records = two_moons()
    settings = GeneratorSettings(kind="flow", width=16, depth=1)
    training = GeneratorTraining(steps=40, learners=2, engine="local")
    train = train_on_pool(
        training, records, settings, held_out=None, make_engine=make_engine, folder=tmp_path
    )

    generator = fit_generator(records, settings, seed=1, train=train)

    assert np.isfinite(generator.sample(num_per_class=5, seed=0).inputs).all()

import numpy as np
import pytest
import torch

from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.generation.generator_task import (
    DISTANCE,
    GeneratorTask,
    NoTrainingDataError,
    hold_out,
    noise_size_of,
)
from ayni.data.generation.input_form import InputForm
from ayni.data.records import Records
from ayni.task import Task


def records(num: int = 40) -> Records:
    rng = np.random.default_rng(0)
    labels = np.arange(num) % 2
    inputs = rng.normal(size=(num, 4)) + 5 * labels[:, None]
    return Records(inputs=inputs.astype(np.float32), labels=labels)


def task_of(kind: str = "flow", **others: object) -> GeneratorTask:
    found = records()
    settings = GeneratorSettings(kind=kind, width=16)  # type: ignore[arg-type]
    form = InputForm.of(found)
    return GeneratorTask(settings, form, num_classes=2, records=found, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["flow", "vae", "gan"])
def test_it_is_a_task_whose_example_fits_its_model(kind: str) -> None:
    task = task_of(kind)

    assert isinstance(task, Task)
    model = task.build_model()
    assert model.noise_size == noise_size_of(GeneratorSettings(kind=kind, width=16), InputForm.of(records()))  # type: ignore[arg-type]
    assert model(task.example_input()).shape == (1, 4)


def test_the_metric_is_small_for_real_examples_and_large_for_others() -> None:
    task = task_of()
    real = torch.stack([x for x, _ in task.dataset("train")])
    labels = torch.tensor([label for _, label in task.dataset("train")])

    good = task.evaluate(lambda packed: real, [(real, labels)])
    bad = task.evaluate(lambda packed: real + 3, [(real, labels)])

    assert good[DISTANCE] == 0
    assert bad[DISTANCE] > 1


def test_validation_sees_the_held_out_examples() -> None:
    kept, held = hold_out(records(), share=0.25, seed=0)
    assert held is not None

    task = task_of(held_out=held)

    assert (len(kept), len(held)) == (30, 10)
    assert len(task.dataset("validation")) == 10
    assert sorted(held.labels.tolist()) == [0] * 5 + [1] * 5


def test_a_class_keeps_at_least_one_example() -> None:
    two = Records(inputs=np.zeros((2, 1), np.float32), labels=np.array([0, 1]))

    assert hold_out(two, share=0.9, seed=0) == (two, None)


def test_a_published_task_has_no_data() -> None:
    task = GeneratorTask(GeneratorSettings(kind="flow"), InputForm.of(records()), num_classes=2)

    with pytest.raises(NoTrainingDataError, match="sample"):
        task.dataset("train")


def test_augmentation_sees_inputs_as_they_are_and_only_in_training() -> None:
    seen: list[torch.Tensor] = []

    def note(inputs: torch.Tensor) -> torch.Tensor:
        seen.append(inputs)
        return inputs

    task = task_of(augment=note)
    model = task.build_model()
    batch = (torch.stack([x for x, _ in task.dataset("train")]), torch.tensor(records().labels))

    task.loss(model.eval(), batch)
    assert not seen
    task.loss(model.train(), batch)

    np.testing.assert_allclose(seen[0].numpy(), records().inputs, atol=1e-5)

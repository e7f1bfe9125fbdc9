"""The teacher writes the labels."""

from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.retrain.distill import distill
from ayni.compress.retrain.recover import recover
from ayni.compress.retrain.sequence_distillation import (
    IGNORED,
    CannotGenerateError,
    SequenceTask,
    generate_sequences,
)
from ayni.compress.retrain.short_training import ShortTraining
from ayni.compress.steps import DistillStep

from ..conftest import Symbols

CPU = torch.device("cpu")


class Counter(nn.Module):
    """The next token is the last one plus one, modulo 8."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(8, 8)
        with torch.no_grad():
            self.table.weight.copy_(20 * torch.eye(8).roll(1, dims=1))

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.table(tokens)}


def ignore(_done: int, _total: int) -> None:
    pass


def test_labels_are_the_teachers_text_and_neither_the_prompt_nor_what_follows_the_end() -> None:
    prompts = [torch.tensor([0, 1]), torch.tensor([4, 5])]

    examples = generate_sequences(Counter(), prompts, num_new_tokens=4, end_token=7, batch_size=1)

    assert [part.tolist() for part in examples[0]] == [[0, 1, 2, 3, 4], [IGNORED, 2, 3, 4, 5]]
    assert [part.tolist() for part in examples[1]] == [[4, 5, 6, 7, 7], [IGNORED, 6, 7, IGNORED, IGNORED]]


def test_sampling_follows_its_seed_and_the_likeliest_token_needs_none() -> None:
    torch.manual_seed(0)
    teacher = nn.Embedding(8, 8).train()
    prompts = [torch.tensor([index]) for index in range(8)]

    def texts(**settings: Any) -> list[list[int]]:
        return [t.tolist() for t, _ in generate_sequences(teacher, prompts, num_new_tokens=6, **settings)]

    state = torch.get_rng_state()
    assert texts(temperature=1.0, seed=1) == texts(temperature=1.0, seed=1)
    assert texts(temperature=1.0, seed=1) != texts(temperature=1.0, seed=2)
    assert texts(seed=1) == texts(seed=2) == texts(batch_size=3)
    assert torch.equal(torch.get_rng_state(), state) and teacher.training


@pytest.mark.parametrize("with_distribution", [False, True])
def test_a_student_learns_to_write_as_its_teacher(symbols: Symbols, with_distribution: bool) -> None:
    torch.manual_seed(0)
    teacher, student = Counter(), nn.Embedding(8, 8)
    prompts = [torch.tensor([start]) for start in range(8)] * 4
    task = SequenceTask(symbols, generate_sequences(teacher, prompts, num_new_tokens=5))

    if with_distribution:
        step = DistillStep(epochs=40, learning_rate=0.1, batch_size=8)
        distill(task, student=student, teacher=teacher, step=step, seed=0, device=CPU, on_step=ignore)
    else:
        plan = ShortTraining(epochs=40, learning_rate=0.1, batch_size=8)
        recover(task, student, plan=plan, seed=0, device=CPU, on_step=ignore)

    assert student(torch.arange(8)).argmax(1).tolist() == [1, 2, 3, 4, 5, 6, 7, 0]


def test_everything_but_the_training_split_and_the_loss_is_the_tasks(symbols: Symbols) -> None:
    task = SequenceTask(symbols, [(torch.tensor([0]), torch.tensor([1]))])

    assert len(task.dataset("train")) == 1 and len(task.dataset("test")) == 24
    assert task.example_input().shape == (1, 12)
    batch = torch.utils.data.default_collate(symbols.dataset("test"))
    assert set(task.evaluate(task.build_model(), [batch])) == {"bits_per_symbol"}


def test_prompts_and_teachers_that_do_not_fit_are_refused() -> None:
    for prompts in ([], [torch.tensor([1]), torch.tensor([1, 2])], [torch.tensor([], dtype=torch.long)]):
        with pytest.raises(CannotGenerateError, match="prompts of one length"):
            generate_sequences(Counter(), prompts, num_new_tokens=2)
    pooled = nn.Sequential(nn.Embedding(8, 8), nn.Flatten())
    with pytest.raises(CannotGenerateError, match=r"\(1, 8\)"):
        generate_sequences(pooled, [torch.tensor([1])], num_new_tokens=2)
    with pytest.raises(ValueError, match="num_new_tokens"):
        generate_sequences(Counter(), [torch.tensor([1])], num_new_tokens=0)

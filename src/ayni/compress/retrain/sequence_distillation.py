"""Sequence-level distillation of language models: the teacher writes, the student learns to write the same.

    y' = argmax_y p_t(y | x), approximated token by token;  L = -mean log p_s(y'_i | x, y'_<i)

The sequences are made once, before the training, and then are data like any other: `SequenceTask` is a task,
so that `recover` trains on it (sequence level alone), `distill` adds the teacher's distribution at each
token, and `ayni.train` runs it on many machines.

Source: Kim and Rush, "Sequence-Level Knowledge Distillation", EMNLP 2016, section 3.2, arXiv:1606.07947. It
searches with a beam; ours takes the likeliest token, or samples.

Not covered: beams, prompts of different lengths in one call, encoder-decoder models, a cache of keys and
values (cost: one forward pass of the whole text for each token).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ayni.compress.retrain.class_scores import class_scores
from ayni.compress.structure.restore import traced
from ayni.errors import UserError
from ayni.task import Task

IGNORED = -100
"""Label of a place that does not count: torch's cross-entropy and Transformers use the same."""


class CannotGenerateError(UserError):
    """The teacher or its prompts do not make sequences."""


def generate_sequences(
    teacher: nn.Module,
    prompts: Sequence[torch.Tensor],
    *,
    num_new_tokens: int,
    end_token: int | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    batch_size: int = 16,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Examples (tokens, labels) in which the labels are the teacher's continuation of each prompt.

    tokens are the text without its last token, labels the text without its first; labels of the prompt, and
    after the first end token, are IGNORED. A function of its arguments; the teacher is not changed.

    Args:
        teacher: maps token ids [N, T] to scores [N, T, V], or answers with `logits` of that shape.
        prompts: token ids, all of the same length of at least 1.
        num_new_tokens: tokens that the teacher adds, at least 1.
        end_token: after it the teacher's text is over.
        temperature: 0 takes the likeliest token, above 0 samples from softmax(scores / temperature).
        seed: of sampling.
        batch_size: prompts in one call.

    Raises:
        CannotGenerateError: no prompts, different lengths, or a teacher whose scores do not fit.
    """
    lengths = sorted({len(prompt) for prompt in prompts})
    if not prompts or len(lengths) > 1 or lengths[0] < 1:
        raise CannotGenerateError(
            f"The teacher needs prompts of one length of at least 1 token; {len(prompts)} prompts with the "
            f"lengths {lengths} were given. Cut or group them."
        )
    if num_new_tokens < 1 or temperature < 0:
        raise ValueError(
            f"num_new_tokens is at least 1 and temperature at least 0, not {num_new_tokens} and {temperature}"
        )
    generator = torch.Generator().manual_seed(seed)
    examples: list[tuple[torch.Tensor, torch.Tensor]] = []
    for start in range(0, len(prompts), batch_size):
        prompt_NT = torch.stack(list(prompts[start : start + batch_size])).long()
        text_NT = _continued(
            teacher, prompt_NT, num_new_tokens, end_token, temperature=temperature, generator=generator
        )
        examples += [_example(text_T, lengths[0], end_token) for text_T in text_NT]
    return examples


class SequenceTask:
    """A task whose training split is what the teacher wrote; everything else is the given task's.

    The model is called with token ids and answers with scores, or with `logits`. Fulfils ayni.task.Task.
    """

    def __init__(self, task: Task, examples: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
        self._task, self._examples = task, examples

    def build_model(self) -> nn.Module:
        """The task's own."""
        return self._task.build_model()

    def dataset(self, split: str) -> Sequence[Any]:
        """The teacher's sequences to train on; other splits are the task's."""
        return self._examples if split == "train" else self._task.dataset(split)

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Cross-entropy of the teacher's tokens, in nats per token; the prompt does not count."""
        tokens_NT, labels_NT = batch
        scores_NTV = class_scores(model(tokens_NT))
        return nn.functional.cross_entropy(
            scores_NTV.flatten(0, 1), labels_NT.flatten(), ignore_index=IGNORED
        )

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """The task's own."""
        return self._task.evaluate(model, batches)

    def example_input(self) -> torch.Tensor:
        """The task's own."""
        return self._task.example_input()


def _continued(
    teacher: nn.Module,
    text_NT: torch.Tensor,
    num_new_tokens: int,
    end_token: int | None,
    *,
    temperature: float,
    generator: torch.Generator,
) -> torch.Tensor:
    is_over_N = torch.zeros(len(text_NT), dtype=torch.bool)
    for _ in range(num_new_tokens):
        with traced(teacher), torch.no_grad():
            scores_NTV = class_scores(teacher(text_NT))
        if scores_NTV.ndim != 3 or scores_NTV.shape[:2] != text_NT.shape:
            raise CannotGenerateError(
                f"The teacher answers {tuple(text_NT.shape)} tokens with scores of the shape "
                f"{tuple(scores_NTV.shape)}; scores of a next token are needed at each place."
            )
        last_NV = scores_NTV[:, -1].float()
        if temperature == 0:
            next_N = last_NV.argmax(-1)
        else:
            shares_NV = (last_NV / temperature).softmax(-1)
            next_N = torch.multinomial(shares_NV, 1, generator=generator)[:, 0]
        if end_token is not None:
            next_N = torch.where(is_over_N, end_token, next_N)
            is_over_N |= next_N == end_token
        text_NT = torch.cat([text_NT, next_N[:, None]], dim=1)
    return text_NT


def _example(
    text_T: torch.Tensor, prompt_length: int, end_token: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    labels_T = text_T[1:].clone()
    labels_T[: prompt_length - 1] = IGNORED
    if end_token is not None:
        written_T = labels_T[prompt_length - 1 :]
        ends = (written_T == end_token).nonzero()
        if len(ends):
            written_T[int(ends[0]) + 1 :] = IGNORED
    return text_T[:-1], labels_T

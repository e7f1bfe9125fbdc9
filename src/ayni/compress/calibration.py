"""Inputs that the model really sees, taken from a task without knowing the form of its batches.

A batch may be anything that the task understands. So the task evaluates a few of its own examples with
the real model, and a hook notes what the model was given.
"""

from typing import Any

import torch

from ayni.errors import AyniError, UserError
from ayni.task import Task, TaskFailedError
from ayni.train.local import batches


class NoModelInputError(UserError):
    """The task's evaluate never called the model with a tensor."""

    def __init__(self, split: str) -> None:
        super().__init__(
            f"The task's evaluate did not call the model with one tensor on the {split} split. "
            "Compression needs models that take one tensor: model(inputs)."
        )


def spread(num_examples: int, num_wanted: int) -> list[int]:
    """Indices of at most num_wanted examples, evenly spaced, so that sorted data is sampled fairly."""
    count = min(num_examples, num_wanted)
    return [index * num_examples // count for index in range(count)]


def model_inputs(
    task: Task, model: torch.nn.Module, *, split: str, num_examples: int, batch_size: int = 32
) -> list[torch.Tensor]:
    """Input batches of the model for evenly spaced examples of a split, on the CPU.

    Raises:
        NoModelInputError: the model was never called with a tensor.
        TaskFailedError: the task raised.
    """
    dataset = task.dataset(split)
    examples = [dataset[index] for index in spread(len(dataset), num_examples)]
    seen: list[torch.Tensor] = []

    def note(_module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        if len(arguments) == 1 and isinstance(arguments[0], torch.Tensor):
            seen.append(arguments[0].detach().cpu().clone())

    hook = model.register_forward_pre_hook(note)
    try:
        with torch.no_grad():
            task.evaluate(model.eval(), batches(examples, batch_size))
    except AyniError:
        raise
    except Exception as error:
        raise TaskFailedError(method="evaluate", cause=error) from error
    finally:
        hook.remove()
    if not seen:
        raise NoModelInputError(split)
    return seen

"""Inputs that the model really sees, taken from a task without knowing the form of its batches.

A batch may be anything that the task understands. So the task evaluates a few of its own examples with
the real model, and a hook notes how the model was called: by place, by name, with one tensor or several.

Not covered: calls of other methods than the model itself (`model.encode(x)`); a cache that one call hands to
the next, which is noted as it is and may be written to later.
"""

from typing import Any

import torch

from ayni.compress.inputs import ModelInputs
from ayni.errors import AyniError, UserError
from ayni.task import Task, TaskFailedError
from ayni.train.local import batches


class NoModelInputError(UserError):
    """The task's evaluate never called the model with a tensor."""

    def __init__(self, split: str, *, num_examples: int | None = None) -> None:
        self.num_examples = num_examples
        on = f"the {split} split" if num_examples is None else f"{num_examples} examples of the {split} split"
        super().__init__(
            f"The task's evaluate did not call the model with a tensor on {on}. Compression needs to see "
            "calls such as model(inputs) or model(input_ids=...), and at least one example."
        )


def spread(num_examples: int, num_wanted: int) -> list[int]:
    """Indices of at most num_wanted examples, evenly spaced, so that sorted data is sampled fairly."""
    count = min(num_examples, num_wanted)
    return [index * num_examples // count for index in range(count)]


def model_inputs(
    task: Task, model: torch.nn.Module, *, split: str, num_examples: int, batch_size: int = 32
) -> list[ModelInputs]:
    """Calls of the model for evenly spaced examples of a split, in order, their tensors on the CPU.

    Tensors are copies without gradients; whatever else the task gives (flags, None) stays as it is. Calls
    without a tensor of examples are passed over.

    Raises:
        NoModelInputError: the model was never called with a tensor, or the split is empty.
        TaskFailedError: the task raised.
    """
    dataset = task.dataset(split)
    examples = [dataset[index] for index in spread(len(dataset), num_examples)]
    if not examples:
        raise NoModelInputError(split, num_examples=0)
    seen: list[ModelInputs] = []

    def note(_module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = ModelInputs(args, kwargs)
        if call.num_examples:
            seen.append(call.changed(_copy))

    hook = model.register_forward_pre_hook(note, with_kwargs=True)
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
        raise NoModelInputError(split, num_examples=len(examples))
    return seen


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().cpu().clone()

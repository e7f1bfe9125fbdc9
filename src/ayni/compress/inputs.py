"""One batch in the form in which a model is called, whatever that form is.

    model(images)                                   args = (images,)
    model(input_ids=..., attention_mask=...)        kwargs = {"input_ids": ..., "attention_mask": ...}

Not covered: inputs that hold no tensor, and calls whose tensors disagree about the number of examples.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """Arguments of one call of a model. Treat them as constants: steps share them."""

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def run(self, model: Any) -> Any:
        """What the model answers; without gradients only if the caller says so."""
        return model(*self.args, **self.kwargs)

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors by name; positional ones are called input, input_1, input_2, ..."""
        named = {"input" if index == 0 else f"input_{index}": value for index, value in enumerate(self.args)}
        return {
            name: value for name, value in {**named, **self.kwargs}.items() if isinstance(value, torch.Tensor)
        }

    @property
    def num_examples(self) -> int:
        """Length of the first axis of the first tensor that has an axis; 0 where there is none."""
        return next((len(tensor) for tensor in self.tensors.values() if tensor.ndim), 0)

    def changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "ModelInputs":
        """The same call with other tensors, those inside tuples, lists and mappings included."""
        return ModelInputs(
            args=tuple(_changed(value, change) for value in self.args),
            kwargs={name: _changed(value, change) for name, value in self.kwargs.items()},
        )

    @classmethod
    def joined(cls, batches: Sequence["ModelInputs"]) -> "ModelInputs":
        """One batch of all examples: tensors with a row for each example are put one after the other.

        What else a call holds is the first one's. Tensors inside other values are not joined.

        Raises:
            ValueError: no batches, or rows of different shapes.
        """
        if not batches:
            raise ValueError("there are no batches to join")

        def together(values: Sequence[Any]) -> Any:
            is_row = [
                isinstance(value, torch.Tensor) and value.ndim > 0 and len(value) == batch.num_examples
                for value, batch in zip(values, batches, strict=True)
            ]
            if not all(is_row):
                return values[0]
            if len({value.shape[1:] for value in values}) > 1:
                raise ValueError(f"rows of {[tuple(value.shape) for value in values]} cannot be joined")
            return torch.cat(list(values))

        first = batches[0]
        return cls(
            tuple(together([batch.args[place] for batch in batches]) for place in range(len(first.args))),
            {name: together([batch.kwargs[name] for batch in batches]) for name in first.kwargs},
        )

    def arrays_for(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """What a graph is fed with: positional tensors by the `names` in order, others by their own."""
        positional = [value for value in self.args if isinstance(value, torch.Tensor)]
        named = {name: value for name, value in self.kwargs.items() if isinstance(value, torch.Tensor)}
        given = {**dict(zip(names, positional, strict=False)), **named}
        return {name: value.detach().cpu().numpy() for name, value in given.items()}


def one_by_one(inputs: Sequence[ModelInputs]) -> list[ModelInputs]:
    """Batches of one example each, in order: row i of every tensor that has a row for each example.

    What else a call holds (a number, a table that all examples share) is in each of them. A shared table
    with as many rows as there are examples would be cut too. Tensors are views of those given.
    """
    return [_example(batch, index) for batch in inputs for index in range(batch.num_examples)]


def _example(batch: ModelInputs, index: int) -> ModelInputs:
    num_examples = batch.num_examples

    def row(tensor: torch.Tensor) -> torch.Tensor:
        has_rows = tensor.ndim > 0 and len(tensor) == num_examples
        return tensor[index : index + 1] if has_rows else tensor

    return batch.changed(row)


def _changed(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_changed(part, change) for part in value))
    # Only plain containers: a cache of a library is a container with a mind of its own.
    if type(value) in (tuple, list):
        return type(value)(_changed(part, change) for part in value)
    if type(value) is dict:
        return {name: _changed(part, change) for name, part in value.items()}
    return value

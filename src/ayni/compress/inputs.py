"""One batch in the form in which a model is called, whatever that form is.

    model(images)                                   args = (images,)
    model(input_ids=..., attention_mask=...)        kwargs = {"input_ids": ..., "attention_mask": ...}

Not covered: inputs that hold no tensor, and calls whose tensors disagree about the number of examples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


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
        """Length of the first axis of the first tensor."""
        return len(next(iter(self.tensors.values())))

    @classmethod
    def joined(cls, batches: Sequence["ModelInputs"]) -> "ModelInputs":
        """One batch of all examples; tensors are joined along their first axis, the rest is the first's.

        Raises:
            ValueError: no batches, or tensors whose other axes differ.
        """
        if not batches:
            raise ValueError("there are no batches to join")

        def together(values: Sequence[Any]) -> Any:
            if not isinstance(values[0], torch.Tensor):
                return values[0]
            if len({value.shape[1:] for value in values}) > 1:
                raise ValueError(f"shapes {[tuple(value.shape) for value in values]} cannot be joined")
            return torch.cat(list(values))

        first = batches[0]
        return cls(
            tuple(together([batch.args[place] for batch in batches]) for place in range(len(first.args))),
            {name: together([batch.kwargs[name] for batch in batches]) for name in first.kwargs},
        )

"""What a model answers, whatever its form, as tensors with names.

    y                                   one tensor           {"output": y}
    (y, z)                              a tuple or a list    {"output": y, "output_1": z}
    {"logits": y}, ModelOutput, ...     named                {"logits": y}

A named answer may hold more than tensors: what is no tensor (a cache of keys and values, None) has no name
here. A named tuple of tensors gives `hidden_states` -> `hidden_states_0`, `hidden_states_1`, ...

Not covered: mappings inside mappings.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch

from ayni.errors import UserError

OutputForm = Literal["tensor", "tuple", "named"]

OUTPUT_FORM_KEY = "ayni.output_form"
"""Under this name a file of a runtime says in which form the model answered."""


class NoTensorOutputError(UserError):
    """A model's answer holds no tensor that could be written to a file or compared."""

    def __init__(self, output: Any) -> None:
        super().__init__(
            f"The model answers with {type(output).__name__}, in which there is no tensor. Compression needs "
            "models that answer with a tensor, a tuple of tensors, or named tensors."
        )


class NamedOutputs(Mapping[str, Any]):
    """A named answer: `outputs.logits`, `outputs["logits"]` and `outputs[0]` are the same tensor."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str | int) -> Any:
        """The value of a name, or of a place."""
        return list(self._values.values())[key] if isinstance(key, int) else self._values[key]

    def __getattr__(self, name: str) -> Any:
        # Only asked for what is not found otherwise. `_values` itself is missing while a copy is made.
        values: dict[str, Any] = self.__dict__.get("_values", {})
        if name not in values:
            raise AttributeError(f"the answer has no {name!r}, only {', '.join(values)}")
        return values[name]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._values)

    def __len__(self) -> int:
        """How many values there are."""
        return len(self._values)


def output_form(output: Any) -> OutputForm:
    """Whether an answer is one tensor, a tuple, or has names."""
    if isinstance(output, torch.Tensor):
        return "tensor"
    if isinstance(output, (tuple, list)) and not hasattr(output, "_fields"):
        return "tuple"
    return "named"


def stated_form(stated: str, num_outputs: int) -> OutputForm:
    """The form that a file states. One of another origin does not: then several outputs are a tuple."""
    if stated == "named":
        return "named"
    return "tuple" if stated == "tuple" or num_outputs > 1 else "tensor"


def named_tensors(output: Any) -> dict[str, torch.Tensor]:
    """The tensors of an answer by name, in the answer's order.

    Raises:
        NoTensorOutputError: there is none.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, value in _entries(output).items():
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif isinstance(value, (tuple, list)):
            # Attentions and hidden states come as tuples; a cache of pairs is no part of the answer.
            tensors |= {
                f"{name}_{index}": part for index, part in enumerate(value) if isinstance(part, torch.Tensor)
            }
    if not tensors:
        raise NoTensorOutputError(output)
    return tensors


def rebuilt(form: OutputForm, tensors: Mapping[str, torch.Tensor]) -> Any:
    """An answer of a form again, from its tensors."""
    if form == "tensor":
        return next(iter(tensors.values()))
    return tuple(tensors.values()) if form == "tuple" else NamedOutputs(tensors)


def with_float32(output: Any) -> Any:
    """The answer with its 16-bit floating tensors in 32 bits; what is no tensor stays as it is.

    A loss over many classes in bfloat16 has two digits: log-probabilities must be taken in 32 bits.
    """
    form = output_form(output)
    if form == "tensor":
        return _widened(output)
    values = {name: _widened(value) for name, value in _entries(output).items()}
    return tuple(values.values()) if form == "tuple" else NamedOutputs(values)


def _widened(value: Any) -> Any:
    is_half = isinstance(value, torch.Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if is_half else value


def _entries(output: Any) -> dict[str, Any]:
    if isinstance(output, torch.Tensor):
        return {"output": output}
    if isinstance(output, Mapping):
        return {str(name): value for name, value in output.items()}
    if hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if dataclasses.is_dataclass(output) and not isinstance(output, type):
        return {field.name: getattr(output, field.name) for field in dataclasses.fields(output)}
    if isinstance(output, (tuple, list)):
        return {"output" if index == 0 else f"output_{index}": value for index, value in enumerate(output)}
    return {}

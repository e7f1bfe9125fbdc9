"""What a model calls in one forward pass: which modules, and which functions beside them.

DeepLift carries differences back through modules by hooks, and two things escape them without a word, so
that such models are found here. What a model computes with functions beside its modules (`torch.relu`)
has no hook. And where two paths meet (`relu(h) + h`) the hook of Captum 0.9, which sits on the tensor and not
on the module, takes the gradient of both paths for that of one: the sum was off by a third in a network of
two layers. So only functions of one tensor that are linear pass.

Captum's rule for MaxPool loses some of the sum where input and reference have their largest value in
different places: 2 to 3 % on the networks of digits and clothes. The completeness check reports how much.

Not covered: a module of one's own without children; it is refused as unknown.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

# What DeepLift may pass through: linear modules, and those for which Captum has a rule.
LINEAR_MODULES = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d, nn.Flatten, nn.Unflatten),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity, nn.ZeroPad2d),
)
LINEAR_FUNCTIONS = {
    *("flatten", "view", "reshape", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "contiguous"),
    *("mean", "sum", "neg", "to", "float", "select", "narrow", "__getitem__"),
    # What is asked of a tensor, its shape say.
    *("__get__", "__len__", "size", "dim", "numel", "is_floating_point"),
}
SCALING_FUNCTIONS = {"mul", "__mul__", "__rmul__", "div", "__truediv__"}

Call = tuple[str, nn.Module, Any, Any]
"""Name, module, arguments and output of a leaf module."""


class UnfitMethodError(Exception):
    """Internal: this method does not fit this model, for the reason that is its text."""


def calls_of(model: nn.Module, example: torch.Tensor) -> list[Call]:
    """Each call of a leaf module in one forward pass, in order."""
    return _traced(model, example)[0]


def need_rules(model: nn.Module, example: torch.Tensor) -> None:
    """Refuse a model that DeepLift has no rules for.

    Raises:
        UnfitMethodError: a module without a rule, one that is not linear used twice, or a function that
            is not linear or joins two paths.
    """
    from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

    calls, functions = _traced(model, example)
    for name, module, *_ in calls:
        if not isinstance(module, (*LINEAR_MODULES, *SUPPORTED_NON_LINEAR)):
            raise UnfitMethodError(f"it has no rule for {type(module).__name__} ({name})")
        if not isinstance(module, LINEAR_MODULES) and sum(each is module for _, each, *_ in calls) > 1:
            raise UnfitMethodError(
                f"the module {name} ({type(module).__name__}) is used more than once in a pass"
            )
    if functions:
        raise UnfitMethodError(
            f"the model calls {functions[0]} as a function, and it sees modules on a single path only"
        )


class _FunctionsBesideModules(TorchFunctionMode):
    """Hears of torch functions while no leaf module is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.is_inside = False
        self.not_linear: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func))
        is_scaling = name in SCALING_FUNCTIONS and sum(isinstance(each, torch.Tensor) for each in args) == 1
        if not self.is_inside and name not in LINEAR_FUNCTIONS and not is_scaling:
            self.not_linear.append(name)
        return func(*args, **(kwargs or {}))


def _traced(model: nn.Module, example: torch.Tensor) -> tuple[list[Call], list[str]]:
    calls: list[Call] = []
    functions = _FunctionsBesideModules()
    with torch.no_grad(), _watched(model, calls, functions), functions:
        model(example)
    return calls, functions.not_linear


@contextmanager
def _watched(model: nn.Module, calls: list[Call], functions: _FunctionsBesideModules) -> Iterator[None]:
    """While it is open, calls of leaf modules are noted, and functions inside them are not."""

    def enter(module: nn.Module, args: Any) -> None:
        functions.is_inside = True

    def leave(name: str, module: nn.Module, args: Any, output: Any) -> None:
        functions.is_inside = False
        calls.append((name, module, args, output))

    handles = []
    for name, module in model.named_modules():
        if not list(module.children()):
            handles.append(module.register_forward_pre_hook(enter))
            handles.append(
                module.register_forward_hook(lambda m, args, out, name=name: leave(name, m, args, out))
            )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

"""Leave a model as it was: when a step fails, and after a look at its graph.

A step that changes shapes cannot know in advance whether the model's own code goes along. So it tries, runs
the model, and on a failure everything is put back: nothing is copied, for steps replace parameters and never
write into them.

Not covered: values written into a parameter or buffer in place, and attributes of objects that are no modules
(a configuration that several modules share).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


@contextlib.contextmanager
def unchanged_on_failure(model: nn.Module) -> Iterator[None]:
    """Put back modules, parameters, buffers, hooks and attributes if the block raises, whatever it raises.

    The same parameter objects come back, so that an optimizer made before still holds the model's.
    Cost: a few references for each module, no copies of weights.
    """
    kept = [(module, dict(module.__dict__), _inner(module)) for module in model.modules()]
    try:
        yield
    except BaseException:
        for module, attributes, inner in kept:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for name, values in inner.items():
                # The dictionary itself stays, because others may hold it (module.parameters(), hooks).
                module.__dict__[name].clear()
                module.__dict__[name].update(values)
        raise


@contextlib.contextmanager
def traced(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, and gradients for every floating-point parameter: what reading a graph needs.

    Afterwards modes and requires_grad are as before (by name, for the block may have replaced parameters),
    and so is torch's random state.
    """
    modes = [(module, module.training) for module in model.modules()]
    frozen = {name for name, value in _parameters(model) if not value.requires_grad}
    try:
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            for _, value in _parameters(model):
                if value.is_floating_point():
                    value.requires_grad_(True)
            model.eval()
            yield
    finally:
        for module, is_training in modes:
            module.training = is_training
        for name, value in _parameters(model):
            if name in frozen:
                value.requires_grad_(False)


def _parameters(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(model.named_parameters(remove_duplicate=False))


def _inner(module: nn.Module) -> dict[str, Any]:
    return {name: value.copy() for name, value in module.__dict__.items() if isinstance(value, dict | set)}

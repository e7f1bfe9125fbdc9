"""Second moments of what layers are given, all at once, by the model as it is.

For steps that decide about all layers together before they change the first one (ranks, heads). Steps that go
layer by layer take `layer_walk`, whose statistics are those of the compressed layers before.

Not covered: layers whose moments do not fit into memory together (8 I^2 bytes each).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.restore import traced
from ayni.compress.weights.statistics import InputStatistics, padding_mask


def input_moments(
    model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[ModelInputs]
) -> dict[str, torch.Tensor]:
    """Mean of x x^T over all rows that reach each layer, without padding: [I, I] by name, in float64.

    Layers that no batch reaches, and convolutions with groups, have none. Cost: one forward pass of each
    batch, and O(N I^2) for each layer.

    Args:
        model: is run in evaluation mode and not changed.
        layers: of `matrix_layers(model)`.
        batches: as the model is called.

    Raises:
        CalibrationError: a layer is given numbers that are not finite.
    """
    found = {name: InputStatistics(layer) for name, layer in layers.items()}
    masks: list[torch.Tensor | None] = [None]

    def add(name: str, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], torch.Tensor):
            found[name].add(arguments[0], masks[-1])

    hooks = [
        layer.register_forward_pre_hook(lambda _layer, arguments, name=name: add(name, arguments))
        for name, layer in layers.items()
    ]
    try:
        for batch in batches:
            masks[-1] = padding_mask(batch)
            with traced(model), torch.no_grad():
                batch.run(model)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: statistics.gram_GII[0] / statistics.num_rows
        for name, statistics in found.items()
        if statistics.num_rows and len(statistics.gram_GII) == 1
    }

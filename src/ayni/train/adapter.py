"""Adapters: small matrices beside frozen weights, so that only they are trained and travel (LoRA).

        y = W x + (alpha / rank) B A x,    A is rank x inputs (random), B is outputs x rank (zeros)

At the end B A is added to W, and the model is again the one that build_model makes. Made with the library
peft. Float buffers such as running means still travel with the adapters: they follow the data.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1,
arXiv:2106.09685.

Not covered: weights that two layers share, convolutions unless named, and merging adapters of one
training into another's.
"""

from collections import Counter
from typing import Any

from torch import nn

from ayni.errors import MissingExtraError, UserError
from ayni.train.strategy_config import AdapterConfig

_NUM_SHOWN = 5


class AdapterError(UserError):
    """The model has no layer that an adapter could stand beside as the job asks."""


def add_adapter(model: nn.Module, config: AdapterConfig) -> nn.Module:
    """Freeze the model and put adapters beside its layers; A is drawn from torch's generator.

    Raises:
        MissingExtraError: peft is not installed.
        AdapterError: no layer fits, or one shares its weight with another.
    """
    peft = _import_peft()
    names = _target_names(model, config)
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, target_modules=names, lora_dropout=0.0, bias="none"
    )
    try:
        adapted: nn.Module = peft.inject_adapter_in_model(settings, model)
    except ValueError as error:
        raise AdapterError(f"train.adapter: {error}. Name other layers in adapter.targets.") from error
    return adapted


def merge_adapter(model: nn.Module) -> nn.Module:
    """Add the adapters to the weights beside them and take them away; the names are build_model's again.

    Raises:
        MissingExtraError: peft is not installed.
    """
    layer_class: type = _import_peft().tuners.tuners_utils.BaseTunerLayer
    for name, layer in list(model.named_modules()):
        if isinstance(layer, layer_class):
            adapted: Any = layer
            adapted.merge()
            parent, _, own_name = name.rpartition(".")
            setattr(model.get_submodule(parent), own_name, adapted.get_base_layer())
    return model


def _target_names(model: nn.Module, config: AdapterConfig) -> list[str]:
    """Full names of the layers to adapt."""
    layers = {name: layer for name, layer in model.named_modules() if name}
    shared = _shared_weights(model)
    if not config.targets:
        names = [name for name, layer in layers.items() if _is_linear(layer) and name not in shared]
        if not names:
            raise AdapterError(
                "train.adapter: the model has no linear layer with a weight of its own. Name layers in "
                f"adapter.targets, from: {_shown(list(layers))}."
            )
        return names
    names = []
    for target in config.targets:
        found = [name for name in layers if name == target or name.endswith(f".{target}")]
        if not found:
            linear = [name for name, layer in layers.items() if _is_linear(layer)]
            raise AdapterError(
                f"train.adapter.targets has {target!r}, and no layer's name ends so. Linear layers: "
                f"{_shown(linear)}."
            )
        names += found
    for name in sorted(shared & set(names)):
        raise AdapterError(
            f"train.adapter.targets has {name!r}, whose weight another layer uses too and would change with. "
            "Leave it out."
        )
    return names


def _is_linear(layer: nn.Module) -> bool:
    # The second is the linear layer of GPT-2 in Transformers, which stores its weight transposed.
    return isinstance(layer, nn.Linear) or type(layer).__name__ == "Conv1D"


def _shared_weights(model: nn.Module) -> set[str]:
    """Names of the layers whose weight is another layer's too."""
    weights = {
        name: id(layer.weight)
        for name, layer in model.named_modules()
        if isinstance(getattr(layer, "weight", None), nn.Parameter)
    }
    uses = Counter(weights.values())
    return {name for name, weight in weights.items() if uses[weight] > 1}


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more if names else "none"


def _import_peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise MissingExtraError(extra="adapters", package="peft") from error
    return peft

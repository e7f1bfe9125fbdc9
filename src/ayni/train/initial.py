"""Transfer learning: the first weights of a model from a safetensors file, whatever fits.

The file may come from the hub, from another run, or from elsewhere; its names may have one prefix more or
less than the model's ("bert.encoder..." and "encoder..."). What fits by name and shape is taken; the rest
of the model keeps what build_model made, such as a head for other classes, and that is said.

Not covered: pickled files (.pt, .bin), which could run code, and weights cut into several files.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors
import torch
from torch import nn

from ayni.errors import UserError

_NUM_SHOWN = 3


class InitialWeightsError(UserError):
    """Nothing can be taken from the file that `train.init_from` names."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        super().__init__(
            f"train.init_from: {path} {reason}. Name a safetensors file made from this model or one that "
            "shares layers with it, or remove init_from."
        )


def load_initial(model: nn.Module, path: Path) -> list[str]:
    """Copy all that fits into the model; says what of either side was left out.

    One tensor at a time is in memory beside the model.

    Raises:
        InitialWeightsError: no such file, no safetensors, values that are not finite, or nothing fits.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            names = _matched(own, shapes)
            fitting = {name: theirs for name, theirs in names.items() if own[name].shape == shapes[theirs]}
            if not any(own[name].is_floating_point() for name in fitting):
                raise InitialWeightsError(path, _why_nothing_fits(own, shapes))
            for name, theirs in fitting.items():
                _copy(own[name], file.get_tensor(theirs), path, theirs)
    except FileNotFoundError as error:
        raise InitialWeightsError(path, "does not exist") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise InitialWeightsError(path, f"is not a safetensors file ({error})") from error
    return _notices(own, shapes, names, fitting)


def _matched(own: Mapping[str, torch.Tensor], theirs: Iterable[str]) -> dict[str, str]:
    """Own name -> name in the file, with the prefix more or less that fits most names."""
    names = set(theirs)

    def with_prefixes(more: str, less: str) -> dict[str, str]:
        renamed = {name: more + name.removeprefix(less) for name in own if name.startswith(less)}
        return {name: other for name, other in renamed.items() if other in names}

    heads_of_own = sorted({name.split(".")[0] + "." for name in own if "." in name})
    heads_of_theirs = sorted({name.split(".")[0] + "." for name in names if "." in name})
    candidates = [
        with_prefixes("", ""),
        *(with_prefixes("", head) for head in heads_of_own),
        *(with_prefixes(head, "") for head in heads_of_theirs),
    ]
    return max(candidates, key=len)  # the first of the best: no prefix wins a tie


def _copy(target: torch.Tensor, value: torch.Tensor, path: Path, name: str) -> None:
    if value.is_floating_point() and not bool(torch.isfinite(value).all()):
        raise InitialWeightsError(path, f"has values in {name} that are not finite")
    with torch.no_grad():
        target.copy_(value)


def _notices(
    own: Mapping[str, torch.Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    names: Mapping[str, str],
    fitting: Mapping[str, str],
) -> list[str]:
    # A tied weight is under one of its names only: it has its values though the other is not found.
    filled = {own[name].data_ptr() for name in fitting}
    missing = [
        name for name in own if name not in names and own[name].data_ptr() not in filled and own[name].numel()
    ]
    reshaped = [
        f"{name} (here {tuple(own[name].shape)}, there {shapes[names[name]]})"
        for name in names
        if name not in fitting
    ]
    surplus = sorted(set(shapes) - set(names.values()))
    found = [
        ("init_from has nothing for {}: built anew", missing),
        ("init_from has another shape for {}: built anew", reshaped),
        ("init_from has {}, which the model does not", surplus),
    ]
    return [text.format(_shown(rest)) for text, rest in found if rest]


def _why_nothing_fits(own: Mapping[str, torch.Tensor], shapes: Mapping[str, tuple[int, ...]]) -> str:
    ours = [f"{name} {tuple(value.shape)}" for name, value in own.items()]
    return (
        f"has {_shown([f'{name} {shape}' for name, shape in shapes.items()])}, and nothing of it fits the "
        f"model's {_shown(ours)}"
    )


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _NUM_SHOWN} more" if len(names) > _NUM_SHOWN else ""
    return ", ".join(names[:_NUM_SHOWN]) + more if names else "no tensors"

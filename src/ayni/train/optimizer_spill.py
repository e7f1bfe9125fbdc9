"""A learner's optimizer state beside its worker: one safetensors file per learner and round.

DiLoCo never averages optimizer state and never sends it, so a killed worker would lose it. The file
of round r is written before the update of round r is sent; an attempt at round r + 1 that starts in
a new process reads it.

Three rounds are kept: when the coordinator dies, the learners are at most one round ahead of its last
checkpoint, and one more when that checkpoint turns out damaged.
"""

from pathlib import Path

import safetensors
import safetensors.torch
import torch

from ayni.files import write_atomically

_NUM_KEPT = 3


def spill(
    folder: Path, optimizer: torch.optim.Optimizer, *, learner: int, round_: int, fingerprint: str
) -> None:
    """Write the state after a round, atomically, and remove old ones of this learner."""
    tensors = {
        f"{index}.{name}": (value if isinstance(value, torch.Tensor) else torch.tensor(value)).detach().cpu()
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    metadata = {"fingerprint": fingerprint, "round": str(round_)}
    content = safetensors.torch.save(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, metadata
    )
    write_atomically(_path(folder, learner, round_), content)
    for path in sorted(folder.glob(f"learner-{learner:04d}-round-*.safetensors"))[:-_NUM_KEPT]:
        path.unlink(missing_ok=True)


def restore(
    folder: Path, optimizer: torch.optim.Optimizer, *, learner: int, round_: int, fingerprint: str
) -> bool:
    """Load the state after a round into the optimizer; False when there is none that fits."""
    path = _path(folder, learner, round_)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return False
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError):
        return False
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    if not _fits(optimizer, state):
        return False
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return True


def _fits(optimizer: torch.optim.Optimizer, state: dict[int, dict[str, torch.Tensor]]) -> bool:
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return all(
        index < len(parameters) and (value.ndim == 0 or value.shape == parameters[index].shape)
        for index, values in state.items()
        for value in values.values()
    )


def _path(folder: Path, learner: int, round_: int) -> Path:
    return folder / f"learner-{learner:04d}-round-{round_:06d}.safetensors"

"""The coordinator's state after a round, on disk: whole, or not there.

    checkpoints/round-000007.safetensors    parameters/<name>, momentum/<name>
    checkpoints/round-000007.json           everything else, and the SHA-256 of the arrays

The arrays are written first and the JSON last, each atomically, so that the JSON is the commit. The
last two rounds are kept; a torn or damaged one is noticed by its hash, and the one before is used.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.numpy

from ayni.errors import AyniError
from ayni.files import read_json, sha256_of_file, write_atomically
from ayni.train.accepted import AcceptedUpdate
from ayni.train.diloco import OuterState
from ayni.train.named_arrays import NamedArrays

_NUM_KEPT = 2
_FORMAT = 1


class DamagedCheckpointError(AyniError):
    """Checkpoints are there and none of them can be read."""

    def __init__(self, folder: Path, reasons: list[str]) -> None:
        super().__init__(
            f"No checkpoint in {folder} can be read: {'; '.join(reasons)}. Restore the folder from a backup, "
            "or remove the run and start it again."
        )


@dataclass(slots=True)
class Totals:
    """Sums over all rounds and tries so far; see TrainResult for their meaning."""

    samples: int = 0
    wall_seconds: float = 0.0
    compute_seconds: float = 0.0
    bytes_sent: int = 0
    num_optimizer_resets: int = 0


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """State after `round` finished rounds; `round` 0 is the untrained model.

    `fingerprint` names job and model; `last_updates` and `last_progress` are what the round added to
    accepted.jsonl and rounds.jsonl, so that both can be mended after a crash.
    """

    round: int
    fingerprint: str
    outer: OuterState
    totals: Totals = field(default_factory=Totals)
    last_updates: list[AcceptedUpdate] = field(default_factory=list)
    last_progress: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Make a checkpoint durable and remove those that are no longer needed.

    Raises:
        DiskFullError, NotWritableError: the checkpoint before stays the last one.
    """
    arrays = {
        **{f"parameters/{name}": array for name, array in checkpoint.outer.parameters.items()},
        **{f"momentum/{name}": array for name, array in checkpoint.outer.momentum.items()},
    }
    content = safetensors.numpy.save(arrays)
    state = {
        "format": _FORMAT,
        "round": checkpoint.round,
        "fingerprint": checkpoint.fingerprint,
        "arrays_sha256": hashlib.sha256(content).hexdigest(),
        "totals": asdict(checkpoint.totals),
        "last_updates": [update.to_json() for update in checkpoint.last_updates],
        "last_progress": checkpoint.last_progress,
    }
    state["state_sha256"] = _digest(state)
    base = folder / _name(checkpoint.round)
    write_atomically(base.with_suffix(".safetensors"), content)
    write_atomically(base.with_suffix(".json"), json.dumps(state, indent=2, allow_nan=False).encode() + b"\n")
    _remove_old(folder)


def load_latest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a notice for each that is not.

    Raises:
        DamagedCheckpointError: there are checkpoints, all of them damaged.
    """
    notices: list[str] = []
    for path in sorted(folder.glob("round-*.json"), reverse=True):
        try:
            return _load(path), notices
        except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
            notices.append(f"checkpoint {path.stem} is damaged ({error})")
    if notices:
        raise DamagedCheckpointError(folder, notices)
    return None, []


def _load(path: Path) -> Checkpoint:
    state = read_json(path)
    claimed = state.pop("state_sha256")
    if claimed != _digest(state):
        raise ValueError("its state does not match its hash")
    arrays_path = path.with_suffix(".safetensors")
    if sha256_of_file(arrays_path) != state["arrays_sha256"]:
        raise ValueError("its arrays do not match their hash")
    arrays = safetensors.numpy.load_file(arrays_path)
    return Checkpoint(
        round=state["round"],
        fingerprint=state["fingerprint"],
        outer=OuterState(_with_prefix(arrays, "parameters/"), _with_prefix(arrays, "momentum/")),
        totals=Totals(**state["totals"]),
        last_updates=[AcceptedUpdate.from_json(update) for update in state["last_updates"]],
        last_progress=state["last_progress"],
    )


def _with_prefix(arrays: NamedArrays, prefix: str) -> NamedArrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _name(round_: int) -> str:
    return f"round-{round_:06d}"


def _remove_old(folder: Path) -> None:
    names = sorted({path.stem for path in folder.glob("round-*.json")})
    for name in names[:-_NUM_KEPT]:
        # The JSON goes first: without it the arrays are not a checkpoint any more.
        (folder / f"{name}.json").unlink(missing_ok=True)
        (folder / f"{name}.safetensors").unlink(missing_ok=True)

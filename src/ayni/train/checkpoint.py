"""The coordinator's state after a round, on disk: whole, or not there.

    checkpoints/round-000007.safetensors    the arrays, named <group>/<name>: parameters, momentum, ...
    checkpoints/round-000007.json           everything else, and the SHA-256 of the arrays
    checkpoints/best.json                   which round was best on held-out data, where that matters

The arrays are written first and the JSON last, each atomically, so that the JSON is the commit. The
last two rounds are kept, and the best one; a torn or damaged one is noticed by its hash, and the one
before is used.

Arrays are written and read one at a time. With `into`, what is read is copied into arrays that are there
already, so that neither a checkpoint nor a roll back needs memory for a second model.
"""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ayni.errors import AyniError, UserError
from ayni.files import read_json, write_json
from ayni.train.accepted import AcceptedUpdate
from ayni.train.array_file import checksum_of, read_arrays, save_arrays
from ayni.train.named_arrays import NamedArrays, check_manifest, make_manifest

BEST_FILE = "best.json"
_NUM_KEPT = 2
_FORMAT = 3
# A checkpoint is written by one thread while another says which round was best.
_REMOVING = threading.Lock()


class DamagedCheckpointError(AyniError):
    """Checkpoints are there and none of them can be read."""

    def __init__(self, folder: Path, reasons: list[str]) -> None:
        super().__init__(
            f"No checkpoint in {folder} can be read: {'; '.join(reasons)}. Restore the folder from a backup, "
            "or remove the run and start it again."
        )


class OtherFormatError(UserError):
    """A checkpoint was written by a version of Ayni that wrote them differently."""

    def __init__(self, path: Path, found: object) -> None:
        self.found = found
        super().__init__(
            f"The checkpoint {path} has format {found!r}, and this version of Ayni reads format {_FORMAT}. "
            "Finish the run with the version that began it, or start a new run."
        )


@dataclass(slots=True)
class Totals:
    """Sums over all rounds and tries so far; see TrainResult and RoundProgress for their meaning."""

    samples: int = 0
    wall_seconds: float = 0.0
    compute_seconds: float = 0.0
    bytes_sent: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    num_dropped: int = 0
    num_optimizer_resets: int = 0


@dataclass(slots=True, kw_only=True)
class Checkpoint:
    """State after `round` finished rounds; `round` 0 is the untrained model.

    Attributes:
        fingerprint: Names job and model; another one is another training.
        version: Outer steps so far.
        steps_done: Local steps in accepted updates so far, all learners together.
        groups: Arrays by group and name: "parameters", the outer method's, and what else the model needs.
        outer: Counters of the outer method.
        stream: Committed blocks of the stream of examples.
        last_updates: All that were accepted since the checkpoint before, to mend accepted.jsonl.
        last_progress: The same for rounds.jsonl.
        extra: Any JSON that the coordinator wants back.
    """

    round: int
    fingerprint: str
    version: int = 0
    steps_done: int = 0
    groups: dict[str, NamedArrays] = field(default_factory=dict)
    outer: dict[str, int] = field(default_factory=dict)
    stream: dict[str, Any] = field(default_factory=lambda: {"committed": []})
    totals: Totals = field(default_factory=Totals)
    last_updates: list[AcceptedUpdate] = field(default_factory=list)
    last_progress: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Make a checkpoint durable and remove those that are no longer needed.

    Made for a thread of its own: nothing that the checkpoint refers to may change before this returns.

    Raises:
        DiskFullError, NotWritableError: the checkpoint before stays the last one.
    """
    base = folder / _name(checkpoint.round)
    digest = save_arrays(base.with_suffix(".safetensors"), _named(checkpoint.groups))
    state: dict[str, Any] = {
        "format": _FORMAT,
        **{name: getattr(checkpoint, name) for name in _PLAIN},
        "arrays": {group: make_manifest(arrays) for group, arrays in checkpoint.groups.items()},
        "arrays_xxh3": digest,
        "totals": asdict(checkpoint.totals),
        "last_updates": [update.to_json() for update in checkpoint.last_updates],
    }
    # What is hashed must be what will be read: JSON turns numbers as keys into text, and tuples into lists.
    state = json.loads(json.dumps(state, allow_nan=False))
    state["state_sha256"] = _digest(state)
    write_json(base.with_suffix(".json"), state)
    with _REMOVING:
        _remove_old(folder)


# Attributes that are JSON already.
_PLAIN = ("round", "fingerprint", "version", "steps_done", "outer", "stream", "last_progress", "extra")


def load_latest(
    folder: Path, *, into: Mapping[str, NamedArrays] | None = None
) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and a notice for each that is not.

    Args:
        folder: Where checkpoints are.
        into: Arrays by group that are written over where group and name fit, and become part of the
            checkpoint; what the file does not know of them becomes zero. Untouched when nothing is loaded.

    Raises:
        DamagedCheckpointError: there are checkpoints, all of them damaged.
        OtherFormatError: another version of Ayni wrote the newest one that is whole.
        ChangedModelError: the parameters in `into` are not those of the file; nothing was changed.
    """
    notices: list[str] = []
    for path in sorted(folder.glob("round-*.json"), reverse=True):
        try:
            state = _read_state(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            notices.append(f"checkpoint {path.stem} is damaged ({error})")
            continue
        return _load(path, state, into or {}), notices
    if notices:
        raise DamagedCheckpointError(folder, notices)
    return None, []


def keep_best(folder: Path, *, round_: int, loss: float) -> bool:
    """Remember that a round was the best so far, and keep its checkpoint; False when it is gone already."""
    with _REMOVING:
        if not (folder / _name(round_)).with_suffix(".json").exists():
            return False
        write_json(folder / BEST_FILE, {"round": round_, "loss": loss})
        return True


def best_of(folder: Path) -> tuple[int, float] | None:
    """Round and loss of the best checkpoint; None when none was kept."""
    path = folder / BEST_FILE
    if not path.exists():
        return None
    data = read_json(path)
    return int(data["round"]), float(data["loss"])


def load_best(folder: Path, *, into: Mapping[str, NamedArrays] | None = None) -> Checkpoint | None:
    """The checkpoint that `keep_best` named last, for a roll back; None when there is none.

    `into` as in `load_latest`.

    Raises:
        DamagedCheckpointError: it cannot be read.
    """
    best = best_of(folder)
    if best is None:
        return None
    path = (folder / _name(best[0])).with_suffix(".json")
    try:
        state = _read_state(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(folder, [f"the best one, {path.stem}, is damaged ({error})"]) from error
    return _load(path, state, into or {})


def forget_after(folder: Path, round_: int) -> None:
    """Remove checkpoints of later rounds: after a roll back a crash must not bring them back."""
    with _REMOVING:
        for path in folder.glob("round-*.json"):
            if path.stem > _name(round_):
                _remove(path)


def _read_state(path: Path) -> dict[str, Any]:
    """The JSON of a checkpoint whose arrays are whole."""
    state: dict[str, Any] = read_json(path)
    claimed = state.pop("state_sha256")
    if claimed != _digest(state):
        raise ValueError("its state does not match its hash")
    # After the hash: a flipped bit is damage, not another format.
    if state["format"] != _FORMAT:
        raise OtherFormatError(path, state["format"])
    if checksum_of(path.with_suffix(".safetensors")) != state["arrays_xxh3"]:
        raise ValueError("its arrays do not match their checksum")
    return state


def _load(path: Path, state: dict[str, Any], into: Mapping[str, NamedArrays]) -> Checkpoint:
    groups = _checked_targets(state["arrays"], into)
    for key, array in read_arrays(path.with_suffix(".safetensors")):
        group, name = key.split("/", 1)
        if name in groups[group]:
            np.copyto(groups[group][name], array)
        else:
            groups[group][name] = array
    # The file has its own order, and that of the parameters decides how the model is cut into chunks.
    new = {group: {name: groups[group][name] for name in names} for group, names in state["arrays"].items()}
    return Checkpoint(
        **{name: state[name] for name in _PLAIN},
        groups={**new, **into},
        totals=Totals(**state["totals"]),
        last_updates=[AcceptedUpdate.from_json(update) for update in state["last_updates"]],
    )


def _checked_targets(manifest: dict[str, Any], into: Mapping[str, NamedArrays]) -> dict[str, NamedArrays]:
    """Groups to read into; the model is compared before any array is changed."""
    if "parameters" in into:
        check_manifest(make_manifest(into["parameters"]), manifest["parameters"])
    for group, arrays in into.items():
        for name in set(arrays) - set(manifest.get(group, {})):
            arrays[name][...] = 0
    return {group: into.get(group, {}) for group in {**manifest, **into}}


def _named(groups: Mapping[str, NamedArrays]) -> Iterator[tuple[str, NDArray[Any]]]:
    for group, arrays in groups.items():
        for name, array in arrays.items():
            yield f"{group}/{name}", array


def _digest(state: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _name(round_: int) -> str:
    return f"round-{round_:06d}"


def _remove_old(folder: Path) -> None:
    best = best_of(folder)
    spared = {_name(best[0])} if best else set()
    for path in sorted(folder.glob("round-*.json"))[:-_NUM_KEPT]:
        if path.stem not in spared:
            _remove(path)


def _remove(path: Path) -> None:
    # The JSON goes first: without it the arrays are not a checkpoint any more.
    path.unlink(missing_ok=True)
    path.with_suffix(".safetensors").unlink(missing_ok=True)

"""What a learner knows beyond the model, beside its worker: one safetensors file per learner and round.

That is the optimizer's state, what the codec lost so far (error feedback), and with strategy "streaming"
the learner's own values. None of it is ever sent, so a killed worker would lose it. An attempt at a
later round that starts in a new process reads the file of the last round before.

Three rounds are kept: when the coordinator dies, the learners are at most one round ahead of its last
checkpoint, and one more when that checkpoint turns out damaged. With checkpoints only every so many rounds
the rounds of the last two of them are kept too.

The file survives the end of its process at once and a power failure after some seconds: flushing it to
the device would cost more time than all else at the end of a round, and its loss is no more than a reset
that is declared. A file that a power failure tore is noticed by one word of each page.
"""

import contextlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from ayni.files import explain_os_errors, make_folder
from ayni.train.named_arrays import NamedArrays

_NUM_KEPT = 3
_NUM_SAVED_KEPT = 2
_PAGE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Spilled:
    """What was kept after a round: group ("optimizer", "residual", "local") -> arrays."""

    round: int
    groups: Mapping[str, NamedArrays]


def spill(
    folder: Path,
    groups: Mapping[str, NamedArrays],
    *,
    learner: int,
    round_: int,
    fingerprint: str,
    checkpoint_every: int = 1,
) -> None:
    """Write what a learner keeps after a round, and remove its files of other rounds but the last.

    Files of later rounds go too: they belong to a future that was rolled back.

    Raises:
        DiskFullError, NotWritableError: the file could not be written.
    """
    # In C order, because the library writes the memory of other arrays (channels_last) as if it were.
    named = {
        f"{group}/{name}": np.asarray(array, order="C")
        for group, arrays in groups.items()
        for name, array in arrays.items()
    }
    metadata = {"fingerprint": fingerprint, "round": str(round_), "checksum": _checksum(named)}
    make_folder(folder)
    path = _path(folder, learner, round_)
    with explain_os_errors(path), as_os_errors():
        safetensors.numpy.save_file(named, path, metadata)
    found = _rounds_of(folder, learner)
    earlier = [other for other in found if other <= round_]
    saved = [other for other in earlier if other % checkpoint_every == 0]
    for other in set(found) - {*earlier[-_NUM_KEPT:], *saved[-_NUM_SAVED_KEPT:]}:
        _path(folder, learner, other).unlink(missing_ok=True)


def restore(
    folder: Path, *, learner: int, fingerprint: str, before_round: int, only_last: bool = False
) -> Spilled | None:
    """What a learner of this job kept after its last round before one; None when there is nothing whole.

    With `only_last` it must be the very round before.
    """
    for round_ in reversed(_rounds_of(folder, learner)):
        if round_ < before_round - 1 and only_last:
            return None
        if round_ < before_round and (groups := _read(_path(folder, learner, round_), fingerprint)):
            return Spilled(round=round_, groups=groups)
    return None


def _read(path: Path, fingerprint: str) -> dict[str, NamedArrays] | None:
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("fingerprint") != fingerprint:
                return None
            named = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError):
        return None
    if metadata.get("checksum") != _checksum(named):
        return None
    groups: dict[str, NamedArrays] = {"optimizer": {}}
    for name, array in named.items():
        group, own_name = name.split("/", 1)
        groups.setdefault(group, {})[own_name] = array
    return groups


def _checksum(named: Mapping[str, NDArray[Any]]) -> str:
    """CRC-32 of one word of each 4 KiB: what a power failure takes away is whole pages."""
    crc = 0
    for name in sorted(named):
        words = named[name].reshape(-1)
        crc = zlib.crc32(words[:: _PAGE_BYTES // words.itemsize].tobytes(), crc)
    return f"{crc:08x}"


@contextlib.contextmanager
def as_os_errors() -> Iterator[None]:
    """Give errors of the file system their own class again, which the library takes from them."""
    try:
        yield
    except safetensors.SafetensorError as error:
        code = re.search(r"\(os error (\d+)\)", str(error))
        if code is None:
            raise
        raise OSError(int(code[1]), os.strerror(int(code[1]))) from error


def _rounds_of(folder: Path, learner: int) -> list[int]:
    """Rounds after which a learner kept something, in order."""
    prefix = f"learner-{learner:04d}-round-"
    return sorted(
        int(path.stem.removeprefix(prefix))
        for path in folder.glob(f"{prefix}*.safetensors")
        if path.stem.removeprefix(prefix).isdigit()
    )


def _path(folder: Path, learner: int, round_: int) -> Path:
    return folder / f"learner-{learner:04d}-round-{round_:06d}.safetensors"

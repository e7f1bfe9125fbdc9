"""Files of variants with their records; a finished one is never made again.

    int8.onnx, int8.json    a variant, and what is known of it: hashes, quality, what it took to make

A run that was killed finds the records, proves the hashes, and goes on with the first file that is missing,
torn or made from something else.

Not covered: how a file is made (`ayni.compress.artefacts`, `ayni.compress.keras.keras_artefacts`), and how
good it is (`ayni.compress.judge`).
"""

import hashlib
import json
import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ayni.compress.config import step_name
from ayni.compress.evidence.break_even import EnergyInterval, interval_of_estimate
from ayni.compress.ports import EnergyMeter
from ayni.compress.steps import QuantizeStep, Step
from ayni.compress.variants import RuntimeName
from ayni.files import make_folder, read_json, sha256_of_file, write_json

FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Files of a variant, what runs them, and how they came about."""

    file: Path
    runtime: RuntimeName
    note: str
    companions: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """Files of a variant with their record, which lacks the quality until somebody judges it."""

    name: str
    files: Sequence[Path]
    steps: tuple[Mapping[str, Any], ...]
    record: dict[str, Any]

    @property
    def file(self) -> Path:
        """The one that is opened."""
        return self.files[0]

    @property
    def sha256(self) -> str:
        """Of the file that is opened."""
        first: str = next(iter(self.record["files"].values()))
        return first


class Records:
    """What is known of the files in one folder.

    Args:
        folder: with the records.
        origin: what everything in it is made from; plain values, such as the hash of the model.
        meter: of what making takes.
    """

    def __init__(self, folder: Path, *, origin: Sequence[Any], meter: EnergyMeter) -> None:
        make_folder(folder)
        self.folder, self._origin, self._meter = folder, list(origin), meter

    def made(
        self,
        name: str,
        store: Callable[[], Stored],
        *,
        key: Sequence[Any],
        num_parameters: int,
        spent_before: EnergyInterval | None,
        note: str = "",
        steps: Sequence[Mapping[str, Any]] = (),
    ) -> Made:
        """The files of a variant: those that are there if they were made from the same, else new ones.

        Args:
            name: of the variant, and of its record.
            store: makes the files.
            key: plain values that, with name and origin, decide what the files hold.
            num_parameters: of the model.
            spent_before: energy of what led to the files; None when unknown.
            note: what to say before the note of what was stored.
            steps: what was done, as entries of a job.
        """
        made_from = self.hash_of([name, *key])
        record = valid_record(self.folder / f"{name}.json", made_from=made_from, folder=self.folder)
        if record is None:
            kept: list[Stored] = []
            spent = self.metered(lambda: kept.append(store()))
            stored, making = kept[0], sum_of_energies(spent_before, spent)
            record = {
                "made_from": made_from,
                # Relative to the folder, so that a run may be moved; the first is the one that is opened.
                "files": {
                    os.path.relpath(path, self.folder): sha256_of_file(path)
                    for path in (stored.file, *stored.companions)
                },
                "runtime": stored.runtime,
                "num_parameters": num_parameters,
                "note": "; ".join(part for part in (note, stored.note) if part),
                "making": None if making is None else making.to_json(),
            }
        files = [Path(os.path.normpath(self.folder / path)) for path in record["files"]]
        return Made(name=name, files=files, steps=tuple(steps), record=record)

    def keep(self, made: Made) -> None:
        """Write the record of a variant."""
        write_json(self.folder / f"{made.name}.json", made.record)

    def metered(self, work: Callable[[], object]) -> EnergyInterval | None:
        """Do the work; its energy, or None when nobody could tell."""

        def once() -> int:
            work()
            return 1

        return interval_of_estimate(self._meter.measure(once))

    def hash_of(self, key: Sequence[Any]) -> str:
        """SHA-256 of the origin and a key."""
        return hashlib.sha256(json.dumps([*self._origin, *key]).encode()).hexdigest()


def steps_json(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """Steps as entries of a job, each with the runtime that it had."""
    return [{step_name(step): asdict(_with_runtime(step))} for step in steps]


def _with_runtime(step: Step) -> Step:
    return replace(step, runtime=step.torch_runtime) if isinstance(step, QuantizeStep) else step


def sum_of_energies(one: EnergyInterval | None, other: EnergyInterval | None) -> EnergyInterval | None:
    """Both together; None, and never a part, when one is unknown."""
    if one is None or other is None:
        return None
    return EnergyInterval(
        low_joules=one.low_joules + other.low_joules,
        joules=one.joules + other.joules,
        high_joules=one.high_joules + other.high_joules,
    )


def valid_record(file: Path, *, made_from: str, folder: Path) -> dict[str, Any] | None:
    """The record, if it speaks of the same origin and every file is unchanged; else None: make it again."""
    if not file.exists():
        return None
    try:
        record: dict[str, Any] = read_json(file)
    except ValueError:
        return None
    files = {name: folder / name for name in record.get("files", {})}
    if record.get("made_from") != made_from or not all(path.exists() for path in files.values()):
        return None
    is_whole = all(sha256_of_file(path) == record["files"][name] for name, path in files.items())
    return record if is_whole else None

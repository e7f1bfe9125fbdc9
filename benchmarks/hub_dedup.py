"""A model is uploaded a second time with a few tensors changed: how much of it is stored anew.

126 MB of bfloat16, 60 tensors of 1024 x 1024, of which 2 have new values; a safetensors file. The uploader's
own client remembers what it sent; a fresh one, on another machine as it were, knows nothing and finds by the
hub's answers what is there already. Both are the Hugging Face client, unmodified.

What is stored is what the hub's folder of chunks grew by. The files are read back and compared. The new
numbers are 4.19 MB, 2.77 MB by their entropy, which LZ4 does not reach; chunks at the borders of the changed
tensors add 0.1 to 0.5 MB of old numbers.

Not covered: a full fine-tune. It changes every weight, so nothing of it is shared, by any tool of this kind.
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.hub_process import HubProcess, running_hub
from benchmarks.hub_upload import digest_of
from benchmarks.registry import Benchmark, Outcome

NUM_TENSORS, WIDTH = 60, 1024
CHANGED = (7, 41)
MOST_NEW_BYTES = {"warm": 4_000_000, "fresh": 20_000_000}
_NAME = "model.safetensors"
_UPLOAD = """
import sys
from huggingface_hub import HfApi
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="model.safetensors", repo_id=sys.argv[1])
"""


def measure(quick: bool) -> Outcome:
    """One seed, or three: the model, and its change by both kinds of client, on a hub of its own each."""
    seeds = (0,) if quick else (0, 1, 2)
    grown: dict[str, list[int]] = {"first": [], "warm": [], "fresh": []}
    for seed in seeds:
        for client in ("warm", "fresh"):
            with tempfile.TemporaryDirectory() as folder:
                first, second = _grown(Path(folder), seed, client)
            grown["first"].append(first)
            grown[client].append(second)
    values: dict[str, Any] = {"model_mb": round(2 * NUM_TENSORS * WIDTH**2 / 1e6, 1)}
    values |= {f"{name}_newly_stored_mb": round(max(found) / 1e6, 2) for name, found in grown.items()}
    is_met = all(max(grown[name]) <= most for name, most in MOST_NEW_BYTES.items())
    return Outcome(values=values, seeds=seeds, met=is_met)


def write_models(folder: Path, seed: int) -> tuple[Path, Path]:
    """The model and the same with a few tensors changed."""
    generator = torch.Generator().manual_seed(seed)

    def tensor() -> torch.Tensor:
        return torch.randn(WIDTH, WIDTH, generator=generator).to(torch.bfloat16)

    tensors = {f"layer.{number:02d}.weight": tensor() for number in range(NUM_TENSORS)}
    changed = tensors | {f"layer.{number:02d}.weight": tensor() for number in CHANGED}
    paths = folder / "first" / _NAME, folder / "second" / _NAME
    for path, content in zip(paths, (tensors, changed), strict=True):
        path.parent.mkdir(parents=True)
        save_file(content, path)
    return paths


def _grown(folder: Path, seed: int, client: str) -> tuple[int, int]:
    first, second = write_models(folder, seed)
    with running_hub(folder / "hub") as hub:
        after_first = _upload(hub, folder / "home", first)
        if client == "fresh":
            shutil.rmtree(folder / "home")
        after_second = _upload(hub, folder / "home", second)
    return after_first, after_second - after_first


def _upload(hub: HubProcess, home: Path, path: Path) -> int:
    words = [sys.executable, "-c", _UPLOAD, "ada/model", str(path)]
    subprocess.run(words, env=hub.client_environment(home), capture_output=True, check=True)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    if (found := digest_of(hub, f"ada/model/resolve/main/{_NAME}")) != expected:
        raise RuntimeError(f"{found} came back instead of {expected}")
    files = (each for each in (Path(hub.places.folder) / "objects" / "xorbs").rglob("*") if each.is_file())
    return sum(each.stat().st_size for each in files)


BENCHMARK = Benchmark(
    name="hub_dedup",
    topic="hub: transfers",
    bar="second upload of a 126 MB bfloat16 model with 2 of 60 tensors changed: at most 4 MB newly stored "
    "from the client that sent the first, 20 MB from a fresh one",
    seconds_quick=40,
    seconds_full=120,
    measure=measure,
)

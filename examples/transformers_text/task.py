"""A model of Hugging Face Transformers as a task: from which topic of Python's manual are these words?

The model is a small BERT made from a configuration, so that nothing is downloaded; a folder with weights
of your own works the same way (`train.init_from`). The text is that of `pydoc_data.topics`, which comes
with Python (what `help("topics")` shows); its length differs a little between Python versions.

`ManualTopics` learns eight topics. `OtherTopics` goes on from its weights to four topics with little text,
and trains adapters only (adapter.yaml).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from functools import cache
from platform import python_version

import numpy as np
import torch
from torch import nn
from torch.nn import functional

NUM_WORDS = 32  # that the model sees at once
STRIDE = 8  # words from one training window to the next; those of the other splits do not overlap
VOCABULARY_SIZE = 1500  # most frequent words of the training text; 0 pads, 1 stands for any other word
PADDING, UNKNOWN = 0, 1
SPLITS = ("train", "validation", "test")
# Of ten paragraphs of a topic, which go where. No paragraph is in two splits.
SPLIT_OF_TEN = {**dict.fromkeys(range(8), "train"), 8: "validation", 9: "test"}
BIG_TOPICS = (
    *("compound", "debugger", "formatstrings", "specialnames"),
    *("string-methods", "types", "typesmapping", "typesseq"),
)
SMALL_TOPICS = ("assignment", "comparisons", "import", "strings")

Batch = tuple[torch.Tensor, torch.Tensor]


class Classifier(nn.Module):
    """Logits instead of Transformers' output objects, so that every tool can call it."""

    def __init__(self, num_topics: int) -> None:
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification

        self.bert = BertForSequenceClassification(
            BertConfig(
                vocab_size=VOCABULARY_SIZE,
                hidden_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                intermediate_size=128,
                max_position_embeddings=NUM_WORDS,
                num_labels=num_topics,
                pad_token_id=PADDING,
            )
        )

    def forward(self, words_NT: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.bert(
            input_ids=words_NT, attention_mask=(words_NT != PADDING).long()
        ).logits
        return logits


class ManualTopics:
    """From which of the eight longest topics are these 32 words?"""

    topics = BIG_TOPICS

    def build_model(self) -> nn.Module:
        """About 170,000 parameters."""
        return Classifier(len(self.topics))

    def dataset(self, split: str) -> list[tuple[np.ndarray, int]]:
        """Pairs of int64 [NUM_WORDS] and the place of the topic in `topics`."""
        return windows_of(self.topics, split)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy, in nats."""
        words, topic = batch
        return functional.cross_entropy(model(words), topic)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Share of the windows whose topic is right."""
        model.eval()
        right, sum_nats, num = 0, 0.0, 0
        for words, topic in batches:
            logits = model(words)
            right += int((logits.argmax(1) == topic).sum())
            sum_nats += float(functional.cross_entropy(logits, topic, reduction="sum"))
            num += len(topic)
        return {"accuracy": right / num, "loss": sum_nats / num}

    def example_input(self) -> torch.Tensor:
        """A window of unknown words."""
        return torch.full((1, NUM_WORDS), UNKNOWN)

    def labels(self) -> list[str]:
        """What each output of the model means."""
        return list(self.topics)

    def symbols(self) -> list[str]:
        """What the numbers of the input stand for."""
        return ["", "?", *vocabulary()]

    def data_card(self) -> Mapping[str, str | int]:
        """Where the text comes from and what may be done with it."""
        return {
            "name": "Topics of the Python manual",
            "licence": "psf-2.0",
            "source": f"pydoc_data.topics of Python {python_version()}",
            "attribution": "Python Software Foundation",
            "rows": sum(len(windows_of(self.topics, split)) for split in SPLITS),
            "note": "Rows are windows of 32 words, of paragraphs in one topic only; split 80 / 10 / 10.",
        }

    def baseline(self) -> Mapping[str, object]:
        """Counting words: the topic whose training text makes the window most probable (naive Bayes).

        p(topic | words) ~ p(topic) prod_w (count(topic, w) + 1) / (count(topic) + VOCABULARY_SIZE)
        """
        counts = np.ones((len(self.topics), VOCABULARY_SIZE))
        prior = np.zeros(len(self.topics))
        for words, topic in windows_of(self.topics, "train"):
            np.add.at(counts[topic], words, 1)
            prior[topic] += 1
        log_p = np.log(counts / counts.sum(1, keepdims=True))
        log_p[:, PADDING] = 0.0
        test = windows_of(self.topics, "test")
        right = [(np.log(prior) + log_p[:, words].sum(1)).argmax() == topic for words, topic in test]
        # How much likelier a word is in this topic than in all of them on average.
        weights = log_p - log_p.mean(0)
        number_of = vocabulary()
        return {
            "name": "naive Bayes",
            "accuracy": float(np.mean(right)),
            "coefficients": {
                topic: {word: row[number] for word, number in number_of.items()}
                for topic, row in zip(self.topics, weights, strict=True)
            },
        }


class OtherTopics(ManualTopics):
    """From which of four short topics are these words? Little text: a case for `init_from` and adapters."""

    topics = SMALL_TOPICS


@cache
def windows_of(names: tuple[str, ...], split: str) -> list[tuple[np.ndarray, int]]:
    """Windows of a split, each with the place of its topic in `names`."""
    stride = STRIDE if split == "train" else NUM_WORDS
    numbers = vocabulary()
    # Different words can become the same numbers, most of them UNKNOWN: no such window is in two splits.
    earlier = SPLITS[: SPLITS.index(split)]
    taken = {window.tobytes() for before in earlier for window, _ in windows_of(names, before)}
    windows: list[tuple[np.ndarray, int]] = []
    for topic, name in enumerate(names):
        for place, words in enumerate(paragraphs()[name]):
            if SPLIT_OF_TEN[place % 10] != split:
                continue
            for start in range(0, max(1, len(words) - NUM_WORDS + stride), stride):
                window = np.full(NUM_WORDS, PADDING, dtype=np.int64)
                piece = [numbers.get(word, UNKNOWN) for word in words[start : start + NUM_WORDS]]
                window[: len(piece)] = piece
                if window.tobytes() not in taken:
                    windows.append((window, topic))
    return windows


@cache
def vocabulary() -> dict[str, int]:
    """Word -> its number, by frequency in the training text of the big topics."""
    counts = Counter(
        word
        for name in BIG_TOPICS
        for place, words in enumerate(paragraphs()[name])
        if SPLIT_OF_TEN[place % 10] == "train"
        for word in words
    )
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(ordered[: VOCABULARY_SIZE - 2], start=2)}


@cache
def paragraphs() -> dict[str, list[list[str]]]:
    """Topic -> its paragraphs of at least eight words, as words; what stands in two topics is left out."""
    from pydoc_data.topics import topics

    owners: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            owners[tuple(re.findall(r"\w+|[^\w\s]", paragraph.lower()))].add(name)
    kept: dict[str, list[list[str]]] = defaultdict(list)
    for words, names in owners.items():
        if len(names) == 1 and len(words) >= 8:
            kept[next(iter(names))].append(list(words))
    return kept

"""A small GPT that learns to write like the manual of Python, one character at a time.

The text is that of `pydoc_data.topics`, which comes with Python itself (what `help("topics")`
shows), so that nothing is downloaded. Its length differs a little between Python versions.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from math import log
from platform import python_version

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import Dataset

CONTEXT = 128  # characters that the model sees at once
NUM_SYMBOLS = 128  # ASCII; the few other characters of the text become "?"
WIDTH, NUM_HEADS, NUM_LAYERS = 192, 6, 3
SPLIT_BOUNDS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}

Batch = tuple[torch.Tensor, torch.Tensor]


class Block(nn.Module):
    """Attention to earlier characters, then a layer on each character; both added to their input."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.dense_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.mix_heads = nn.Linear(WIDTH, WIDTH)
        self.dense = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x_NTW: torch.Tensor) -> torch.Tensor:
        num, length, width = x_NTW.shape
        parts = self.query_key_value(self.attention_norm(x_NTW)).chunk(3, dim=-1)
        query, key, value = (p.view(num, length, NUM_HEADS, -1).transpose(1, 2) for p in parts)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x_NTW = x_NTW + self.mix_heads(seen.transpose(1, 2).reshape(num, length, width))
        return x_NTW + self.dense(self.dense_norm(x_NTW))


class GPT(nn.Module):
    """From T characters to the logits of the character after each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(NUM_SYMBOLS, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        # A look at the last four characters: without it short training is spent on learning to find them.
        self.recent = nn.Conv1d(WIDTH, WIDTH, kernel_size=4)
        self.blocks = nn.Sequential(*(Block() for _ in range(NUM_LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.next_character = nn.Linear(WIDTH, NUM_SYMBOLS)
        for name, weight in self.named_parameters():
            if weight.dim() == 2 and "norm" not in name:
                nn.init.normal_(weight, std=0.02)

    def forward(self, text_NT: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(text_NT.shape[1], device=text_NT.device)
        x_NTW = self.characters(text_NT)
        recent_NWT = self.recent(functional.pad(x_NTW.transpose(1, 2), (3, 0)))
        x_NTW = self.blocks(x_NTW + recent_NWT.transpose(1, 2) + self.positions(positions))
        return self.next_character(self.norm(x_NTW))


class Windows(Dataset[Batch]):
    """Windows of CONTEXT characters of a text, each paired with the same window one character later."""

    def __init__(self, symbols: np.ndarray, stride: int) -> None:
        self.symbols = torch.from_numpy(symbols.astype(np.int64))
        self.stride = stride

    def __len__(self) -> int:
        return (len(self.symbols) - CONTEXT - 1) // self.stride + 1

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        window = self.symbols[index * self.stride :][: CONTEXT + 1]
        return window[:-1], window[1:]


class LanguageModel:
    """Which character comes next?"""

    def build_model(self) -> nn.Module:
        """1.6 million parameters."""
        return GPT()

    def dataset(self, split: str) -> Windows:
        """Pairs of int64 [CONTEXT]. Training windows overlap by half; the others do not."""
        return Windows(symbols_of_split(split), CONTEXT // 2 if split == "train" else CONTEXT)

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy of the next character, in nats."""
        text, following = batch
        return functional.cross_entropy(model(text).flatten(0, 1), following.flatten())

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Bits per character: mean of -log2 p(next character); the lower the better."""
        model.eval()
        sum_nats, num_characters, num_right = 0.0, 0, 0
        for text, following in batches:
            logits, wanted = model(text).flatten(0, 1), following.flatten()
            sum_nats += float(functional.cross_entropy(logits, wanted, reduction="sum"))
            num_right += int((logits.argmax(1) == wanted).sum())
            num_characters += len(wanted)
        return {
            "bits_per_character": sum_nats / num_characters / log(2),
            "next_character_accuracy": num_right / num_characters,
        }

    def example_input(self) -> torch.Tensor:
        """One window of blanks."""
        return torch.full((1, CONTEXT), ord(" "))

    def labels(self) -> list[str]:
        """What each output of the model means."""
        return [chr(code) for code in range(NUM_SYMBOLS)]

    def data_card(self) -> Mapping[str, str | int]:
        """Where the text comes from and what may be done with it."""
        return {
            "name": "Topics of the Python manual",
            "licence": "psf-2.0",
            "source": f"pydoc_data.topics of Python {python_version()}",
            "attribution": "Python Software Foundation",
            "rows": len(manual()),
            "note": "Rows are characters. Repeated paragraphs are kept once; split 80 / 10 / 10 in order.",
        }

    def baseline(self) -> Mapping[str, str | float]:
        """What counting alone reaches on the test text: how often a character followed the last 0, 1 or 2.

        p(c | past) = (count(past, c) + a) / (count(past) + a NUM_SYMBOLS),   a = 0.01
        """
        unigram, bigram, trigram = (count_model_bits(order) for order in range(3))
        return {
            "name": "trigram counts",
            "bits_per_character": trigram,
            "bigram_bits_per_character": bigram,
            "unigram_bits_per_character": unigram,
        }


@cache
def manual() -> np.ndarray:
    """The text as ASCII codes, uint8. Topics quote each other, so that each paragraph is taken once."""
    from pydoc_data.topics import topics

    paragraphs = [paragraph for name in sorted(topics) for paragraph in topics[name].split("\n\n")]
    # Quotes differ in indentation and line breaks: those do not count in the comparison.
    once = {
        " ".join(paragraph.split()): paragraph.strip("\n") for paragraph in paragraphs if paragraph.strip()
    }
    return np.frombuffer("\n\n".join(once.values()).encode("ascii", errors="replace"), dtype=np.uint8)


def symbols_of_split(split: str) -> np.ndarray:
    first, last = SPLIT_BOUNDS[split]
    text = manual()
    return text[round(first * len(text)) : round(last * len(text))]


def count_model_bits(order: int, pseudo_count: float = 0.01) -> float:
    """Cross-entropy in bits of a model that counts which character followed the last `order` ones."""
    counts = np.full((NUM_SYMBOLS**order, NUM_SYMBOLS), pseudo_count)
    np.add.at(counts, past_and_next(symbols_of_split("train"), order), 1)
    past, following = past_and_next(symbols_of_split("test"), order)
    return float(-np.log2(counts[past, following] / counts.sum(1)[past]).mean())


def past_and_next(symbols: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (number of the `order` characters before, character), one for each place in the text."""
    wide = symbols.astype(np.int64)
    past = np.zeros(len(wide) - order, dtype=np.int64)
    for place in range(order):
        past = past * NUM_SYMBOLS + wide[place : len(wide) - order + place]
    return past, wide[order:]

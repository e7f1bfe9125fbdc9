"""The task of the training benchmarks: a small GPT on the text of Python's manual, one character at a time.

Small enough that one core takes 100 steps a second, so that a claim about loss can be asked of several
seeds within minutes, and large enough that loss still falls after thousands of steps. It needs torch and
numpy only, because the systems that Ayni is compared with load it in environments of their own.

`RECIPE` is what all of them train with. It was tuned for per-step averaging, the baseline: its learning
rate is that one's best, so that nobody is compared with a weakened opponent.

Not covered: models that do not fit a core's cache, and text in other languages.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CONTEXT = 64  # characters that the model sees at once
NUM_SYMBOLS = 128  # ASCII; the few other characters of the text become "?"
WIDTH, NUM_HEADS, NUM_LAYERS = 64, 2, 2
NUM_VALIDATION_WINDOWS = 192
SPLIT_BOUNDS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How long and how fast every system trains; the fields mean what those of TrainConfig do."""

    num_learners: int = 2
    num_steps: int = 3000
    batch_size: int = 8
    learning_rate: float = 1.6e-2
    weight_decay: float = 0.1
    warmup_steps: int = 60
    gradient_clip: float = 1.0

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then a cosine that ends at zero; step is counted from 0."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        progress = (step - self.warmup_steps) / (self.num_steps - self.warmup_steps)
        return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2


RECIPE = Recipe()
# One setting of the outer step for every distance between exchanges.
OUTER_LEARNING_RATE, OUTER_MOMENTUM = 1.0, 0.6


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
        out: torch.Tensor = x_NTW + self.dense(self.dense_norm(x_NTW))
        return out


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
        logits: torch.Tensor = self.next_character(self.norm(x_NTW))
        return logits


class Windows(torch.utils.data.Dataset[Batch]):
    """Windows of CONTEXT characters of a text, each paired with the same window one character later."""

    def __init__(self, symbols: np.ndarray, starts: np.ndarray) -> None:
        self.symbols = torch.from_numpy(symbols.astype(np.int64))
        self.starts = starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> Batch:
        start = int(self.starts[index])
        window = self.symbols[start : start + CONTEXT + 1]
        return window[:-1], window[1:]


class SmallGPT:
    """Which character comes next?"""

    def build_model(self) -> nn.Module:
        """137 thousand parameters."""
        return GPT()

    def dataset(self, split: str) -> Windows:
        """Training windows overlap by half; the others are spread evenly over the split's text."""
        symbols = symbols_of_split(split)
        last = len(symbols) - CONTEXT - 1
        if split == "train":
            return Windows(symbols, np.arange(0, last + 1, CONTEXT // 2))
        return Windows(symbols, np.linspace(0, last, NUM_VALIDATION_WINDOWS).astype(np.int64))

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy of the next character, in nats."""
        text, following = batch
        return functional.cross_entropy(model(text).flatten(0, 1), following.flatten())

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """The same mean over all batches, weighted by their characters."""
        model.eval()
        sum_nats, num_characters = 0.0, 0
        for batch in batches:
            sum_nats += float(self.loss(model, batch)) * batch[1].numel()
            num_characters += batch[1].numel()
        return {"loss": sum_nats / num_characters}

    def example_input(self) -> torch.Tensor:
        """One window of blanks."""
        return torch.full((1, CONTEXT), ord(" "))


def validation_loss(model: nn.Module) -> float:
    """Loss on the whole validation split; the model is left in training mode."""
    task = SmallGPT()
    windows = task.dataset("validation")
    batches = (
        _stacked(windows, range(first, min(first + 64, len(windows)))) for first in range(0, len(windows), 64)
    )
    found = task.evaluate(model, batches)["loss"]
    model.train()
    return found


def peer_batches(*, rank: int, seed: int, recipe: Recipe = RECIPE) -> Iterator[Batch]:
    """Endless batches of one of the peers that share each epoch, as Ayni's learners share its stream.

    Epochs are seeded permutations of all windows; step s takes the next num_learners * batch_size of
    them, and peer r the r-th part of those.
    """
    windows = SmallGPT().dataset("train")
    rng = np.random.default_rng(seed)
    together = recipe.num_learners * recipe.batch_size
    order = np.empty(0, dtype=np.int64)
    while True:
        if len(order) < together:
            order = np.concatenate([order, rng.permutation(len(windows))])
        mine = order[rank * recipe.batch_size : (rank + 1) * recipe.batch_size]
        order = order[together:]
        yield _stacked(windows, mine.tolist())


def _stacked(windows: Windows, indices: Iterable[int]) -> Batch:
    pairs = [windows[index] for index in indices]
    return torch.stack([text for text, _ in pairs]), torch.stack([following for _, following in pairs])


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

"""Two small tasks with trained models: bars in images (convolutions), repeating symbols (integers)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_model
from torch import nn
from torch.nn import functional


class Bars:
    """In which third of an 8 x 8 image is the bar? Noise makes it a little hard."""

    num_examples: Mapping[str, int] = {"train": 192, "validation": 96, "test": 96}

    def build_model(self) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 3),
        )  # fmt: skip

    def dataset(self, split: str) -> Sequence[Any]:
        generator = torch.Generator().manual_seed(list(self.num_examples).index(split))
        labels = [index % 3 for index in range(self.num_examples[split])]
        images = 0.3 * torch.randn((len(labels), 1, 8, 8), generator=generator)
        for image, label in zip(images, labels, strict=True):
            image[0, :, 1 + 2 * label : 3 + 2 * label] += 1
        return list(zip(images, labels, strict=True))

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        right = total = 0
        for images, labels in batches:
            right += int((model(images).argmax(1) == labels).sum())
            total += len(labels)
        return {"accuracy": right / total}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 1, 8, 8)


class TinyTransformer(nn.Module):
    """Symbols to the logits of the next one; input and output embeddings are tied."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols, self.places = nn.Embedding(8, 16), nn.Embedding(12, 16)
        self.mix, self.dense = nn.Linear(16, 48), nn.Linear(16, 16)
        self.head = nn.Linear(16, 8, bias=False)
        self.head.weight = self.symbols.weight

    def forward(self, text_NT: torch.Tensor) -> torch.Tensor:
        x_NTW = self.symbols(text_NT) + self.places(torch.arange(text_NT.shape[1]))
        query, key, value = self.mix(x_NTW).unsqueeze(1).chunk(3, dim=-1)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True).squeeze(1)
        logits_NTV: torch.Tensor = self.head(x_NTW + functional.gelu(self.dense(seen)))
        return logits_NTV


class Symbols:
    """Which symbol comes next in 0, k, 2k, 3k ... modulo 8? Lower is better."""

    def build_model(self) -> nn.Module:
        return TinyTransformer()

    def dataset(self, split: str) -> Sequence[Any]:
        rows = torch.arange(64 if split == "train" else 24)
        text = ((rows[:, None] % 3 + 1) * torch.arange(13)[None] + rows[:, None] // 3) % 8
        return [(row[:-1], row[1:]) for row in text]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        return functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        nats, total = 0.0, 0
        with torch.no_grad():
            for batch in batches:
                nats += float(self.loss(model, batch)) * batch[1].numel()
                total += batch[1].numel()
        return {"bits_per_symbol": nats / total / math.log(2)}

    def example_input(self) -> torch.Tensor:
        return torch.zeros(1, 12, dtype=torch.long)


def trained(task: Any, *, num_steps: int) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = task.build_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch = torch.utils.data.default_collate(task.dataset("train"))
    for _ in range(num_steps):
        optimizer.zero_grad()
        task.loss(model, batch).backward()
        optimizer.step()
    return model.eval()


@pytest.fixture
def bars() -> Bars:
    return Bars()


@pytest.fixture
def symbols() -> Symbols:
    return Symbols()


@pytest.fixture(scope="session")
def bars_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("bars") / "model.safetensors"
    save_model(trained(Bars(), num_steps=30), str(file))
    return file


@pytest.fixture(scope="session")
def symbols_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("symbols") / "model.safetensors"
    save_model(trained(Symbols(), num_steps=60), str(file))
    return file


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small models lose time with more."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_weights_each_time() -> None:
    """Models that a test builds begin with the same weights in every run."""
    torch.manual_seed(0)

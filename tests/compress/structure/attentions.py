"""Small attentions in the styles that model code is written in."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """A residual block around an attention of `heads` heads; keys and values have `key_heads`."""

    def __init__(
        self, style: str = "sdpa", *, width: int = 12, heads: int = 4, key_heads: int | None = None
    ) -> None:
        super().__init__()
        self.style, self.num_heads, self.head_dim = style, heads, width // heads
        self.num_key_value_heads = key_heads or heads
        inner = self.num_key_value_heads * self.head_dim
        if style in ("blocks", "interleaved"):
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.query, self.key, self.value = (
                nn.Linear(width, width), nn.Linear(width, inner), nn.Linear(width, inner)
            )  # fmt: skip
        self.all_head_size = width
        self.out = nn.Linear(width, width)

    def _parts(self, x: torch.Tensor) -> list[torch.Tensor]:
        batch, places, _ = x.shape
        if self.style == "blocks":
            return list(self.qkv(x).view(batch, places, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4))
        if self.style == "interleaved":
            return list(self.qkv(x).view(batch, places, self.num_heads, 3, -1).permute(3, 0, 2, 1, 4))
        return [
            layer(x).view(batch, places, count, self.head_dim).transpose(1, 2)
            for layer, count in (
                (self.query, self.num_heads),
                (self.key, self.num_key_value_heads),
                (self.value, self.num_key_value_heads),
            )
        ]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self._parts(x)
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        if self.style == "eager":
            scores = query @ key.transpose(-1, -2) / self.head_dim**0.5
            seen = functional.dropout(scores.softmax(-1), 0.1, self.training) @ value
        else:
            seen = functional.scaled_dot_product_attention(query, key, value)
        joined = seen.transpose(1, 2).reshape(*x.shape[:2], self.all_head_size)
        result: torch.Tensor = x + self.out(joined)
        return result


class Stack(nn.Module):
    """Blocks between an embedding and a head, with a feed-forward layer that may lose channels."""

    def __init__(self, *blocks: nn.Module, width: int = 12) -> None:
        super().__init__()
        self.embed, self.places = nn.Embedding(9, width), nn.Embedding(6, width)
        self.blocks = nn.ModuleList(blocks)
        self.wide, self.narrow, self.norm = nn.Linear(width, 20), nn.Linear(20, width), nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def forward(self, text: torch.Tensor) -> torch.Tensor:
        x = self.embed(text) + self.places(torch.arange(text.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits: torch.Tensor = self.head(self.norm(x + self.narrow(functional.gelu(self.wide(x)))))
        return logits


def text(*shape: int, seed: int = 0) -> Any:
    return torch.randint(0, 9, shape or (2, 6), generator=torch.Generator().manual_seed(seed))

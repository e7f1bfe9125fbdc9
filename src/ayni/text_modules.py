"""Models of Transformers behind modules that give one tensor, which every exporter and runtime can handle.

Legend: N examples, T tokens, V words of the vocabulary, D elements of an embedding.
"""

from typing import Any

import torch
from torch import nn


class LogitsOnly(nn.Module):
    """A causal language model: token ids [N, T] to logits [N, T, V], without a cache."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids_NT: torch.Tensor) -> torch.Tensor:
        """Logits of the token after each."""
        logits: torch.Tensor = self.model(input_ids=input_ids_NT, use_cache=False).logits
        return logits


class MeanPooled(nn.Module):
    """An encoder: the mean of the hidden states of real tokens, with length 1.

    Source: Reimers and Gurevych, "Sentence-BERT", EMNLP 2019, section 3, arXiv:1908.10084.
    """

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids_NT: torch.Tensor, attention_mask_NT: torch.Tensor) -> torch.Tensor:
        """Embeddings [N, D]."""
        hidden_NTD = self.encoder(input_ids=input_ids_NT, attention_mask=attention_mask_NT).last_hidden_state
        weights_NT1 = attention_mask_NT[..., None].to(hidden_NTD.dtype)
        mean_ND = (hidden_NTD * weights_NT1).sum(1) / weights_NT1.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(mean_ND, dim=-1)

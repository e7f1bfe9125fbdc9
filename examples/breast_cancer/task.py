"""A table: is a tumour of the breast benign, by thirty numbers about the nuclei of its cells?

The 569 rows come inside scikit-learn. A small network stands beside logistic regression, which is as good on
so few rows: look at the baseline before you pay for a network.
"""

from collections.abc import Iterable, Mapping
from functools import cache

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

SPLIT_SEED = 0
SPLIT_BOUNDS = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}

Batch = tuple[torch.Tensor, torch.Tensor]


class BreastCancer:
    """Malignant or benign?"""

    def build_model(self) -> nn.Module:
        """1,058 parameters."""
        return nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))

    def dataset(self, split: str) -> TensorDataset:
        """Pairs of float32 [30], in standard deviations of the training rows, and the class, int64."""
        rows, classes, _, _ = read_table()
        first, last = SPLIT_BOUNDS[split]
        order = np.random.default_rng(SPLIT_SEED).permutation(len(rows))
        train = rows[order[: round(SPLIT_BOUNDS["train"][1] * len(rows))]]
        chosen = order[round(first * len(rows)) : round(last * len(rows))]
        scaled = (rows[chosen] - train.mean(axis=0)) / train.std(axis=0)
        return TensorDataset(
            torch.from_numpy(scaled.astype(np.float32)), torch.from_numpy(classes[chosen].astype(np.int64))
        )

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean cross-entropy."""
        rows, classes = batch
        return functional.cross_entropy(model(rows), classes)

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Share of right answers, and the share of malignant tumours that were found."""
        model.eval()
        found = [(model(rows).argmax(1), classes) for rows, classes in batches]
        answers, classes = (torch.cat(part) for part in zip(*found, strict=True))
        return {
            "accuracy": float((answers == classes).float().mean()),
            "malignant_found": float((answers[classes == 0] == 0).float().mean()),
        }

    def example_input(self) -> torch.Tensor:
        """One average row."""
        return torch.zeros(1, 30)

    def labels(self) -> list[str]:
        """Malignant and benign."""
        return read_table()[2]

    def feature_names(self) -> list[str]:
        """What the thirty numbers are."""
        return read_table()[3]

    def data_card(self) -> Mapping[str, str | int]:
        """Where the rows come from and what may be done with them."""
        return {
            "name": "Breast cancer Wisconsin (diagnostic)",
            "licence": "cc-by-4.0",
            "source": "package scikit-learn, sklearn.datasets.load_breast_cancer()",
            "attribution": "W. Wolberg, O. Mangasarian, N. Street, W. Street, UCI, 1995",
            "rows": len(read_table()[0]),
            "note": "An example of a table, and no medical device.",
        }


@cache
def read_table() -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """All rows [569, 30], their classes, and the names of classes and columns."""
    from sklearn.datasets import load_breast_cancer

    table = load_breast_cancer()
    return table.data, table.target, list(map(str, table.target_names)), list(map(str, table.feature_names))

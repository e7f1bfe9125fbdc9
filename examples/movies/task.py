"""Films: how many stars would a person give a film? MovieLens-100k, 943 people, 1,682 films.

The ratings come inside the package recbole (`pip install --no-deps recbole`) and are read from there. Their
licence forbids to pass them on and to use them for money, so that nothing is copied, and the model may only
be published under terms of its own.
"""

import importlib.util
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

NUM_PEOPLE, NUM_FILMS = 943, 1682
# Of ten ratings, which go where, drawn with a fixed seed.
SPLITS = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}
SPLIT_SEED = 0
LEAST, MOST = 1.0, 5.0
# Pulls vectors towards 0, or so few ratings would be learnt by heart.
WEIGHT_OF_SIZE = 0.1

Batch = tuple[torch.Tensor, torch.Tensor]


class Taste(nn.Module):
    """mean + taste of the person + quality of the film + agreement of both vectors.

    Source: Koren, Bell, Volinsky, "Matrix factorization techniques for recommender systems", Computer, 2009.
    """

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean))
        self.of_person = nn.Embedding(NUM_PEOPLE, 1)
        self.of_film = nn.Embedding(NUM_FILMS, 1)
        self.person = nn.Embedding(NUM_PEOPLE, 24)
        self.film = nn.Embedding(NUM_FILMS, 24)
        for table in (self.of_person, self.of_film):
            nn.init.zeros_(table.weight)
        for table in (self.person, self.film):
            nn.init.normal_(table.weight, std=0.05)

    def forward(self, pairs_N2: torch.Tensor) -> torch.Tensor:
        people, films = pairs_N2[:, 0], pairs_N2[:, 1]
        agreement_N = (self.person(people) * self.film(films)).sum(1)
        stars_N = self.mean + self.of_person(people)[:, 0] + self.of_film(films)[:, 0] + agreement_N
        return stars_N[:, None]

    def size(self, pairs_N2: torch.Tensor) -> torch.Tensor:
        """Mean squared length of all that these ratings depend on."""
        people, films = pairs_N2[:, 0], pairs_N2[:, 1]
        parts = (self.of_person(people), self.of_film(films), self.person(people), self.film(films))
        return torch.stack([(part**2).sum(1).mean() for part in parts]).sum()


class Movies:
    """How many stars, from 1 to 5?"""

    def build_model(self) -> nn.Module:
        """65,626 parameters."""
        return Taste(float(read_ratings()[1][rows_of("train")].mean()))

    def dataset(self, split: str) -> TensorDataset:
        """Pairs of int64 [2], person and film, and the stars, float32."""
        pairs, stars = read_ratings()
        chosen = rows_of(split)
        return TensorDataset(torch.from_numpy(pairs[chosen]), torch.from_numpy(stars[chosen]))

    def loss(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """Mean squared error in stars, and while training the size of the vectors."""
        pairs, stars = batch
        error = ((model(pairs)[:, 0] - stars) ** 2).mean()
        return error + WEIGHT_OF_SIZE * model.size(pairs) if isinstance(model, Taste) else error

    @torch.no_grad()
    def evaluate(self, model: nn.Module, batches: Iterable[Batch]) -> Mapping[str, float]:
        """Root of the mean squared error in stars; less is better."""
        model.eval()
        squares = [(model(pairs)[:, 0].clamp(LEAST, MOST) - stars) ** 2 for pairs, stars in batches]
        return {"rmse": float(torch.cat(squares).mean().sqrt())}

    def example_input(self) -> torch.Tensor:
        """The first person and the first film."""
        return torch.zeros(1, 2, dtype=torch.int64)

    def baseline(self) -> Mapping[str, str | float]:
        """The mean, and how far each person and each film lie from it, pulled towards 0."""
        pairs, stars = read_ratings()
        train, test = rows_of("train"), rows_of("test")
        mean = stars[train].mean()
        of_film = _pulled(pairs[train, 1], stars[train] - mean, NUM_FILMS)
        rest = stars[train] - mean - of_film[pairs[train, 1]]
        of_person = _pulled(pairs[train, 0], rest, NUM_PEOPLE)
        guessed = np.clip(mean + of_film[pairs[test, 1]] + of_person[pairs[test, 0]], LEAST, MOST)
        rmse = float(np.sqrt(((guessed - stars[test]) ** 2).mean()))
        return {"name": "mean, person and film", "rmse": rmse}

    def data_card(self) -> Mapping[str, str | int]:
        """Where the ratings come from and what may be done with them."""
        return {
            "name": "MovieLens 100K",
            "licence": "other",
            "source": "package recbole, recbole/dataset_example/ml-100k",
            "attribution": "F. Maxwell Harper and Joseph A. Konstan, ACM TiiS 5(4), 2015; GroupLens",
            "rows": len(read_ratings()[1]),
            "note": "Not to be passed on, not for commercial use without permission. Read at run time.",
        }


@cache
def read_ratings() -> tuple[np.ndarray, np.ndarray]:
    """Pairs of person and film from 0, int64 [100000, 2], and stars, float32 [100000]."""
    package = importlib.util.find_spec("recbole")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("The ratings come with recbole: pip install --no-deps recbole==1.2.1")
    path = Path(package.submodule_search_locations[0]) / "dataset_example" / "ml-100k" / "ml-100k.inter"
    table = np.loadtxt(path, delimiter="\t", skiprows=1)
    return table[:, :2].astype(np.int64) - 1, table[:, 2].astype(np.float32)


def rows_of(split: str) -> np.ndarray:
    """The rows of a split."""
    first, last = SPLITS[split]
    order = np.random.default_rng(SPLIT_SEED).permutation(len(read_ratings()[1]))
    return np.sort(order[round(first * len(order)) : round(last * len(order))])


def _pulled(places: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    """The mean at each place as if five more had been 0: few values are not believed."""
    sums = np.bincount(places, values, minlength=length)
    return sums / (np.bincount(places, minlength=length) + 5)

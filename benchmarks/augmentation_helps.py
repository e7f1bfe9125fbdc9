"""Ten real digits of each class: classical augmentation against none, same steps, same examples, same start.

The 1,797 digits of scikit-learn (8x8) are cut once into a pool, a validation fold of 600 and a test fold of
700. A policy, and what lies beyond the edge of a moved image, are chosen by mean accuracy on the validation
fold with seeds of its own; the eight seeds that are judged then draw ten of each class from the pool, train a
small CNN for 500 steps of 64 with and without it, and are compared on the test fold, seed by seed (paired
t-interval, 95 %). CUT names a cut on which nothing was tried before.

Not covered: other sizes of the real set, and what augmentation costs in energy (steps are equal, views are
not free: CPU seconds stand beside).
"""

import statistics
import time
from typing import Any, Literal

from benchmarks.registry import Benchmark, Outcome

PER_CLASS, NUM_VALIDATION, NUM_TEST = 10, 600, 700
MOVING = ("digits", "randaugment", "trivialaugment", "randaugment_cutmix")
# Beyond the edge is empty ground, or the image mirrored; mixing moves nothing and has no edge.
CANDIDATES = (
    *(f"{name}/{border}" for name in MOVING for border in ("low", "reflect")),
    "mixup/low",
    "cutmix/low",
)
CUT = 2026
SEEDS, SEEDS_OF_CHOICE = tuple(range(1, 9)), (101, 102, 103)


def measure(quick: bool) -> Outcome:
    """Accuracy in percent on the test fold."""
    import torch

    num_steps = 200 if quick else 500
    seeds, choosing = (SEEDS[:3], SEEDS_OF_CHOICE[:1]) if quick else (SEEDS, SEEDS_OF_CHOICE)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        on_validation = {
            name: statistics.mean(_accuracy(name, seed, num_steps, "validation")[0] for seed in choosing)
            for name in CANDIDATES
        }
        chosen = max(on_validation, key=lambda name: on_validation[name])
        found = {
            name: [_accuracy(name, seed, num_steps, "test") for seed in seeds] for name in ("none", chosen)
        }
    finally:
        torch.set_num_threads(num_threads)
    gains = [with_it[0] - without[0] for with_it, without in zip(found[chosen], found["none"], strict=True)]
    low, high = _t_interval(gains)
    values: dict[str, Any] = {
        "policy": chosen,
        **{f"validation_{name.replace('/', '_')}": value for name, value in on_validation.items()},
        "accuracy_none": statistics.mean(each[0] for each in found["none"]),
        "accuracy_augmented": statistics.mean(each[0] for each in found[chosen]),
        "gain_points": statistics.mean(gains),
        "gain_low": low,
        "gain_high": high,
        "seeds_that_gain": sum(gain > 0 for gain in gains),
        "rho_eff": num_steps * 64 / (10 * PER_CLASS),
        "cpu_seconds_none": statistics.median(each[1] for each in found["none"]),
        "cpu_seconds_augmented": statistics.median(each[1] for each in found[chosen]),
    }
    return Outcome(values=values, seeds=tuple(seeds), met=values["gain_points"] >= 3 and low > 0)


def _accuracy(policy_name: str, seed: int, num_steps: int, fold: str) -> tuple[float, float]:
    """Percent right on a fold, and CPU seconds of the training."""
    import torch

    from ayni.data.augmentation.images import augment_labelled_images

    inputs, labels, folds = _folds()
    policy = None if policy_name == "none" else _policy(policy_name)
    order = torch.randperm(len(folds["pool"]), generator=torch.Generator().manual_seed(seed))
    pool = folds["pool"][order]
    rows = torch.cat([pool[labels[pool] == label][:PER_CLASS] for label in range(10)])
    torch.manual_seed(seed)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(32, 64, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(64 * 16, 10),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    # Batches and views draw from generators of their own: both arms see the same records at each step.
    batches, views = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    started = time.process_time()
    for _ in range(num_steps):
        drawn = rows[torch.randint(len(rows), (64,), generator=batches)]
        batch, wanted = inputs[drawn], labels[drawn]
        if policy is not None:
            batch, wanted = augment_labelled_images(batch, wanted, policy, num_classes=10, generator=views)
        loss = torch.nn.functional.cross_entropy(model(batch), wanted)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    seconds = time.process_time() - started
    with torch.no_grad():
        right = model(inputs[folds[fold]]).argmax(1) == labels[folds[fold]]
    return 100 * float(right.float().mean()), seconds


def _policy(candidate: str) -> Any:
    """A ready-made policy, or two of them one after the other, with its border."""
    from ayni.data.augmentation.policy import POLICIES, Policy

    names, beyond = candidate.split("/")
    border: Literal["low", "reflect"] = "low" if beyond == "low" else "reflect"
    operations = tuple(operation for part in names.split("_") for operation in POLICIES[part])
    return Policy(name=candidate, operations=operations, border=border)


def _folds() -> tuple[Any, Any, dict[str, Any]]:
    """Inputs [N, 1, 8, 8] from 0 to 1, classes [N], and the rows of each fold."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    inputs = torch.from_numpy(digits.images).float()[:, None] / 16
    rows, test = train_test_split(
        range(len(inputs)), test_size=NUM_TEST, stratify=digits.target, random_state=CUT
    )
    pool, validation = train_test_split(
        rows, test_size=NUM_VALIDATION, stratify=digits.target[rows], random_state=CUT
    )
    folds = {"pool": pool, "validation": validation, "test": test}
    return inputs, torch.from_numpy(digits.target), {key: torch.tensor(kept) for key, kept in folds.items()}


def _t_interval(gains: list[float]) -> tuple[float, float]:
    from scipy import stats

    half = stats.t.ppf(0.975, len(gains) - 1) * statistics.stdev(gains) / len(gains) ** 0.5
    mean = statistics.mean(gains)
    return float(mean - half), float(mean + half)


BENCHMARK = Benchmark(
    name="augmentation_helps",
    topic="data: augmentation",
    bar="digits, 10 real images a class, 8 seeds, same steps: classical augmentation at least 3 points above "
    "none, lower bound of the paired 95 % t-interval above 0",
    seconds_quick=15,
    seconds_full=90,
    measure=measure,
)

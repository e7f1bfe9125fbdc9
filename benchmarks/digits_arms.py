"""What benchmarks of derived data share: splits of scikit-learn's digits, a CNN, and its trainer.

A split gives the partner 70 examples a class, oneself 10, and tests on all others. The trainer takes the
same number of steps for every arm, with a share of derived examples in each batch.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ayni.data.augmentation.images import augment_images
from ayni.data.augmentation.policy import AugmentConfig
from ayni.data.records import Records
from ayni.data.utility import ClassifierWork, Predict, Split

NUM_OWN, NUM_PARTNER, NUM_STEPS, BATCH = 10, 70, 500, 64
LEARNING_RATE = 2e-3
# Of a batch: chosen on other seeds than those of the benchmark.
DERIVED_SHARE = 0.5
# Policy, network and rate were chosen on seeds 100 to 103 by the accuracy of augmentation alone, without any
# generator: a smaller network with a falling rate learnt too little from augmented batches in 500 steps, and
# every arm with them looked as if derived data did harm (92.6 % there; this is 94.5 %).
POLICY = AugmentConfig(policy="randaugment", border="low")


@cache
def digits() -> Records:
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    images = (inputs / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Records(inputs=images, labels=labels.astype(np.int64))


def digits_split(seed: int, *, partner_is_self: bool = False) -> Split:
    """A draw by classes; with `partner_is_self` generators learn from one's own examples."""
    rng, data = np.random.default_rng(seed), digits()
    own: list[int] = []
    partner: list[int] = []
    test: list[int] = []
    for label in range(10):
        rows = rng.permutation(np.flatnonzero(data.labels == label)).tolist()
        own += rows[:NUM_OWN]
        partner += rows[NUM_OWN : NUM_OWN + NUM_PARTNER]
        test += rows[NUM_OWN + NUM_PARTNER :]
    own_records = data.subset(own)
    shared = own_records if partner_is_self else data.subset(partner)
    return Split(own=own_records, partner=shared, test=data.subset(test))


def train_cnn(work: ClassifierWork) -> Predict:
    """Trains on one thread; the caller's random state is left as it was."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            model = _trained(work)
    finally:
        torch.set_num_threads(num_threads)

    def predict(inputs: NDArray[np.float32]) -> NDArray[np.int64]:
        with torch.no_grad():
            found: NDArray[np.int64] = model(torch.from_numpy(inputs)).argmax(dim=1).numpy()
        return found

    return predict


def _trained(work: ClassifierWork) -> nn.Module:
    torch.manual_seed(work.seed)
    generator = torch.Generator().manual_seed(work.seed)
    model = cnn()
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, fused=True)
    policy = POLICY.made_policy()
    num_derived = 0 if work.derived is None else round(DERIVED_SHARE * BATCH)
    for _ in range(work.num_steps):
        inputs, labels = _drawn(work.own, BATCH - num_derived, generator)
        if work.derived is not None:
            more = _drawn(work.derived, num_derived, generator)
            inputs, labels = torch.cat([inputs, more[0]]), torch.cat([labels, more[1]])
        if work.augments:
            inputs = augment_images(inputs, policy, generator=generator)
        optimizer.zero_grad(set_to_none=True)
        loss: Any = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
    return model.eval()


def _drawn(records: Records, num: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    rows = torch.randint(len(records), (num,), generator=generator).numpy()
    return torch.from_numpy(records.inputs[rows]), torch.from_numpy(records.labels[rows])


def cnn() -> nn.Module:
    """About 29,000 weights."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )

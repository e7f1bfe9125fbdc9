"""A model that was made to learn by heart, and the same with differential privacy: what does the audit say?

1,000 images of MNIST, of which a fifth has a label drawn at random: who gets those right in training has
learnt them by heart. The same network is trained on them by Ayni's own rounds twice, once long and without
protection, once by DP-SGD with epsilon 1, and each model is attacked by LiRA with shadow models of its own
recipe. 1,000 other images with labels of the same kind are the strangers.

Settings (share of random labels, lengths, rates) were chosen on draw 11; the bar is asked of draws 0 to 2.

Not covered: accuracy with privacy, which dp_digits measures.
"""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ayni.data.audit.model_audit import ClaimedPrivacy, ModelAudit, audit_model
from ayni.data.records import Records
from ayni.task import Task
from ayni.train.config import TrainConfig
from ayni.train.privacy_config import PrivacyConfig
from ayni.workflows.train_shadows import ShadowTraining
from benchmarks.audit_controls import all_images
from benchmarks.registry import Benchmark, Outcome

NUM_RECORDS = 1000
RANDOM_LABELS = 0.2
NUM_SHADOWS, NUM_SHADOWS_QUICK = 32, 8
DRAWS, DRAWS_QUICK = (0, 1, 2), (0,)
LEAST_LEAK, MOST_WITH_PRIVACY = 0.8, 0.56
BY_HEART = TrainConfig(
    learners=1, rounds=2, local_steps=320, batch_size=64, learning_rate=0.002, weight_decay=0.0,
    outer_learning_rate=1.0, outer_momentum=0.0,
)  # fmt: skip
PRIVACY = PrivacyConfig(epsilon=1.0, delta=1e-5)
WITH_PRIVACY = replace(BY_HEART, rounds=1, local_steps=40, batch_size=250, privacy=PRIVACY)


class Images:
    """A wide network on 28 x 28 pixels. The examples are given to the shadow training."""

    def __init__(self, others: Records) -> None:
        self._others = others

    def build_model(self) -> nn.Module:
        """101,770 parameters for 1,000 images."""
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    def dataset(self, _split: str) -> Sequence[Any]:
        """A few images to validate on; training examples come from elsewhere."""
        pairs = zip(self._others.inputs[:64], self._others.labels[:64], strict=True)
        return [(torch.from_numpy(image), int(label)) for image, label in pairs]

    def loss(self, model: Any, batch: Any) -> torch.Tensor:
        """Mean cross-entropy."""
        return functional.cross_entropy(model(batch[0]), batch[1])

    def evaluate(self, model: Any, batches: Iterable[Any]) -> Mapping[str, float]:
        """Share of right answers."""
        right = [(model(images).argmax(1) == labels) for images, labels in batches]
        return {"accuracy": float(torch.cat(right).float().mean())}

    def example_input(self) -> torch.Tensor:
        """One empty image."""
        return torch.zeros(1, 1, 28, 28)


def sides(draw: int) -> tuple[Records, Records]:
    """Members and strangers, with a fifth of the labels at random on both sides."""
    images, rng = all_images(), np.random.default_rng(draw)
    drawn = images.subset(rng.permutation(len(images))[: 2 * NUM_RECORDS])
    is_random = rng.random(len(drawn)) < RANDOM_LABELS
    labels = np.where(is_random, rng.integers(0, 10, len(drawn)), drawn.labels)
    mixed = Records(inputs=drawn.inputs, labels=labels.astype(np.int64))
    return mixed.subset(range(NUM_RECORDS)), mixed.subset(range(NUM_RECORDS, 2 * NUM_RECORDS))


def audit(config: TrainConfig, draw: int, *, num_shadows: int) -> tuple[ModelAudit, float, float]:
    """The audit of a model trained by `config`, and its accuracy on members and strangers."""
    members, strangers = sides(draw)
    task: Task = Images(strangers)
    training = ShadowTraining(task, config, init_path=None, check=lambda: None)
    target = training(members, seed=10_000 + draw)
    found, _ = audit_model(
        target,
        training,
        members,
        strangers,
        num_shadow_models=num_shadows,
        seed=draw,
        claimed=None
        if config.privacy is None
        else ClaimedPrivacy(epsilon=config.privacy.epsilon, delta=config.privacy.delta),
    )
    right = [float((target(one.inputs).argmax(1) == one.labels).mean()) for one in (members, strangers)]
    return found, right[0], right[1]


def measure(quick: bool) -> Outcome:
    """Area under the curve and verdict of both models, for each draw."""
    draws, num_shadows = (DRAWS_QUICK, NUM_SHADOWS_QUICK) if quick else (DRAWS, NUM_SHADOWS)
    found = {
        name: [audit(config, draw, num_shadows=num_shadows) for draw in draws]
        for name, config in (("by_heart", BY_HEART), ("with_privacy", WITH_PRIVACY))
    }
    values: dict[str, Any] = {"num_shadow_models": num_shadows, "num_records": NUM_RECORDS}
    for name, audits in found.items():
        attacks = [one.attack for one, _, _ in audits]
        values[name] = {
            "auc": [attack.auc.value for attack in attacks],
            "auc_low": [attack.auc.low for attack in attacks],
            "auc_high": [attack.auc.high for attack in attacks],
            "found_at_1_percent": [attack.hits_at_1_percent.value for attack in attacks],
            "epsilon_proven": [attack.epsilon_low for attack in attacks],
            "verdicts": [one.verdict.kind for one, _, _ in audits],
            "accuracy_on_members": statistics.median(right for _, right, _ in audits),
            "accuracy_on_strangers": statistics.median(right for _, _, right in audits),
        }
    met = (
        min(values["by_heart"]["auc"]) >= LEAST_LEAK
        and set(values["by_heart"]["verdicts"]) == {"fail"}
        and max(values["with_privacy"]["auc"]) <= MOST_WITH_PRIVACY
        and "fail" not in values["with_privacy"]["verdicts"]
        and "void" not in values["with_privacy"]["verdicts"]
    )
    return Outcome(values=values, seeds=draws, met=met)


BENCHMARK = Benchmark(
    name="leak_overfit",
    topic="Leak audit",
    bar="1,000 images learnt by heart: LiRA's AUC at least 0.8 and the audit fails; the same with epsilon 1: "
    "at most 0.56 and it does not; every draw",
    seconds_quick=180,
    seconds_full=1500,
    measure=measure,
)

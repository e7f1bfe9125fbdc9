"""What surrounds a private training: its data set's account, and a simple model to compare with.

A data set is recognised by the name on its card and by its training examples, see
`ayni.train.privacy_ledger`.

Not covered: charging the comparison. Logistic regression is fitted without privacy; what is told of it stays
in the run's own report and does not go on the card.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ayni.data.baseline import Baseline, fit_baseline
from ayni.data.card import read_data_card
from ayni.data.splits import fingerprint
from ayni.errors import MissingExtraError
from ayni.jobs.runs import Run
from ayni.train.learner import load_dataset
from ayni.train.local import one_thread
from ayni.train.privacy_ledger import DatasetIdentity, PrivacyLedger, PrivacySpend
from ayni.train.result import TrainResult
from ayni.train.started import count_begun
from ayni.workflows.house import House


@contextmanager
def booked_privacy(run: Run, house: House) -> Iterator[None]:
    """Book what a private training promises, and forget it when not one attempt was begun.

    Raises:
        DatasetBudgetError: the runs on this data set would spend too much together.
    """
    privacy = run.job.spec.train.privacy
    if privacy is None:
        yield
        return
    ledger = PrivacyLedger(house.database)
    ledger.book(
        PrivacySpend(
            run=run.id,
            dataset=identity_of(run),
            epsilon=privacy.epsilon,
            delta=privacy.delta,
            cap_epsilon=privacy.dataset_epsilon,
            is_settled=False,
            booked_at=house.now(),
        )
    )
    try:
        yield
    finally:
        if count_begun(run.folder / "train") == 0:
            ledger.release(run.id)


def settle_privacy(run: Run, house: House, result: TrainResult) -> None:
    """Book what a private training has reached instead of what it promised."""
    if result.privacy is not None:
        PrivacyLedger(house.database).settle(run.id, epsilon=result.privacy["epsilon"])


def identity_of(run: Run) -> DatasetIdentity:
    """The name on the data card, and a hash of the training examples in any order.

    Cost: some 10 microseconds an example.
    """
    task = run.job.task.load()
    examples: Sequence[Any] = load_dataset(task, "train", seed=run.job.spec.seed)
    prints = sorted(fingerprint(examples[row]) for row in range(len(examples)))
    return DatasetIdentity(
        name=read_data_card(task).name, sha256=hashlib.sha256(b"".join(prints)).hexdigest()
    )


def linear_hint(run: Run, result: TrainResult) -> str | None:
    """A sentence when logistic regression, without privacy, beats the private model on validation data."""
    if result.privacy is None:
        return None
    spec, task = run.job.spec, run.job.task.load()
    try:
        with one_thread():
            found = fit_baseline(task, seed=spec.seed, split="validation")
    except MissingExtraError:
        return None
    name, own = next(iter(result.metrics.items()))
    if not isinstance(found, Baseline) or name not in found.metrics or found.name != "logistic regression":
        return None
    linear = found.metrics[name]
    if (linear <= own) if spec.metric.better == "higher" else (linear >= own):
        return None
    return (
        f"logistic regression without privacy reaches {name} {linear:.4g} on validation, this model "
        f"{own:.4g} with epsilon {result.privacy['epsilon']:.3g}: with little data and a small "
        "epsilon a linear model often loses less than a network, so try one as build_model"
    )

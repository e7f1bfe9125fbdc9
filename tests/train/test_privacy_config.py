"""What a job may ask of differential privacy."""

from typing import Any

import pytest

from ayni.train.config import TrainConfig
from ayni.train.privacy_config import PrivacyConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epsilon": 0}, "privacy.epsilon must be greater than 0"),
        ({"epsilon": float("inf")}, "privacy.epsilon"),
        ({"delta": 0}, "privacy.delta must be between 0 and 1"),
        ({"delta": 1}, "privacy.delta must be between 0 and 1"),
        ({"clip": 0}, "privacy.clip"),
        ({"spare_attempts": -1}, "privacy.spare_attempts"),
        ({"accountant": "own"}, "privacy.accountant must be one of prv, rdp"),
        ({"dataset_epsilon": 0.5}, r"privacy.dataset_epsilon \(0.5\) is below privacy.epsilon \(1\)"),
    ],
)
def test_values_that_promise_nothing_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrivacyConfig(**{"epsilon": 1.0, "delta": 1e-5, **values})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strategy": "async"}, "strategy async does not say beforehand"),
        ({"strategy": "streaming"}, "strategy streaming does not say beforehand"),
        ({"round_seconds": 3.0}, "round_seconds does not say beforehand"),
    ],
)
def test_ways_to_train_whose_steps_are_not_known_beforehand_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    privacy = PrivacyConfig(epsilon=1.0, delta=1e-5)

    with pytest.raises(ValueError, match=message):
        TrainConfig(privacy=privacy, **changes)

    assert TrainConfig(privacy=privacy, strategy="sync").privacy == privacy

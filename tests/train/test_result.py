import json
from dataclasses import fields
from typing import Any

import pytest

from ayni.train.result import RoundProgress, TrainResult, utilisation_of, utilisation_over

OLD_RESULT: dict[str, Any] = {
    "model_path": "train/model.safetensors",
    "strategy": "diloco",
    "num_learners": 2,
    "rounds": 1,
    "samples": 10,
    "wall_seconds": 1.5,
    "compute_seconds": 2.5,
    "bytes_sent": 99,
    "metrics": {"accuracy": 0.5},
    "num_parameters": 7,
    "num_lost_updates": 1,
    "num_optimizer_resets": 0,
    "curve": [],
}
NEW_RESULT = {
    **OLD_RESULT,
    "codec": "int8",
    "download_codec": "fp32",
    "bytes_up": 33,
    "bytes_down": 66,
    "utilisation": 0.83,
    "num_updates": 2,
    "num_dropped": 1,
    "privacy": {"epsilon": 1.0},
}


def test_a_result_survives_json() -> None:
    result = TrainResult(**NEW_RESULT)

    again = TrainResult.from_json({**json.loads(json.dumps(result.to_json())), "added_later": 1})

    assert again == result


def test_a_result_from_before_the_bytes_were_told_apart_leaves_them_unknown() -> None:
    result = TrainResult.from_json(OLD_RESULT)

    unknown = {field.name for field in fields(result) if getattr(result, field.name) is None}
    assert unknown == set(NEW_RESULT) - set(OLD_RESULT)


def test_a_result_without_one_of_its_first_keys_is_no_result() -> None:
    with pytest.raises(TypeError, match="samples"):
        TrainResult.from_json({key: value for key, value in NEW_RESULT.items() if key != "samples"})


def test_progress_becomes_plain_json() -> None:
    progress = RoundProgress(
        round=1,
        num_rounds=2,
        samples=8,
        train_loss=0.1,
        metrics={"accuracy": 0.5},
        samples_per_second=4.0,
        bytes_sent=3,
        bytes_up=1,
        bytes_down=2,
        compute_seconds=1.0,
        utilisation=None,
        wall_seconds=2.0,
        learners_alive=2,
        num_updates=2,
        num_dropped=0,
    )

    assert json.loads(json.dumps(progress.to_json()))["metrics"] == {"accuracy": 0.5}


def test_utilisation_is_computing_time_over_the_time_of_all_learners() -> None:
    assert utilisation_of(compute_seconds=18.0, wall_seconds=10.0, num_learners=2) == 0.9


@pytest.mark.parametrize(("wall_seconds", "num_learners"), [(0.0, 2), (10.0, 0)])
def test_without_time_or_learners_utilisation_is_unknown_and_not_zero(
    wall_seconds: float, num_learners: int
) -> None:
    assert utilisation_of(compute_seconds=0.0, wall_seconds=wall_seconds, num_learners=num_learners) is None


def test_a_long_round_counts_more_and_one_that_does_not_know_not_at_all() -> None:
    curve = [
        {"utilisation": 0.5, "wall_seconds": 10.0},
        {"utilisation": None, "wall_seconds": 20.0},
        {"utilisation": 0.9, "wall_seconds": 50.0},
    ]

    assert utilisation_over(curve) == pytest.approx((0.5 * 10 + 0.9 * 30) / 40)
    assert utilisation_over(curve[1:2]) is utilisation_over([]) is None

import json

from ayni.train.result import RoundProgress, TrainResult


def test_a_result_survives_json() -> None:
    result = TrainResult(
        model_path="train/model.safetensors",
        strategy="diloco",
        num_learners=2,
        rounds=1,
        samples=10,
        wall_seconds=1.5,
        compute_seconds=2.5,
        bytes_sent=99,
        metrics={"accuracy": 0.5},
        num_parameters=7,
        num_lost_updates=1,
        num_optimizer_resets=0,
        curve=[],
    )

    again = TrainResult.from_json({**json.loads(json.dumps(result.to_json())), "added_later": 1})

    assert again == result


def test_progress_becomes_plain_json() -> None:
    progress = RoundProgress(
        round=1,
        num_rounds=2,
        samples=8,
        train_loss=0.1,
        metrics={"accuracy": 0.5},
        samples_per_second=4.0,
        bytes_sent=3,
        compute_seconds=1.0,
        wall_seconds=2.0,
        learners_alive=2,
    )

    assert json.loads(json.dumps(progress.to_json()))["metrics"] == {"accuracy": 0.5}

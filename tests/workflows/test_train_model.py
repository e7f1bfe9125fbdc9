"""What a training says on the terminal; whole trainings are in test_run_job.py and tests/train."""

from ayni.train.result import RoundProgress, TrainResult
from ayni.workflows.train_model import text_of, text_of_round

PROGRESS = {
    "round": 3,
    "num_rounds": 12,
    "samples": 15360,
    "train_loss": 0.56453,
    "metrics": {"accuracy": 0.9},
    "samples_per_second": 1845.3,
    "bytes_sent": 3_310_752,
    "bytes_up": 827_688,
    "bytes_down": 2_483_064,
    "compute_seconds": 5.2,
    "utilisation": 0.934,
    "wall_seconds": 8.7,
    "learners_alive": 2,
    "num_updates": 2,
    "num_dropped": 0,
}
RESULT = {
    "model_path": "train/model.safetensors",
    "strategy": "diloco",
    "num_learners": 2,
    "rounds": 12,
    "samples": 61440,
    "wall_seconds": 34.8,
    "compute_seconds": 62.4,
    "bytes_sent": 39_729_024,
    "metrics": {"accuracy": 0.984},
    "num_parameters": 206_922,
    "num_lost_updates": 1,
    "num_optimizer_resets": 0,
    "curve": [],
}


def test_a_round_is_told_with_loss_pace_utilisation_learners_and_bytes() -> None:
    assert text_of_round(RoundProgress(**PROGRESS)) == (
        "loss 0.565, accuracy 0.9, 1,845 samples/s, utilisation 93%, 2 learners, 3.3 MB sent"
    )


def test_dropped_updates_are_told_and_an_unknown_utilisation_is_not() -> None:
    progress = RoundProgress(**{**PROGRESS, "utilisation": None, "num_dropped": 2})

    assert text_of_round(progress).endswith("samples/s, 2 learners, 3.3 MB sent, 2 dropped")


def test_a_result_is_told_in_a_line() -> None:
    assert text_of(TrainResult(**RESULT)) == (
        "accuracy 0.984 on validation; 61,440 samples, 39.7 MB exchanged"
    )
    assert text_of(TrainResult(**RESULT, utilisation=0.9)).endswith("39.7 MB exchanged, utilisation 90%")


def test_a_few_bytes_are_told_in_kilobytes() -> None:
    assert "0.9 kB sent" in text_of_round(RoundProgress(**{**PROGRESS, "bytes_sent": 880}))

from dataclasses import replace
from typing import Any

import pytest

from ayni.train.checkpoint import Totals
from ayni.train.engine import LearnerUpdate
from ayni.train.round_meter import RoundMeter


def update(
    learner: int, *, num_samples: int = 64, compute_seconds: float = 4.0, loss: float = 1.0
) -> LearnerUpdate:
    return LearnerUpdate(
        round=1,
        learner=learner,
        attempt=1,
        frames=(),
        digest="",
        start=0,
        num_samples=64,
        loss=loss,
        compute_seconds=4.0,
        exchanged_bytes=0,
        optimizer_state="kept",
    )


def test_a_round_lasts_from_the_merge_before_it_to_its_own() -> None:
    meter = RoundMeter(Totals())
    meter.started(100.0)
    meter.merged([update(0), update(1, loss=3.0)])
    meter.received(1000)

    first = meter.end_round(105.0, round_=1, num_rounds=2, learners_alive=2, bytes_down=600)
    meter.merged([update(0)])
    second = meter.end_round(109.0, round_=2, num_rounds=2, learners_alive=1, bytes_down=700)

    assert first["samples_per_second"] == pytest.approx(128 / 5)
    assert first["utilisation"] == pytest.approx(8 / (5 * 2))
    assert first["train_loss"] == 2.0
    assert (first["bytes_up"], first["bytes_down"], first["bytes_sent"]) == (1000, 600, 1600)
    assert second["utilisation"] == pytest.approx(4 / 4)
    assert (second["bytes_up"], second["bytes_down"], second["wall_seconds"]) == (0, 100, 9.0)
    assert meter.totals.bytes_sent == 1700


def test_totals_go_on_from_those_of_a_checkpoint() -> None:
    meter = RoundMeter(Totals(samples=10, wall_seconds=50.0, bytes_down=5, bytes_sent=5))
    meter.started(0.0)
    meter.merged([update(0)])

    line = meter.end_round(2.0, round_=4, num_rounds=9, learners_alive=1, bytes_down=7)

    assert (line["samples"], line["wall_seconds"], line["bytes_down"]) == (74, 52.0, 7)
    assert meter.totals.bytes_down == 12


def test_a_roll_back_takes_examples_back_and_neither_time_nor_bytes() -> None:
    meter = RoundMeter(Totals())
    meter.started(0.0)
    meter.merged([update(0)])
    meter.received(10)

    meter.rolled_back(Totals(samples=0))

    assert meter.totals.samples == 0
    assert meter.totals.bytes_up == 10
    assert meter.wall_seconds(3.0) == 3.0


def test_after_a_roll_back_the_lines_still_sum_to_the_total() -> None:
    meter = RoundMeter(Totals())
    meter.started(0.0)

    def end(round_: int, bytes_down: int) -> dict[str, Any]:
        meter.merged([update(0)])
        meter.received(10)
        return meter.end_round(
            float(round_), round_=round_, num_rounds=3, learners_alive=1, bytes_down=bytes_down
        )

    first = end(1, 100)
    checkpoint = replace(meter.totals)
    end(2, 200)
    meter.received(10)
    meter.dropped()
    meter.rolled_back(checkpoint)
    again = end(2, 350)

    assert (again["bytes_up"], again["bytes_down"], again["num_dropped"]) == (30, 250, 1)
    for key in ("bytes_up", "bytes_down", "bytes_sent"):
        assert first[key] + again[key] == getattr(meter.totals, key)

"""A search on a small model: what it finds, what it leaves out, and when it stops."""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from ayni.compress.config import CompressConfig, SearchConfig, StepEntry
from ayni.compress.pipeline import compress
from ayni.compress.ports import DeclaredPowerMeter, RecordingObserver
from ayni.compress.steps import PruneStep
from ayni.compress.variants import CompressResult
from ayni.task import Task


def searched(
    task: Task,
    file: Path,
    folder: Path,
    *,
    inferences: int = 10**9,
    clock: Callable[[], float] = time.monotonic,
    **search: Any,
) -> CompressResult:
    config = CompressConfig(
        max_accuracy_drop=0.05,
        search=SearchConfig(**{"prefer": "bytes", "seconds": 0, "trains": False, **search}),
        inferences=inferences,
    )
    return compress(
        task,
        file,
        config,
        seed=1,
        folder=folder,
        meter=DeclaredPowerMeter(),
        observer=RecordingObserver(),
        measure_seconds=0.01,
        clock=clock,
    )


@pytest.mark.slow
def test_a_search_finds_a_smaller_variant_within_the_budget(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    result = searched(bars, bars_file, tmp_path)

    assert result.chosen is not None
    chosen, full = result.variant(result.chosen), result.variant("full")
    assert chosen.drop is not None
    assert chosen.drop <= 0.05
    assert chosen.is_on_front
    assert chosen.artefact.stored_bytes < full.artefact.stored_bytes / 2
    assert result.search is not None
    assert result.search.stopped.startswith("every pipeline")
    assert result.search.num_measured == len(result.variants) - 2
    assert result.pays.startswith("The whole search is paid back")


@pytest.mark.slow
def test_a_search_stops_after_so_many_trials_and_can_go_on(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    first = searched(bars, bars_file, tmp_path, trials=1)
    made_at = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.onnx")}

    second = searched(bars, bars_file, tmp_path, trials=2)

    assert first.search is not None
    assert "that is the limit" in first.search.stopped
    assert len(first.variants) == 3
    assert len(second.variants) == 4
    assert all((tmp_path / name).stat().st_mtime_ns == time for name, time in made_at.items())


def test_a_search_stops_when_it_costs_what_it_could_save(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    result = searched(bars, bars_file, tmp_path, inferences=1)

    assert result.search is not None
    assert "J are used up" in result.search.stopped
    assert result.pays == "Nothing that the search tried may be used: it does not pay."


def test_what_is_impossible_for_a_model_is_left_out_with_its_reason(
    symbols: Task, symbols_file: Path, tmp_path: Path
) -> None:
    result = compress(
        symbols,
        symbols_file,
        CompressConfig(max_accuracy_drop=0.0, search=SearchConfig(trains=False, trials=2)),
        seed=1,
        folder=tmp_path,
        meter=DeclaredPowerMeter(),
        observer=RecordingObserver(),
        metric_direction="lower",
        measure_seconds=0.01,
    )

    assert result.search is not None
    assert all(reason for reason in result.search.skipped.values())


@pytest.mark.slow
def test_training_under_way_ends_when_the_time_of_the_search_is_up(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    # Given a clock that goes on by a second whenever somebody looks
    ticks = count()

    result = searched(bars, bars_file, tmp_path, trains=True, seconds=12, clock=lambda: float(next(ticks)))

    assert result.search is not None
    assert "s of 12 s are used up" in result.search.stopped
    assert any("used up while this was made" in reason for reason in result.search.skipped.values())
    # One look for each step of training: it ended with the time, not with the training.
    assert result.search.seconds < 20


@pytest.mark.slow
def test_steps_are_not_looked_at_in_a_search(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    config = CompressConfig(
        steps=(StepEntry(prune=PruneStep(heads=0.5)),), search=SearchConfig(trials=1, trains=False)
    )

    result = compress(
        bars,
        bars_file,
        config,
        seed=1,
        folder=tmp_path,
        meter=DeclaredPowerMeter(),
        observer=RecordingObserver(),
        measure_seconds=0.01,
    )

    assert len(result.variants) == 3

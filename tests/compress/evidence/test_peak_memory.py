"""Peak memory in a process of its own. Each test that starts one takes a second or two."""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from ayni.compress.evidence.inference_cost import MeasurementFailedError
from ayni.compress.evidence.peak_memory import PeakMemory, peak_memory

MODULE = """
import os, time, torch

class Holding:
    def __init__(self, num_bytes):
        self.block = torch.ones(num_bytes, dtype=torch.uint8)

    def __call__(self, inputs):
        print("noise on the standard output")
        scratch = torch.ones(inputs, dtype=torch.uint8)
        return scratch

def fails():
    raise KeyError("no such weight")

def dies():
    os.kill(os.getpid(), 9)

def hangs():
    time.sleep(60)
"""
MEGABYTE = 1 << 20


@pytest.fixture
def loaders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    (tmp_path / "memory_loaders.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    import memory_loaders

    yield memory_loaders
    del sys.modules["memory_loaders"]


def test_what_is_held_and_what_is_used_for_a_moment_are_both_seen(loaders: Any) -> None:
    # Memory of this process must not show in the other one.
    ballast = torch.ones(200 * MEGABYTE, dtype=torch.uint8)

    memory = peak_memory(partial(loaders.Holding, 64 * MEGABYTE), [96 * MEGABYTE, MEGABYTE])

    assert memory.loaded_bytes - memory.baseline_bytes > 60 * MEGABYTE
    assert memory.peak_bytes - memory.loaded_bytes > 90 * MEGABYTE
    assert 150 * MEGABYTE < memory.added_bytes < 300 * MEGABYTE
    assert ballast.numel() == 200 * MEGABYTE


def test_an_error_of_the_other_process_is_told(loaders: Any) -> None:
    with pytest.raises(MeasurementFailedError, match="no such weight"):
        peak_memory(loaders.fails, [1])


def test_a_process_that_was_killed_is_told(loaders: Any) -> None:
    with pytest.raises(MeasurementFailedError, match="signal 9"):
        peak_memory(loaders.dies, [1])


def test_a_process_that_hangs_is_ended(loaders: Any) -> None:
    with pytest.raises(MeasurementFailedError, match=r"no end after 0\.2 s"):
        peak_memory(loaders.hangs, [1], timeout_seconds=0.2)


def test_what_cannot_be_sent_is_refused_before_a_process_starts() -> None:
    with pytest.raises(MeasurementFailedError, match="cannot be sent"):
        peak_memory(lambda: len, [1])


def test_a_variant_that_needs_nothing_adds_nothing() -> None:
    assert PeakMemory(baseline_bytes=100, loaded_bytes=90, peak_bytes=95).added_bytes == 0

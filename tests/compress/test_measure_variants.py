"""Costs of variants, measured together."""

from pathlib import Path

import pytest
import torch

from ayni.compress.artefacts import ArtefactMaker
from ayni.compress.measure_variants import measure_variants
from ayni.compress.ports import DeclaredPowerMeter
from ayni.compress.steps import HalfStep, QuantizeStep
from ayni.task import Task


def test_every_variant_is_measured_under_every_condition(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    meter = DeclaredPowerMeter()
    maker = ArtefactMaker(bars, bars_file, seed=1, folder=tmp_path, device=torch.device("cpu"), meter=meter)
    artefacts = [
        maker.full(),
        maker.store(maker.draft(), "int8", step=QuantizeStep(mode="dynamic")),
        maker.store(maker.draft(), "bfloat16", step=HalfStep()),
    ]

    costs = measure_variants(maker, artefacts, meter=meter, seconds=0.02, num_cores=2)

    assert list(costs.latencies) == ["full", "int8", "bfloat16"]
    for latencies in costs.latencies.values():
        conditions = [(latency.num_threads, latency.batch_size) for latency in latencies]
        assert conditions == [(1, 1), (1, 32), (2, 1), (2, 32)]
        assert all(0 < latency.min_seconds <= latency.p50_seconds for latency in latencies)
    assert all(of.joules_per_1000 is not None for of in costs.energies.values())
    assert set(costs.memories.values()) == {None}


@pytest.mark.slow
def test_memory_is_measured_of_graphs_when_asked_for(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    meter = DeclaredPowerMeter()
    maker = ArtefactMaker(bars, bars_file, seed=1, folder=tmp_path, device=torch.device("cpu"), meter=meter)
    full = maker.full()
    exported = maker.full_onnx()
    assert exported is not None

    costs = measure_variants(maker, [full, exported], meter=meter, seconds=0.01, with_memory=True)

    assert costs.memories["full"] is None
    assert (costs.memories["full-onnx"] or 0) > 100_000

"""The throughput of accelerators is that of the published measurements where there are any."""

import csv
import math
from pathlib import Path

import pytest

from ayni.market.accelerators import accelerator, accelerators
from ayni.market.cloud_catalogues import shipped_catalogue
from ayni.market.cloud_prices import BYTES_PER_GIB

GAVEL = Path(__file__).parent.parent.parent.parent / "shared/data/hetero/gavel_isolated_throughput.csv"


def throughput(name: str, gib: int | None = None) -> float:
    found = accelerator(name, memory_bytes=None if gib is None else gib * BYTES_PER_GIB)
    assert found is not None
    return found.throughput


def test_the_reference_is_one_and_newer_accelerators_are_faster() -> None:
    assert throughput("V100") == 1.0
    assert throughput("K80") < throughput("T4") < throughput("V100") < throughput("a100", 40)
    assert throughput("A100", 40) < throughput("A100", 80) < throughput("H100") < throughput("H200")


def test_of_an_unknown_size_of_memory_the_slower_is_taken() -> None:
    assert throughput("A100") == throughput("A100", 40)


def test_an_accelerator_that_nobody_knows_has_no_throughput() -> None:
    assert accelerator("GPU H") is None
    assert accelerator("A100", memory_bytes=999 * BYTES_PER_GIB) is None


def test_most_priced_accelerators_are_known() -> None:
    known, unknown = set(), set()
    for cloud in ("gcp", "aws"):
        for price in shipped_catalogue(cloud).prices:
            machine = price.machine
            if machine.accelerator is not None:
                found = accelerator(machine.accelerator, memory_bytes=machine.accelerator_memory_bytes)
                (known if found else unknown).add(machine.accelerator)

    assert unknown == set()
    assert len(known) > 8


@pytest.mark.skipif(not GAVEL.exists(), reason="the shared data is not here")
@pytest.mark.parametrize(("name", "column"), [("K80", "k80_steps_s"), ("P100", "p100_steps_s")])
def test_the_measured_figures_are_the_geometric_means_of_the_source(name: str, column: str) -> None:
    rows = [row for row in csv.DictReader(GAVEL.open(encoding="utf-8")) if row["scale_factor"] == "1"]
    pairs = [(float(row[column]), float(row["v100_steps_s"])) for row in rows]
    ratios = [ours / reference for ours, reference in pairs if ours > 0 and reference > 0]

    expected = math.exp(sum(map(math.log, ratios)) / len(ratios))

    assert len(ratios) == 26
    assert throughput(name) == pytest.approx(expected, abs=0.005)
    (by_bandwidth,) = (each for each in accelerators() if each.name == name)
    assert by_bandwidth.is_measured

import pytest

from ayni.data.cost import Cost, CostMeter


def test_a_meter_without_joules_reports_cpu_seconds_and_says_so() -> None:
    meter = CostMeter()
    sum(index * index for index in range(200_000))

    found = meter.read()

    assert found.cpu_seconds > 0
    assert found.joules is None
    assert (found.energy, found.unit) == (found.cpu_seconds, "CPU s")


def test_joules_are_those_since_the_meter_was_made() -> None:
    readings = iter([100.0, 130.0, 145.0])
    meter = CostMeter(lambda: next(readings))

    assert meter.read().joules == 30.0
    assert meter.read().joules == 45.0


def test_a_sum_with_an_unknown_part_is_unknown() -> None:
    known, unknown = Cost(cpu_seconds=1.0, joules=5.0), Cost(cpu_seconds=2.0)

    assert (known + known).joules == 10.0
    assert (known + unknown).joules is None
    assert (known + unknown).cpu_seconds == pytest.approx(3.0)


def test_a_cost_comes_back_from_json() -> None:
    cost = Cost(cpu_seconds=1.5, joules=None)

    assert Cost.from_json(cost.to_json()) == cost

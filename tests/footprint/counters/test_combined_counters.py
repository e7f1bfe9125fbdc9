import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.counters.combined_counters import ExtendedCounter, RestCounter, SumCounter
from ayni.footprint.counters.meters import ScriptedCounter, energy_between


def test_a_sum_counts_all_parts_and_is_as_good_as_the_worst() -> None:
    first, second = ScriptedCounter(idle_watts=3.0), ScriptedCounter(tier="W3", idle_watts=4.0)
    both = SumCounter([first, second])
    before = both.read()

    first.add(10)
    second.add(5)

    assert energy_between(before, both.read()) == 15
    assert (both.trust.tier, both.idle_watts) == ("W3", 7.0)


def test_a_gap_of_one_part_is_a_gap_of_the_sum() -> None:
    first, second = ScriptedCounter(), ScriptedCounter()
    both = SumCounter([first, second])
    before = both.read()

    second.lose_track()

    assert energy_between(before, both.read()) is None


def test_a_sum_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no counters"):
        SumCounter([])


@given(
    steps=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=20),
)
def test_the_rest_never_falls_and_makes_up_the_whole_when_the_part_is_never_larger(
    steps: list[tuple[int, int]],
) -> None:
    wall, gpu = ScriptedCounter(), ScriptedCounter()
    rest = RestCounter(wall, gpu)
    readings = [rest.read().microjoules]

    for others, on_gpu in steps:
        wall.add(others + on_gpu)
        gpu.add(on_gpu)
        readings.append(rest.read().microjoules)

    assert readings == sorted(readings)
    assert readings[-1] + gpu.read().microjoules == wall.read().microjoules


def test_a_rest_that_was_read_a_moment_too_early_waits_until_it_has_caught_up() -> None:
    wall, gpu = ScriptedCounter(tier="W0"), ScriptedCounter()
    rest = RestCounter(wall, gpu)
    wall.add(100)
    assert rest.read().microjoules == 100

    gpu.add(60)
    early = rest.read().microjoules
    wall.add(90)

    assert early == 100
    assert rest.read().microjoules == 190 - 60
    assert rest.trust.tier == "W0"


def test_a_component_is_extended_to_the_wall_by_the_straight_line_of_its_node() -> None:
    seconds = [0.0]
    component = ScriptedCounter(idle_watts=10.0)
    machine = ExtendedCounter(component, base_watts=86.0, factor=1.2, now=lambda: seconds[0])
    before = machine.read()

    seconds[0] = 10.0
    component.add(1_000_000_000)

    assert energy_between(before, machine.read()) == 860_000_000 + 1_200_000_000
    assert machine.idle_watts == pytest.approx(86.0 + 12.0)
    assert machine.trust.tier == "W1+"
    assert "86 W + 1.2" in machine.trust.method


def test_an_extension_that_takes_energy_away_is_refused() -> None:
    with pytest.raises(ValueError, match="no machine draws"):
        ExtendedCounter(ScriptedCounter(), base_watts=-1.0, factor=1.0)

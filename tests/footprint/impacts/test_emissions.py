from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.grid.basis import Basis, BasisMismatchError
from ayni.footprint.grid.intensity_chain import UNKNOWN, intensities_of
from ayni.footprint.grid.intensity_series import HOUR, METERED, GivenSeries, IntensitySeries
from ayni.footprint.impacts.emissions import (
    Emissions,
    HourlyEnergy,
    add_emissions,
    emissions_of,
    hourly_energy,
    split_at_hours,
    weight_from_json,
)

MIDNIGHT = datetime(2023, 7, 1, tzinfo=UTC)
TRUST = {"tier": "W1", "low_factor": 0.8, "high_factor": 1.25, "method": "scripted", "scope": "node"}
METER = {
    "kind": "meter",
    "notes": [],
    "cores": 1,
    "meter": 1,
    "processor": TRUST,
    "device": None,
    "reserved_cores": 1,
    "unknown": [],
}
JOULE = 1_000_000
KWH = 3_600_000 * JOULE


def window(number: int, start: datetime, end: datetime, microjoules: int | None) -> dict[str, Any]:
    share = {
        "cpu_seconds": 1.0,
        "dynamic_microjoules": microjoules,
        "idle_microjoules": 0,
        "device_microjoules": 0,
    }
    return {
        "kind": "window",
        "window": number,
        "meter": 1,
        "step": "train",
        "attempt": 1,
        "started_at": start.isoformat(),
        "ended_at": end.isoformat(),
        "seconds": abs((end - start).total_seconds()),
        "busy_cpu_seconds": 1.0,
        "node_microjoules": microjoules,
        "other_microjoules": 0,
        "unreserved_idle_microjoules": 0,
        "jobs": {"job": share},
    }


def energy_of(*microjoules: int, low: float = 1.0, high: float = 1.0) -> HourlyEnergy:
    hours = {MIDNIGHT + HOUR * index: value for index, value in enumerate(microjoules)}
    return HourlyEnergy(microjoules=hours, low_factor=low, high_factor=high)


def weigh(
    energy: HourlyEnergy, *grams: float | None, pue: float = 1.0, zone: str = "DE", **others: Any
) -> Emissions:
    series = IntensitySeries(
        zone=zone, basis=Basis(), source="a file", first_hour=MIDNIGHT, grams_co2e_per_kwh=grams, **others
    )
    basis, weights = intensities_of(zone, energy.microjoules, sources=[GivenSeries(series)])
    return emissions_of(energy, weights, basis=basis, pue=pue)


def test_energy_over_the_full_hour_is_split_by_time() -> None:
    start = MIDNIGHT + timedelta(minutes=45)

    hours = split_at_hours(1000 * JOULE, start, start + timedelta(minutes=30))

    assert hours == {MIDNIGHT: 500 * JOULE, MIDNIGHT + HOUR: 500 * JOULE}


@given(
    microjoules=st.integers(0, 10**15),
    start=st.integers(0, 10**11),
    length=st.integers(0, 30 * 3600 * 10**6),
)
def test_the_parts_of_a_window_add_up_to_it(microjoules: int, start: int, length: int) -> None:
    began = MIDNIGHT + timedelta(microseconds=start)
    ended = began + timedelta(microseconds=length)

    hours = split_at_hours(microjoules, began, ended)

    assert sum(hours.values()) == microjoules
    assert min(hours.values()) >= 0
    assert all(hour < max(ended, began + timedelta(microseconds=1)) and hour + HOUR > began for hour in hours)


def test_windows_become_hours_without_a_microjoule_lost() -> None:
    # Given windows of one second and odd energies around a full hour
    start = MIDNIGHT + timedelta(minutes=59, seconds=57.3)
    rows = [METER] + [
        window(
            index + 1, start + timedelta(seconds=index), start + timedelta(seconds=index + 1), 333_333 + index
        )
        for index in range(6)
    ]

    energy = hourly_energy(rows, "train", job="job")

    assert energy is not None
    assert energy.total_microjoules == sum(333_333 + index for index in range(6))
    assert list(energy.microjoules) == [MIDNIGHT, MIDNIGHT + HOUR]
    assert (energy.low_factor, energy.high_factor) == (
        pytest.approx(0.8, rel=1e-5),
        pytest.approx(1.25, rel=1e-5),
    )


def test_a_window_of_unknown_energy_makes_all_of_it_unknown() -> None:
    rows = [
        METER,
        window(1, MIDNIGHT, MIDNIGHT + HOUR, 5),
        window(2, MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR, None),
    ]

    assert hourly_energy(rows, "train", job="job") is None


def test_a_clock_that_was_set_back_loses_no_energy_and_is_counted() -> None:
    rows = [METER, window(1, MIDNIGHT + HOUR, MIDNIGHT, 5 * JOULE)]

    energy = hourly_energy(rows, "train", job="job")

    assert energy is not None
    assert energy.microjoules == {MIDNIGHT + HOUR: 5 * JOULE}
    assert energy.num_clock_jumps == 1


def test_uneven_power_on_an_uneven_grid_is_not_what_its_means_say() -> None:
    uneven = weigh(energy_of(KWH * 8 // 10, KWH * 2 // 10), 300.0, 100.0, pue=1.2)
    even = weigh(energy_of(KWH // 2, KWH // 2), 300.0, 100.0, pue=1.2)

    assert uneven.grams_co2e is not None
    assert uneven.grams_co2e.value == pytest.approx(312)
    assert even.grams_co2e is not None
    assert even.grams_co2e.value == pytest.approx(240)


def test_it_and_facility_energy_are_apart_and_both_whole() -> None:
    done = weigh(energy_of(1, 1, 1), 300.0, 200.0, 100.0, pue=1.4)

    assert done.it_microjoules == 3
    assert done.facility_microjoules == 4
    assert [hour.facility_microjoules for hour in done.hours] == [2, 1, 1]


def test_energy_pue_and_intensity_add_in_quadrature_and_hours_of_one_source_do_not() -> None:
    alone = weigh(energy_of(KWH), 100.0, low_factor=0.5, high_factor=2.0)
    twice = weigh(energy_of(KWH, KWH), 100.0, 100.0, low_factor=0.5, high_factor=2.0)
    metered = weigh(energy_of(KWH, low=0.5, high=2.0), 100.0, low_factor=0.5, high_factor=2.0)

    assert alone.grams_co2e is not None
    assert (alone.grams_co2e.low, alone.grams_co2e.high) == (pytest.approx(50), pytest.approx(200))
    assert twice.grams_co2e is not None
    assert (twice.grams_co2e.low, twice.grams_co2e.high) == (pytest.approx(100), pytest.approx(400))
    assert metered.grams_co2e is not None
    assert metered.grams_co2e.high == pytest.approx(100 * 2 ** (2**0.5))


def test_the_receipt_names_which_link_weighed_how_much() -> None:
    done = weigh(energy_of(3 * KWH, KWH), 300.0, None)

    assert done.facility_microjoules_by_link == {METERED: 3 * KWH, "annual mean": KWH}
    assert done.worst_link == "annual mean"


def test_energy_in_an_unknown_hour_makes_the_grams_unknown_and_none_there_does_not() -> None:
    # Given direct figures with a hole: nothing else is direct
    series = IntensitySeries(
        zone="DE",
        basis=Basis(counting="direct"),
        source="a file",
        first_hour=MIDNIGHT,
        grams_co2e_per_kwh=(300.0, None),
    )
    with_energy, without = energy_of(KWH, 1), energy_of(KWH, 0)

    basis, weights = intensities_of("DE", with_energy.microjoules, sources=[GivenSeries(series)])

    unknown = emissions_of(with_energy, weights, basis=basis, pue=1.0)
    known = emissions_of(without, weights, basis=basis, pue=1.0)
    assert unknown.grams_co2e is None
    assert unknown.worst_link == UNKNOWN
    assert unknown.to_json()["grams_co2e"] is None
    assert known.grams_co2e is not None
    assert known.grams_co2e.value == pytest.approx(300)


def test_a_verifier_finds_the_same_from_the_receipt_and_the_windows() -> None:
    energy = energy_of(3 * KWH, KWH + 7, low=0.8, high=1.3)
    done = weigh(energy, 300.0, None, pue=1.21)

    weights = [weight_from_json(hour) for hour in done.to_json()["hours"]]
    again = emissions_of(energy, weights, basis=done.basis, pue=done.pue)

    assert again == done
    assert again.to_json() == done.to_json()


def test_a_receipt_that_lacks_an_hour_cannot_be_recomputed() -> None:
    data = weigh(energy_of(KWH, KWH), 300.0, 100.0).to_json()
    weights = [weight_from_json(hour) for hour in data["hours"][:1]]

    with pytest.raises(ValueError, match="no intensity was asked"):
        emissions_of(energy_of(KWH, KWH), weights, basis=Basis(), pue=1.0)


@given(
    jobs=st.lists(st.lists(st.integers(0, 10**13), min_size=3, max_size=3), min_size=1, max_size=6),
    grams=st.lists(st.floats(0, 900), min_size=3, max_size=3),
)
def test_the_grams_of_the_jobs_add_up_to_those_of_the_node(jobs: list[list[int]], grams: list[float]) -> None:
    node = weigh(energy_of(*(sum(job[hour] for job in jobs) for hour in range(3))), *grams)

    whole = add_emissions(weigh(energy_of(*job), *grams) for job in jobs)

    assert whole is not None
    assert node.grams_co2e is not None
    assert whole.value == pytest.approx(node.grams_co2e.value, rel=1e-12, abs=1e-15)


def test_sums_of_different_bases_are_refused_and_unknown_parts_make_the_sum_unknown() -> None:
    life_cycle = weigh(energy_of(KWH), 300.0)
    direct = Emissions(
        grams_co2e=life_cycle.grams_co2e,
        basis=Basis(counting="direct"),
        pue=1.0,
        pue_factors=(1.0, 1.0),
        hours=life_cycle.hours,
    )
    unknown = Emissions(
        grams_co2e=None, basis=Basis(), pue=1.0, pue_factors=(1.0, 1.0), hours=life_cycle.hours
    )

    with pytest.raises(BasisMismatchError):
        add_emissions([life_cycle, direct])
    assert add_emissions([life_cycle, unknown]) is None


def test_a_pue_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        weigh(energy_of(KWH), 300.0, pue=0.9)

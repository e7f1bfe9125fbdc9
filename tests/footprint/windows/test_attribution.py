from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.windows.attribution import (
    DeviceUse,
    DeviceWindow,
    JobUse,
    WindowShares,
    attribute_device,
    attribute_window,
)
from ayni.footprint.windows.reservation_shares import Standing
from ayni.footprint.windows.reservations import Reservation

seconds = st.floats(min_value=0, max_value=1e4, allow_nan=False)
uses = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.builds(
        JobUse,
        cpu_seconds=seconds,
        reserved_cores=st.integers(0, 4),
        device_microjoules=st.integers(0, 10**12),
    ),
    max_size=5,
)


def attribute(energy: int, jobs: dict[str, JobUse], **changes: Any) -> WindowShares:
    values = {"seconds": 1.0, "idle_watts": 2.0, "busy_cpu_seconds": 3.0} | changes
    return attribute_window(energy, jobs, num_cores=20, **values)


@given(
    energy=st.integers(0, 10**13),
    jobs=uses,
    length=seconds,
    idle_watts=st.floats(0, 1e3),
    busy=seconds,
)
def test_every_microjoule_has_exactly_one_account(
    energy: int, jobs: dict[str, JobUse], length: float, idle_watts: float, busy: float
) -> None:
    shares = attribute(energy, jobs, seconds=length, idle_watts=idle_watts, busy_cpu_seconds=busy)

    devices = sum(use.device_microjoules for use in jobs.values())
    parts = [share.total_microjoules for share in shares.jobs.values()]
    assert sum(parts) + shares.other_microjoules + shares.unreserved_idle_microjoules == energy + devices
    assert shares.total_microjoules == energy + devices
    assert min([*parts, shares.other_microjoules, shares.unreserved_idle_microjoules]) >= 0


@given(energy=st.integers(0, 10**10), jobs=uses)
def test_renaming_and_reordering_jobs_changes_nothing_beyond_a_microjoule(
    energy: int, jobs: dict[str, JobUse]
) -> None:
    shares = attribute(energy, jobs)
    renamed = attribute(energy, {f"new {name}": jobs[name] for name in reversed(jobs)})

    for name in jobs:
        difference = renamed.jobs[f"new {name}"].total_microjoules - shares.jobs[name].total_microjoules
        assert abs(difference) <= 2  # one each for the dynamic and the idle remainder


@given(energy=st.integers(0, 10**10), cpu_seconds=st.floats(0, 1.5), cores=st.integers(0, 10))
def test_splitting_a_job_in_two_changes_nothing_beyond_rounding(
    energy: int, cpu_seconds: float, cores: int
) -> None:
    whole = attribute(energy, {"a": JobUse(cpu_seconds=2 * cpu_seconds, reserved_cores=2 * cores)})
    half = JobUse(cpu_seconds=cpu_seconds, reserved_cores=cores)
    halves = attribute(energy, {"b": half, "c": half})

    together = sum(share.total_microjoules for share in halves.jobs.values())
    assert abs(together - whole.jobs["a"].total_microjoules) <= 4


def test_the_formulas_on_a_window_small_enough_to_do_by_hand() -> None:
    # 10 J in 1 s, 4 W idle; 2 of 3 busy CPU seconds are the job's; it reserves 5 of 20 cores.
    job = JobUse(cpu_seconds=2.0, reserved_cores=5)

    shares = attribute(10_000_000, {"job": job}, idle_watts=4.0)

    assert shares.jobs["job"].dynamic_microjoules == 4_000_000
    assert shares.jobs["job"].idle_microjoules == 1_000_000
    assert shares.other_microjoules == 2_000_000
    assert shares.unreserved_idle_microjoules == 3_000_000


def test_a_job_whose_clock_ran_ahead_of_the_nodes_gets_all_dynamic_energy_and_no_more() -> None:
    shares = attribute(10_000_000, {"job": JobUse(cpu_seconds=3.5, reserved_cores=20)})

    assert shares.other_microjoules == 0
    assert shares.jobs["job"].total_microjoules == 10_000_000


def test_a_node_that_drew_less_than_its_idle_power_has_no_dynamic_energy() -> None:
    shares = attribute(1_000, {"job": JobUse(cpu_seconds=1.0, reserved_cores=20)}, idle_watts=50.0)

    assert shares.jobs["job"].idle_microjoules == 1_000
    assert shares.jobs["job"].dynamic_microjoules == 0


def test_more_cores_than_there_are_cannot_be_reserved() -> None:
    with pytest.raises(ValueError, match="21 of 20 cores"):
        attribute(1, {"job": JobUse(cpu_seconds=0.0, reserved_cores=21)})


device_uses = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(DeviceUse, reserved=st.floats(0, 0.25), busy=st.floats(0, 1.2)),
    max_size=4,
)
devices = st.builds(
    DeviceWindow, microjoules=st.integers(0, 10**13), uses=device_uses, other_busy=st.floats(0, 1.0)
)


@given(energy=st.integers(0, 10**13), windows=st.lists(devices, max_size=4))
def test_shared_devices_are_part_of_the_same_exact_sum(energy: int, windows: list[DeviceWindow]) -> None:
    jobs = {name: JobUse(cpu_seconds=0.5, reserved_cores=2) for name in "abcd"}

    shares = attribute(energy, jobs, devices=windows)

    assert shares.total_microjoules == energy + sum(window.microjoules for window in windows)
    assert min(shares.other_microjoules, shares.unreserved_idle_microjoules) >= 0
    assert all(share.device_microjoules >= 0 for share in shares.jobs.values())


def test_a_device_held_alone_is_the_jobs_as_a_whole_even_when_it_idles() -> None:
    shares = attribute_device(DeviceWindow(microjoules=700, uses={"a": DeviceUse(reserved=1.0)}))

    assert (shares.jobs, shares.other_microjoules, shares.unreserved_idle_microjoules) == ({"a": 700}, 0, 0)


def test_a_device_shared_by_utilisation_leaves_what_nobody_used_to_the_idle_account() -> None:
    window = DeviceWindow(
        microjoules=1000, uses={"a": DeviceUse(busy=0.3), "b": DeviceUse(busy=0.1)}, other_busy=0.2
    )

    shares = attribute_device(window)

    assert shares.jobs == {"a": 300, "b": 100}
    assert (shares.other_microjoules, shares.unreserved_idle_microjoules) == (200, 400)


def test_a_promised_part_of_a_shared_device_pays_its_part_of_idling() -> None:
    window = DeviceWindow(
        microjoules=1000, uses={"a": DeviceUse(reserved=0.5, busy=0.4), "b": DeviceUse(reserved=0.25)}
    )

    shares = attribute_device(window)

    # 600 uJ idle: half of it for a, a quarter for b.
    assert shares.jobs == {"a": 400 + 300, "b": 150}
    assert shares.unreserved_idle_microjoules == 150


def test_processes_that_overlap_on_a_device_share_all_of_it_and_no_more() -> None:
    window = DeviceWindow(microjoules=1000, uses={"a": DeviceUse(busy=0.9), "b": DeviceUse(busy=0.6)})

    assert attribute_device(window).jobs == {"a": 600, "b": 400}


def test_more_than_a_whole_device_cannot_be_reserved() -> None:
    with pytest.raises(ValueError, match=r"1\.2 is reserved"):
        attribute_device(
            DeviceWindow(microjoules=1, uses={"a": DeviceUse(reserved=0.6), "b": DeviceUse(reserved=0.6)})
        )
    with pytest.raises(ValueError, match="no job reserves"):
        DeviceUse(reserved=1.5)


def test_a_device_used_by_a_job_that_is_not_on_the_node_is_a_mistake_and_not_lost_energy() -> None:
    window = DeviceWindow(microjoules=5, uses={"stranger": DeviceUse(busy=1.0)})

    with pytest.raises(ValueError, match="stranger"):
        attribute(1, {}, devices=[window])


def held(holder: str, cores: int, *, has_devices: bool = False) -> Reservation:
    return Reservation(
        holder=holder,
        job=holder,
        cores=cores,
        has_devices=has_devices,
        lineage=(holder,),
        entered_seconds=0.0,
    )


def beside(own: Reservation, *others: Reservation) -> Standing:
    return Standing(own=own, others=others, since_seconds=0.0, until_seconds=1.0, num_cores=20)


@given(
    energy=st.integers(0, 10**13),
    device=st.integers(0, 10**13),
    cores=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    cpu_seconds=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    idle_watts=st.floats(0, 1e3),
)
def test_jobs_of_meters_side_by_side_and_what_none_of_them_has_are_the_whole_node(
    energy: int, device: int, cores: list[int], cpu_seconds: list[float], idle_watts: float
) -> None:
    ranks = [held(str(rank), number, has_devices=True) for rank, number in enumerate(cores)]
    shares = [
        attribute(
            energy,
            {"r": JobUse(cpu_seconds=cpu, reserved_cores=rank.cores, device_microjoules=device)},
            idle_watts=idle_watts,
            busy_cpu_seconds=sum(cpu_seconds[: len(ranks)]),
            standing=beside(rank, *(other for other in ranks if other is not rank)),
        )
        for rank, cpu in zip(ranks, cpu_seconds, strict=False)
    ]

    assert all(each.total_microjoules == energy + device for each in shares)
    jobs = sum(each.jobs["r"].total_microjoules for each in shares)
    # Who works and who reserves is known to the microjoule; work is split by each meter for itself.
    is_idle_node = not any(cpu_seconds[: len(ranks)])
    others = shares[0].other_microjoules if is_idle_node else 0
    assert abs(jobs + shares[0].unreserved_idle_microjoules + others - energy - device) <= len(ranks)


def test_jobs_of_one_meter_divide_what_its_neighbours_leave_to_it() -> None:
    jobs = {"a": JobUse(cpu_seconds=0.0, reserved_cores=5), "b": JobUse(cpu_seconds=0.0, reserved_cores=10)}

    shares = attribute(2_000_000, jobs, standing=beside(held("own", 15), held("other", 15)))

    assert (shares.jobs["a"].idle_microjoules, shares.jobs["b"].idle_microjoules) == (333_333, 666_667)
    assert shares.neighbours_microjoules == 1_000_000

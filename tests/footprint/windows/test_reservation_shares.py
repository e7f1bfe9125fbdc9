import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.footprint.windows.reservation_shares import Portion, Standing, outer_reservations, split_among
from ayni.footprint.windows.reservations import Reservation, was_there


def reservation(
    holder: str,
    *,
    cores: int = 1,
    lineage: tuple[str, ...] = (),
    entered: float = 0.0,
    left: float | None = None,
    has_devices: bool = False,
) -> Reservation:
    return Reservation(
        holder=holder,
        job=f"job of {holder}",
        cores=cores,
        has_devices=has_devices,
        lineage=lineage or (f"process of {holder}", "init"),
        entered_seconds=entered,
        left_seconds=left,
    )


def standing(
    own: Reservation, *others: Reservation, since: float = 0.0, until: float = 1.0, num_cores: int = 4
) -> Standing:
    return Standing(own=own, others=others, since_seconds=since, until_seconds=until, num_cores=num_cores)


def test_eight_ranks_that_each_reserve_the_machine_share_the_idle_power_of_one() -> None:
    ranks = [reservation(str(rank), cores=4) for rank in range(8)]

    portions = [
        standing(rank, *(other for other in ranks if other is not rank)).split_idle(8_000_005)
        for rank in ranks
    ]

    assert sum(portion.own for portion in portions) == 8_000_005
    assert {portion.own for portion in portions} == {1_000_000, 1_000_001}
    assert {portion.unreserved for portion in portions} == {0}


def test_reservations_that_fit_keep_what_they_would_have_alone() -> None:
    one, two = reservation("one", cores=1), reservation("two", cores=2)

    portion = standing(one, two).split_idle(400)

    assert portion == Portion(own=100, neighbours=200, unreserved=100)
    assert standing(one).split_idle(400).own == 100
    assert standing(one, two).cores == 1.0


def test_cores_that_too_many_reserve_are_shared_and_their_hours_with_them() -> None:
    small, large = reservation("small", cores=2), reservation("large", cores=4)

    assert standing(small, large).cores == pytest.approx(4 * 2 / 6)
    assert standing(large, small).cores == pytest.approx(4 * 4 / 6)


def test_a_reservation_inside_another_divides_it_and_takes_nothing_from_the_rest() -> None:
    outer = reservation("outer", cores=2, lineage=("shell", "init"))
    ranks = [reservation(f"rank {i}", cores=4, lineage=(f"rank {i}", "shell", "init")) for i in range(2)]
    stranger = reservation("stranger", cores=2)
    everybody = [outer, *ranks, stranger]

    shares, unreserved = split_among(800, everybody, capacity=8)

    # The outer one reserves at least what a rank inside it does: 4 of 8 cores, which the ranks divide.
    assert shares == {"outer": 400, "rank 0": 200, "rank 1": 200, "stranger": 200}
    assert unreserved == 200


def test_a_window_says_which_meters_are_around_its_own() -> None:
    outermost = reservation("outermost", lineage=("a", "init"), has_devices=True)
    middle = reservation("middle", lineage=("b", "a", "init"))
    own = reservation("own", lineage=("c", "x", "b", "a", "init"))

    found = standing(own, outermost, middle).outers

    assert [outer.to_json() for outer in found] == [
        {"run": "job of middle", "devices": False},
        {"run": "job of outermost", "devices": True},
    ]
    assert standing(outermost, own, middle).outers == ()


def test_of_two_meters_in_one_process_the_later_is_inside_the_earlier() -> None:
    first = reservation("z", lineage=("p",), entered=1.0, cores=3)
    second = reservation("a", lineage=("p",), entered=2.0, cores=3)
    child = reservation("child", lineage=("c", "p"), entered=0.5, cores=1)

    found = outer_reservations([first, second, child])

    assert (found["z"], found["a"], found["child"]) == (None, first, second)


def test_a_meter_that_comes_in_the_middle_of_a_window_counts_from_then_on() -> None:
    own = reservation("own", cores=4)
    late = reservation("late", cores=4, entered=0.75)

    portion = standing(own, late).split_idle(800)

    assert portion == Portion(own=700, neighbours=100, unreserved=0)


def test_a_meter_that_left_in_the_middle_of_a_window_counts_until_then() -> None:
    own = reservation("own", cores=4)
    gone = reservation("gone", cores=4, entered=0.25, left=0.5)

    assert standing(own, gone).split_idle(800).neighbours == 100


def test_gpus_are_divided_among_those_that_hold_them() -> None:
    one, two = reservation("one", has_devices=True), reservation("two", has_devices=True)
    without = reservation("without", cores=4)

    assert standing(one, two, without).split_devices(1001) == Portion(own=501, neighbours=500, unreserved=0)
    assert standing(one, without).split_devices(1001).own == 1001


def test_files_written_by_hand_in_which_meters_are_inside_each_other_do_no_harm() -> None:
    one = reservation("one", cores=2, lineage=("a", "b"))
    two = reservation("two", cores=2, lineage=("b", "a"))

    shares, unreserved = split_among(100, [one, two], capacity=4)

    assert standing(one, two).outers == ()
    assert shares["one"] + unreserved <= 100


@st.composite
def forests(draw: st.DrawFn) -> list[Reservation]:
    """Meters in processes that descend from each other, some in one process; times within [0, 1)."""
    lineages: list[tuple[str, ...]] = [("init",)]
    found = []
    for number in range(draw(st.integers(1, 8))):
        parent = draw(st.sampled_from(lineages))
        is_new = parent == ("init",) or draw(st.booleans())
        lineage = (f"p{number}", *parent) if is_new else parent
        lineages.append(lineage)
        entered = draw(st.sampled_from([0.0, 0.0, 0.25, 0.3, 0.9]))
        left = draw(st.sampled_from([None, None, 0.95, 0.99]))
        found.append(
            reservation(
                f"{draw(st.integers(0, 99)):02d}-{number}",
                cores=draw(st.integers(0, 6)),
                lineage=lineage,
                entered=entered,
                left=left,
                has_devices=draw(st.booleans()),
            )
        )
    return found


def outermost(meters: list[Reservation]) -> list[str]:
    return [holder for holder, outer in outer_reservations(meters).items() if outer is None]


@given(meters=forests(), energy=st.integers(0, 10**13), capacity=st.integers(1, 16))
def test_the_idle_energy_of_a_node_is_shared_out_exactly_once(
    meters: list[Reservation], energy: int, capacity: int
) -> None:
    shares, unreserved = split_among(energy, meters, capacity=capacity)

    assert sum(shares[holder] for holder in outermost(meters)) + unreserved == energy
    assert min([unreserved, *shares.values()]) >= 0


@given(meters=forests(), energy=st.integers(0, 10**13), capacity=st.integers(1, 16))
def test_meters_inside_another_have_together_at_most_what_it_has(
    meters: list[Reservation], energy: int, capacity: int
) -> None:
    shares, _ = split_among(energy, meters, capacity=capacity)

    inside: dict[str, int] = {}
    for holder, outer in outer_reservations(meters).items():
        if outer is not None:
            inside[outer.holder] = inside.get(outer.holder, 0) + shares[holder]
    assert all(within <= shares[holder] for holder, within in inside.items())


@given(meters=forests(), energy=st.integers(0, 10**13), capacity=st.integers(1, 16))
def test_meters_that_close_the_same_window_agree_to_the_microjoule(
    meters: list[Reservation], energy: int, capacity: int
) -> None:
    there = [replace(meter, entered_seconds=0.0, left_seconds=None) for meter in meters]

    portions = {
        meter.holder: standing(
            meter, *(other for other in there if other is not meter), num_cores=capacity
        ).split_idle(energy)
        for meter in there
    }

    assert all(
        each.own + each.neighbours + each.unreserved == energy and min(each.own, each.neighbours) >= 0
        for each in portions.values()
    )
    assert len({each.unreserved for each in portions.values()}) == 1
    roots = outermost(there)
    assert sum(portions[holder].own for holder in roots) + portions[roots[0]].unreserved == energy


@settings(max_examples=60)
@given(
    meters=forests(),
    cuts=st.lists(st.lists(st.floats(0, 1), max_size=5), min_size=8, max_size=8),
    capacity=st.integers(1, 16),
)
def test_meters_with_windows_of_their_own_never_count_more_idle_energy_than_there_was(
    meters: list[Reservation], cuts: list[list[float]], capacity: int
) -> None:
    """A steady idle power of 10**9 microjoules a second, and each meter closes windows when it likes."""
    roots = []
    counted = num_pieces = 0
    for meter, own_cuts in zip(meters, cuts, strict=False):
        start, stop = meter.entered_seconds, meter.left_seconds or 1.0
        times = sorted({start, stop, *(cut for cut in own_cuts if start < cut < stop)})
        others = [other for other in meters if other is not meter]
        for since, until in itertools.pairwise(times):
            seen = [other for other in others if was_there(other, since, until)]
            window = standing(meter, *seen, since=since, until=until, num_cores=capacity)
            num_pieces += 1 + 2 * len(others)
            if not window.outers:
                counted += window.split_idle(round(1e9 * (until - since))).own
                roots.append(meter.holder)

    # Windows in which an outer meter was there only in part are left out as a whole: never too much.
    assert counted <= 10**9 + num_pieces


@given(meters=forests(), energy=st.integers(0, 10**12), cut=st.floats(0.01, 0.99))
def test_cutting_a_window_in_two_changes_nothing_beyond_rounding(
    meters: list[Reservation], energy: int, cut: float
) -> None:
    own, *others = meters
    own = replace(own, entered_seconds=0.0, left_seconds=None)
    first = round(energy * cut)

    whole = standing(own, *others).split_idle(energy).own
    halves = [
        standing(own, *others, until=cut).split_idle(first).own,
        standing(own, *others, since=cut).split_idle(energy - first).own,
    ]

    # One for the piece boundary that does not fall on a whole microjoule, and one for each piece's remainder.
    assert abs(sum(halves) - whole) <= 4 + 4 * len(others)


@given(meters=forests(), energy=st.integers(0, 10**13), capacity=st.integers(1, 16))
def test_the_order_in_which_meters_are_found_does_not_matter(
    meters: list[Reservation], energy: int, capacity: int
) -> None:
    assert split_among(energy, meters, capacity=capacity) == split_among(
        energy, meters[::-1], capacity=capacity
    )


@given(meters=forests(), energy=st.integers(0, 10**13))
def test_the_gpus_of_a_node_are_never_counted_twice(meters: list[Reservation], energy: int) -> None:
    there = [replace(meter, entered_seconds=0.0, left_seconds=None) for meter in meters]
    holders = [meter for meter in there if meter.has_devices]

    portions = {
        meter.holder: standing(meter, *(other for other in there if other is not meter)).split_devices(energy)
        for meter in holders
    }

    outer_of = outer_reservations(there)

    def is_inside_a_holder(holder: str) -> bool:
        outer = outer_of[holder]
        while outer is not None:
            if outer.has_devices:
                return True
            outer = outer_of[outer.holder]
        return False

    counted = [each.own for holder, each in portions.items() if not is_inside_a_holder(holder)]
    assert not holders or sum(counted) == energy
    assert all(each.unreserved == 0 for each in portions.values())

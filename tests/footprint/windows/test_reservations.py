from typing import Any

import pytest

from ayni.footprint.windows.reservations import (
    Presence,
    Reservation,
    ReservationsInMemory,
    ReservationsUnavailableError,
    was_there,
)

RESERVATION = Reservation(holder="a-1", job="r1", cores=2, lineage=("p", "init"), entered_seconds=3.5)


def test_a_reservation_is_read_as_it_was_written() -> None:
    assert Reservation.from_json(RESERVATION.to_json()) == RESERVATION


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {},
        {**RESERVATION.to_json(), "lineage": []},
        {**RESERVATION.to_json(), "lineage": None},
        {**RESERVATION.to_json(), "cores": -1},
        {**RESERVATION.to_json(), "cores": "2"},
        {**RESERVATION.to_json(), "entered_seconds": float("nan")},
        {**RESERVATION.to_json(), "left_seconds": 1.0},
        {**RESERVATION.to_json(), "further": 1},
    ],
)
def test_what_is_no_reservation_is_refused(data: Any) -> None:
    with pytest.raises(ValueError, match="not a reservation"):
        Reservation.from_json(data)


def test_a_reservation_is_there_from_its_beginning_and_until_its_end() -> None:
    assert was_there(RESERVATION, 0.0, 4.0)
    assert not was_there(RESERVATION, 0.0, 3.5)
    left = Reservation.from_json({**RESERVATION.to_json(), "left_seconds": 5.0})
    assert was_there(left, 4.9, 9.0)
    assert not was_there(left, 5.0, 9.0)


def test_meters_of_a_pretended_node_see_each_other_as_long_as_they_are_there() -> None:
    node = ReservationsInMemory()
    one = node.enter(job="one", cores=1, has_devices=False, now_seconds=1.0)
    two = node.enter(job="two", cores=1, has_devices=False, now_seconds=2.0)

    assert node.look(one, since_seconds=0.0, until_seconds=2.0) == ()
    assert node.look(one, since_seconds=2.0, until_seconds=3.0) == (two,)
    node.leave(two, now_seconds=3.0)
    node.leave(two, now_seconds=9.0)

    (seen,) = node.look(one, since_seconds=2.0, until_seconds=4.0)
    assert seen.left_seconds == 3.0
    assert node.look(one, since_seconds=3.0, until_seconds=4.0) == ()


def test_a_meter_that_takes_up_the_gpus_enters_anew() -> None:
    node = ReservationsInMemory()
    watcher = node.enter(job="watcher", cores=1, has_devices=False, now_seconds=0.0)
    presence = Presence(node, job="run", cores=2)

    presence.enter(has_devices=False, now_seconds=1.0)
    presence.enter(has_devices=False, now_seconds=2.0)
    presence.enter(has_devices=True, now_seconds=3.0)
    presence.leave(now_seconds=4.0)
    presence.leave(now_seconds=5.0)

    found = node.look(watcher, since_seconds=0.0, until_seconds=9.0)
    assert [(each.has_devices, each.entered_seconds, each.left_seconds) for each in found] == [
        (False, 1.0, 3.0),
        (True, 3.0, 4.0),
    ]


def test_a_meter_that_has_the_node_to_itself_sees_nobody() -> None:
    presence = Presence(None, job="run", cores=2)
    presence.enter(has_devices=False, now_seconds=1.0)

    assert presence.others(since_seconds=0.0, until_seconds=9.0) == ()
    assert (presence.own, presence.note) == (None, None)


def test_a_meter_that_nobody_can_see_says_so_and_goes_on() -> None:
    class Closed(ReservationsInMemory):
        def enter(self, **_given: Any) -> Reservation:
            raise ReservationsUnavailableError("closed for good")

    presence = Presence(Closed(), job="run", cores=2)
    presence.enter(has_devices=False, now_seconds=1.0)

    assert presence.note == "closed for good"
    assert presence.others(since_seconds=0.0, until_seconds=9.0) == ()
    presence.leave(now_seconds=2.0)

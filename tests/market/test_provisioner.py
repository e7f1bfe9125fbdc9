"""Renting is idempotent, bounded and metered: what any provisioner must keep, shown with the twin."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.provisioner import (
    CloudCapacityError,
    InMemoryProvisioner,
    Order,
    ReusedTokenError,
    SpendingCapError,
    UnknownOrderError,
)

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
ASK = 3_600_000  # micro-credits an hour: 1000 a second
MACHINE = MachineClass(
    name="big", cores=8, memory_bytes=2**30, accelerator="V100", watts=300, reference_throughput={"any": 1.0}
)


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def provisioner(clock: Clock, *, count: int = 4) -> InMemoryProvisioner:
    offer = Offer(
        id="gcp-here-big",
        site="gcp-here",
        member="gcp",
        machine_class=MACHINE,
        count=count,
        windows=((START, START + timedelta(days=1)),),
        ask_microcredits_per_machine_hour=ASK,
        source="cloud:gcp",
    )
    return InMemoryProvisioner([offer], now=clock)


def order(token: str = "lease-1", *, machines: int = 2, seconds: int = 600, cap: int = 10**9) -> Order:
    return Order(
        token=token, offer="gcp-here-big", num_machines=machines, max_seconds=seconds, cap_microcredits=cap
    )


def test_a_quote_is_the_most_that_an_order_can_cost_and_rents_nothing(clock: Clock) -> None:
    rents = provisioner(clock)

    quote = rents.quote(order())

    assert quote.cost_microcredits == 2 * 600 * 1000
    assert quote.holds_until > START
    with pytest.raises(UnknownOrderError, match="lease-1"):
        rents.status("lease-1")


def test_the_same_order_again_is_the_same_machines(clock: Clock) -> None:
    rents = provisioner(clock, count=2)
    first = rents.create(order())
    clock.wait(30)

    again = rents.create(order())

    assert (again.created_at, again.ends_at) == (first.created_at, first.ends_at)
    assert rents.list_offers() == ()
    with pytest.raises(ReusedTokenError, match="Nothing was rented"):
        rents.create(order(seconds=700))


def test_an_order_that_was_destroyed_is_not_rented_again_by_its_token(clock: Clock) -> None:
    rents = provisioner(clock)
    rents.create(order())
    rents.destroy("lease-1")

    assert rents.create(order()).state == "gone"


def test_machines_start_run_and_are_gone_by_themselves_at_the_end(clock: Clock) -> None:
    rents = provisioner(clock)
    states = [rents.create(order()).state]

    for seconds in (60, 539, 1):
        clock.wait(seconds)
        states.append(rents.status("lease-1").state)

    assert states == ["starting", "running", "running", "gone"]
    clock.wait(10_000)
    assert rents.meter("lease-1").machine_seconds == 2 * 600


def test_what_was_spent_stops_when_the_machines_are_given_back(clock: Clock) -> None:
    rents = provisioner(clock)
    rents.create(order())
    clock.wait(100)

    rents.destroy("lease-1")
    clock.wait(100)
    rents.destroy("lease-1")

    assert rents.meter("lease-1").machine_seconds == 200
    assert rents.meter("lease-1").spent_microcredits == 200 * 1000


def test_more_machines_than_there_are_are_refused_until_some_come_back(clock: Clock) -> None:
    rents = provisioner(clock, count=3)
    rents.create(order())

    with pytest.raises(CloudCapacityError, match=r"2 machines .* 1 are to be had"):
        rents.create(order("lease-2"))
    rents.destroy("lease-1")

    assert rents.create(order("lease-2")).state == "starting"


def test_nothing_is_rented_outside_of_the_window_or_of_an_offer_that_is_not_there(clock: Clock) -> None:
    rents = provisioner(clock)
    clock.wait(24 * 3600)

    assert rents.list_offers() == ()
    with pytest.raises(CloudCapacityError, match="0 are to be had"):
        rents.create(order())
    with pytest.raises(CloudCapacityError):
        rents.quote(Order(token="t", offer="none", num_machines=1, max_seconds=1, cap_microcredits=0))


def test_an_order_beyond_its_cap_is_refused_and_nothing_is_rented(clock: Clock) -> None:
    rents = provisioner(clock)

    with pytest.raises(SpendingCapError, match=r"1\.2 credits and may cost 1\.1"):
        rents.create(order(cap=1_100_000))

    with pytest.raises(UnknownOrderError):
        rents.meter("lease-1")


@given(st.lists(st.integers(0, 400), max_size=6), st.integers(1, 4), st.integers(1, 900))
def test_spending_never_falls_and_never_exceeds_the_quote(
    waits: list[int], machines: int, seconds: int
) -> None:
    clock = Clock()
    rents = provisioner(clock)
    wanted = order(machines=machines, seconds=seconds)
    most = rents.quote(wanted).cost_microcredits
    rents.create(wanted)
    spent = [0]

    for wait in waits:
        clock.wait(wait)
        spent.append(rents.meter("lease-1").spent_microcredits)

    assert spent == sorted(spent)
    assert spent[-1] <= most


@pytest.mark.parametrize("values", [{"machines": 0}, {"seconds": 0}, {"cap": -1}, {"token": ""}])
def test_an_order_of_nothing_is_none(values: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match="an order of nothing"):
        order(**values)  # type: ignore[arg-type]

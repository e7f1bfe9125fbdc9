import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.errors import AyniError
from ayni.market.double_entry import CLIMATE_FUND, SURPLUS, VERIFICATION_FUND, available, earned, escrow
from ayni.market.ledger import ClosedLeaseError, Lease, Ledger, ReusedIdError
from ayni.market.metering import DebitNote, LeasePrice, drawn
from ayni.market.store import InMemoryLedgerStore

LEASE = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="lab")
# Of 20 a second: 10 to the seller, 4 for carbon; of the rest a quarter for checks.
PRICE = LeasePrice(
    reserved_unit_seconds=100, seller_microcredits=1000, climate_microcredits=400, payment_microcredits=2200
)


def note(number: int, unit_seconds: int, *, before: int = 0, price: LeasePrice = PRICE) -> DebitNote:
    return DebitNote.of_tick(
        LEASE,
        price,
        number=number,
        unit_seconds_before=before,
        unit_seconds=unit_seconds,
        verification_share=0.25,
    )


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(InMemoryLedgerStore())
    ledger.grant_once("me", amount_microcredits=10_000, policy="new-member")
    return ledger


def test_a_tick_pays_the_seller_climate_checks_and_surplus(ledger: Ledger) -> None:
    ledger.hold(LEASE, amount_microcredits=2200)

    outcome = drawn(note(1, 50), ledger.book(note(1, 50).movement()))

    assert (outcome.paid_microcredits, outcome.is_exhausted) == (1100, False)
    parts = [ledger.balance(account) for account in (earned("own", "r1"), CLIMATE_FUND)]
    assert parts == [500, 200]
    assert ledger.balance(VERIFICATION_FUND) == 100
    assert ledger.balance(SURPLUS) == 300
    assert ledger.check() == []


@given(
    seller=st.integers(0, 10**9),
    climate=st.integers(0, 10**6),
    more=st.integers(0, 10**9),
    reserved=st.integers(1, 10**6),
    ticks=st.lists(st.integers(0, 10**5), max_size=30),
)
def test_ticks_of_any_length_add_up_to_the_price_exactly_and_no_part_is_negative(
    seller: int, climate: int, more: int, reserved: int, ticks: list[int]
) -> None:
    price = LeasePrice(
        reserved_unit_seconds=reserved,
        seller_microcredits=seller,
        climate_microcredits=climate,
        payment_microcredits=seller + climate + more,
    )
    ticks = [*ticks, max(reserved - sum(ticks), 0)]

    notes = [note(n + 1, ticks[n], before=sum(ticks[:n]), price=price) for n in range(len(ticks))]

    assert min(each.seller_microcredits for each in notes) >= 0
    assert min(each.climate_microcredits for each in notes) >= 0
    assert min(each.verification_microcredits for each in notes) >= 0
    assert min(each.surplus_microcredits for each in notes) >= 0
    work = sum(ticks)
    assert sum(each.seller_microcredits for each in notes) == seller * work // reserved
    if work == reserved:
        assert sum(each.cost_microcredits for each in notes) == price.payment_microcredits


def test_an_exhausted_escrow_pays_the_seller_first_and_says_what_is_missing(ledger: Ledger) -> None:
    ledger.hold(LEASE, amount_microcredits=1200)

    answers = ledger.book_all([note(1, 50).movement(), note(2, 10, before=50).movement()])
    last = drawn(note(2, 10, before=50), answers[1])
    after = drawn(note(3, 10, before=60), ledger.book(note(3, 10, before=60).movement()))

    assert (last.paid_microcredits, last.unpaid_microcredits) == (100, 120)
    assert ledger.balance(earned("own", "r1")) == 500 + 100
    assert ledger.balance(CLIMATE_FUND) == 200
    assert (after.paid_microcredits, after.is_exhausted) == (0, True)
    assert ledger.balance(escrow("me", "r1")) == 0


def test_a_tick_that_comes_twice_is_paid_once_and_says_the_same(ledger: Ledger) -> None:
    ledger.hold(LEASE, amount_microcredits=600)

    first = [drawn(note(1, 50), row) for row in ledger.book_all([note(1, 50).movement()] * 2)]
    again = drawn(note(1, 50), ledger.book(note(1, 50).movement()))

    assert [*first, again] == [first[0]] * 3
    assert first[0].paid_microcredits == 600
    assert len(ledger.transactions("r1")) == 2


def test_a_tick_number_with_other_work_is_refused(ledger: Ledger) -> None:
    ledger.hold(LEASE, amount_microcredits=2200)
    ledger.book(note(1, 50).movement())

    with pytest.raises(ReusedIdError, match="tick 1: 51 unit-seconds"):
        ledger.book(note(1, 51).movement())


def test_a_refused_movement_does_not_keep_the_others_of_its_batch_from_being_booked(ledger: Ledger) -> None:
    other = Lease(lease_id="r2", run="r2", member="me", site="own", site_member="lab")
    for lease in (LEASE, other):
        ledger.hold(lease, amount_microcredits=2200)
    ledger.release(other)
    late = DebitNote.of_tick(
        other, PRICE, number=1, unit_seconds_before=0, unit_seconds=5, verification_share=0.25
    )

    answers = ledger.book_all([late.movement(), note(1, 50).movement()])

    assert isinstance(answers[0], ClosedLeaseError)
    with pytest.raises(AyniError):
        drawn(late, answers[0])
    assert drawn(note(1, 50), answers[1]).paid_microcredits == 1100
    assert ledger.balance(available("me")) == 10_000 - 2200
    assert ledger.check() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"payment_microcredits": 1399},
        {"seller_microcredits": -1},
        {"climate_microcredits": -1},
        {"reserved_unit_seconds": 0},
    ],
)
def test_a_price_below_ask_and_carbon_charge_is_none(wrong: dict[str, int]) -> None:
    values = {
        "reserved_unit_seconds": 100,
        "seller_microcredits": 1000,
        "climate_microcredits": 400,
        "payment_microcredits": 1400,
    }
    LeasePrice(**values)

    with pytest.raises(ValueError):
        LeasePrice(**{**values, **wrong})


def test_work_cannot_be_negative() -> None:
    with pytest.raises(ValueError, match="tick 1 of -1"):
        note(1, -1)

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.double_entry import (
    CLOUD,
    SURPLUS,
    VERIFICATION_FUND,
    AccountNameError,
    available,
    bond,
    earned,
)
from ayni.market.guarantees import (
    claw_back,
    hold_with_bond,
    needed_bond,
    needed_check_rate,
    return_bond,
    slash_bond,
    stake,
)
from ayni.market.ledger import InsufficientCreditsError, Lease, Ledger
from ayni.market.metering import DebitNote, LeasePrice
from ayni.market.store import InMemoryLedgerStore

LEASE = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="lab")
PRICE = LeasePrice(
    reserved_unit_seconds=100, seller_microcredits=1000, climate_microcredits=0, payment_microcredits=1400
)


@pytest.fixture
def ledger() -> Ledger:
    """Both members have 2000; 1400 are in escrow and 300 staked; three ticks of 20 s are paid."""
    ledger = Ledger(InMemoryLedgerStore())
    for member in ("me", "lab"):
        ledger.grant_once(member, amount_microcredits=2000, policy="new-member")
    ledger.book(hold_with_bond(LEASE, escrow_microcredits=1400, bond_microcredits=300))
    for number in (1, 2, 3):
        note = DebitNote.of_tick(
            LEASE,
            PRICE,
            number=number,
            unit_seconds_before=20 * (number - 1),
            unit_seconds=20,
            verification_share=0.25,
        )
        ledger.book(note.movement())
    return ledger


def test_what_does_not_count_goes_back_to_the_buyer_once(ledger: Ledger) -> None:
    ledger.release(LEASE)
    back = claw_back(LEASE, ledger.transactions("r1"), from_tick=3, reason="lost")

    assert back is not None
    rows = [ledger.book(back), ledger.book(back)]

    assert rows[0] == rows[1]
    assert ledger.balance(earned("own", "r1")) == 400
    assert ledger.balance(available("me")) == 2000 - 2 * 280
    assert (ledger.balance(VERIFICATION_FUND), ledger.balance(SURPLUS)) == (40, 120)
    assert ledger.check() == []


def test_what_the_cooperative_has_spent_does_not_come_back(ledger: Ledger) -> None:
    from ayni.market.period import dividend

    ledger.book(dividend("2026Q3", units_before={"lab": 1}))
    back = claw_back(LEASE, ledger.transactions("r1"), from_tick=1, reason="wrong")

    assert back is not None
    ledger.book(back)

    assert ledger.balance(available("me")) == 2000 - 1400 + 600 + 60
    assert ledger.balance(SURPLUS) == 0
    assert ledger.check() == []


def test_nothing_paid_is_nothing_to_claw_back(ledger: Ledger) -> None:
    assert claw_back(LEASE, ledger.transactions("r1"), from_tick=4, reason="late") is None
    assert claw_back(LEASE, [], from_tick=1, reason="none") is None


def test_a_bond_goes_back_or_is_lost_and_never_both(ledger: Ledger) -> None:
    ledger.book(slash_bond(LEASE, reason="wrong"))

    assert ledger.book(return_bond(LEASE)) is None
    assert ledger.balance(VERIFICATION_FUND) == 60 + 300
    assert ledger.balance(available("lab")) == 1700
    assert ledger.balance(bond("lab", "r1")) == 0


def test_an_honest_seller_gets_its_bond_back(ledger: Ledger) -> None:
    ledger.book(return_bond(LEASE))

    assert ledger.book(slash_bond(LEASE, reason="too late")) is None
    assert ledger.balance(available("lab")) == 2000


@pytest.mark.parametrize(("escrow", "staked"), [(2001, 0), (0, 2001), (2001, 2001)])
def test_escrow_and_bond_are_set_aside_both_or_not_at_all(escrow: int, staked: int) -> None:
    ledger = Ledger(InMemoryLedgerStore())
    for member in ("me", "lab"):
        ledger.grant_once(member, amount_microcredits=2000, policy="new-member")

    with pytest.raises(InsufficientCreditsError):
        ledger.book(hold_with_bond(LEASE, escrow_microcredits=escrow, bond_microcredits=staked))

    assert ledger.balances().keys() == {"coop:grants", available("me"), available("lab")}


def test_who_buys_from_itself_needs_both_from_one_account() -> None:
    ledger = Ledger(InMemoryLedgerStore())
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    own = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="me")

    with pytest.raises(InsufficientCreditsError, match="needs 0"):
        ledger.book(hold_with_bond(own, escrow_microcredits=60, bond_microcredits=50))
    ledger.book(hold_with_bond(own, escrow_microcredits=60, bond_microcredits=40))

    assert ledger.balance(available("me")) == 0


def test_a_cloud_is_paid_into_what_is_owed_in_money_and_stakes_nothing() -> None:
    ledger = Ledger(InMemoryLedgerStore())
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    cloud = Lease(lease_id="r1", run="r1", member="me", site="gcp-us1", site_member="cloud:gcp")

    ledger.book(hold_with_bond(cloud, escrow_microcredits=60, bond_microcredits=0))
    ledger.draw(cloud, receipt_hash="h", amount_microcredits=50, memo="")
    ledger.release(cloud)
    ledger.pay_out(cloud)

    assert ledger.balance(CLOUD) == 50
    assert ledger.balance(available("me")) == 50
    with pytest.raises(AccountNameError):
        hold_with_bond(cloud, escrow_microcredits=60, bond_microcredits=1)


@given(gain=st.integers(1, 10**12), rate=st.floats(0.01, 1))
def test_with_the_needed_bond_honesty_pays_at_least_as_much(gain: int, rate: float) -> None:
    staked = needed_bond(gain, check_rate=rate)

    assert rate * staked >= (1 - rate) * gain * (1 - 1e-12)
    assert rate * (staked - 2) < (1 - rate) * gain


@given(gain=st.integers(1, 10**12), staked=st.integers(0, 10**12), wanted=st.floats(0.05, 1))
def test_a_small_bond_is_made_up_for_by_more_checks(gain: int, staked: int, wanted: float) -> None:
    rate = needed_check_rate(gain, bond_microcredits=staked, wanted_rate=wanted)

    assert wanted <= rate <= 1
    assert rate * staked >= (1 - rate) * gain - 1e-9 * gain


@given(gain=st.integers(1, 10**9), wanted=st.floats(0.05, 1), has=st.integers(0, 10**11))
def test_every_lease_is_guarded_by_a_bond_or_by_checks(gain: int, wanted: float, has: int) -> None:
    rate, staked = stake(gain, wanted_rate=wanted, affordable_microcredits=has)

    assert 0 <= staked <= has
    assert wanted <= rate <= 1
    assert rate * staked >= (1 - rate) * gain - 1e-9 * gain


def test_a_trusted_rich_seller_stakes_and_is_seldom_checked_a_new_one_is_always() -> None:
    assert stake(100, wanted_rate=0.05, affordable_microcredits=10**6) == (0.05, 1900)
    assert stake(100, wanted_rate=0.05, affordable_microcredits=0) == (1.0, 0)
    assert stake(100, wanted_rate=1.0, affordable_microcredits=10**6) == (1.0, 0)
    assert stake(100, wanted_rate=0.05, affordable_microcredits=100) == (0.5, 100)


def test_five_percent_of_checks_need_nineteen_times_the_pay_and_all_of_them_none() -> None:
    assert needed_bond(100, check_rate=0.05) == 1900
    assert needed_bond(100, check_rate=1.0) == 0
    assert needed_check_rate(100, bond_microcredits=0, wanted_rate=0.05) == 1.0
    assert needed_check_rate(0, bond_microcredits=0, wanted_rate=0.05) == 0.05
    with pytest.raises(ValueError, match="rate of checks"):
        needed_bond(100, check_rate=0)

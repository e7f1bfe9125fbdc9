import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.double_entry import GRANTS, SURPLUS, Posting, Transaction, available
from ayni.market.ledger import Ledger, utc_now
from ayni.market.period import close_period, previous_period
from ayni.market.policy import CreditPolicy, PeriodPolicy, new_member_grant
from ayni.market.store import InMemoryLedgerStore

POLICY = PeriodPolicy(decay_share=0.1, decay_exempt_microcredits=1000)


def ledger_with(surplus: int, **balances: int) -> Ledger:
    store = InMemoryLedgerStore()
    ledger = Ledger(store)
    for member, amount in balances.items():
        ledger.grant_once(member, amount_microcredits=amount, policy="new-member")
    if surplus:
        postings = (
            Posting(account=GRANTS, amount_microcredits=-surplus),
            Posting(account=SURPLUS, amount_microcredits=surplus),
        )
        with store.open() as book:
            book.append(Transaction(id="s", kind="x", run=None, memo="", postings=postings), at=utc_now())
    return ledger


def test_the_surplus_is_shared_by_the_work_of_the_quarter_before() -> None:
    ledger = ledger_with(1000, a=500, b=500, idle=500)

    close_period(ledger, "2026Q3", units_before={"a": 300, "b": 100, "idle": 0}, policy=POLICY)

    assert ledger.balance(available("a")) == 500 + 750
    assert ledger.balance(available("b")) == 500 + 250
    assert ledger.balance(available("idle")) == 500
    assert ledger.balance(SURPLUS) == 0
    assert ledger.check() == []


def test_closing_a_quarter_twice_changes_nothing_even_with_other_numbers() -> None:
    ledger = ledger_with(1000, a=5000, b=500)
    first = close_period(ledger, "2026Q3", units_before={"a": 1}, policy=POLICY)
    before = ledger.balances()

    again = close_period(ledger, "2026Q3", units_before={"b": 1}, policy=PeriodPolicy(decay_share=0.01))

    assert again[: len(first)] == first
    assert ledger.balances() == before


def test_only_what_lies_idle_beyond_the_exempt_amount_decays() -> None:
    ledger = ledger_with(0, rich=6009, small=1000)

    close_period(ledger, "2026Q3", units_before={}, policy=POLICY)

    assert ledger.balance(available("rich")) == 6009 - 500
    assert ledger.balance(available("small")) == 1000
    assert ledger.balance(GRANTS) == -(6009 - 500) - 1000


def test_a_surplus_without_work_before_waits_for_the_next_quarter() -> None:
    ledger = ledger_with(1000, a=1)

    close_period(ledger, "2026Q3", units_before={"a": 0}, policy=POLICY)
    assert ledger.balance(SURPLUS) == 1000
    close_period(ledger, "2026Q4", units_before={"a": 5}, policy=POLICY)

    assert ledger.balance(SURPLUS) == 0


@given(surplus=st.integers(1, 10**12), units=st.dictionaries(st.sampled_from("abcde"), st.integers(0, 10**9)))
def test_a_dividend_hands_out_every_micro_credit_or_none(surplus: int, units: dict[str, int]) -> None:
    ledger = ledger_with(surplus, a=1)

    close_period(ledger, "2026Q1", units_before=units, policy=PeriodPolicy(decay_share=0))

    assert ledger.balance(SURPLUS) == (0 if any(units.values()) else surplus)
    assert sum(ledger.balances().values()) == 0
    for member, work in units.items():
        exact = surplus * work / max(sum(units.values()), 1)
        got = ledger.balance(available(member)) - (member == "a")
        assert abs(got - exact) <= 1 + 1e-9 * exact


@pytest.mark.parametrize("wrong", ["2026", "2026Q5", "2026q1", "Q1", "2026Q1 "])
def test_a_period_that_is_no_quarter_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="no quarter"):
        close_period(ledger_with(1, a=1), wrong, units_before={}, policy=POLICY)


def test_negative_work_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        close_period(ledger_with(1, a=1), "2026Q1", units_before={"a": -1}, policy=POLICY)


def test_the_quarter_before_the_first_is_in_the_year_before() -> None:
    assert previous_period("2026Q1") == "2025Q4"
    assert previous_period("2026Q4") == "2026Q3"


@pytest.mark.parametrize("share", [-0.01, 0.11, 1.0, float("nan")])
def test_more_than_a_tenth_a_quarter_cannot_be_declared(share: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        PeriodPolicy(decay_share=share)


def test_a_grant_is_at_most_a_week_of_fair_share() -> None:
    policy = CreditPolicy(new_member_grant_microcredits=100)

    assert new_member_grant(policy, fair_share_week_microcredits=1000) == 100
    assert new_member_grant(policy, fair_share_week_microcredits=70) == 70
    with pytest.raises(ValueError):
        new_member_grant(policy, fair_share_week_microcredits=-1)

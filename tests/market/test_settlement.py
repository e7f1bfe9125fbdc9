import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.double_entry import CLIMATE_FUND, available
from ayni.market.ledger import InsufficientCreditsError, Lease, Ledger
from ayni.market.policy import CreditPolicy
from ayni.market.settlement import (
    ReceiptCostError,
    Settlement,
    make_settlement,
    open_lease,
    settle,
)
from ayni.market.store import InMemoryLedgerStore

OWN = Lease(lease_id="r1", run="r1", member="me", site="own", site_member="me")
FOREIGN = Lease(lease_id="r1", run="r1", member="me", site="lab", site_member="lab")
CHARGED = CreditPolicy(carbon_charge_microcredits_per_kilogram=1000)


def receipt(step: str, machine: int, electricity: int, *, grams: float | None = 0.0) -> dict[str, Any]:
    cost = {
        "machine_microcredits": machine,
        "electricity_microcredits": electricity,
        "total_microcredits": machine + electricity,
    }
    return {"step": step, "hash": f"hash-of-{step}", "cost": cost, "carbon": {"grams_co2e": grams}}


def ledger_with(amount: int) -> Ledger:
    ledger = Ledger(InMemoryLedgerStore())
    ledger.grant_once("me", amount_microcredits=amount, policy="new-member")
    return ledger


RECEIPTS = [receipt("train", 20, 5), receipt("compress", 7, 3)]


def test_a_job_on_own_machines_is_settled_and_costs_its_owner_no_credits() -> None:
    ledger = ledger_with(100)
    held = open_lease(ledger, OWN, budget_microcredits=50, needed_microcredits=30)

    transactions = settle(ledger, make_settlement(RECEIPTS, lease=OWN, held_microcredits=held))

    assert [row["kind"] for row in transactions] == ["hold", "draw", "draw", "release", "pay-out"]
    assert ledger.balance(available("me")) == 100
    assert ledger.check() == []


def test_a_job_on_machines_of_another_member_pays_that_member() -> None:
    ledger = ledger_with(100)
    held = open_lease(ledger, FOREIGN, budget_microcredits=50, needed_microcredits=30)

    settlement = make_settlement(RECEIPTS, lease=FOREIGN, held_microcredits=held)
    settle(ledger, settlement)

    assert (settlement.paid_microcredits, settlement.refund_microcredits) == (35, 15)
    assert ledger.balance(available("me")) == 65
    assert ledger.balance(available("lab")) == 35


costs = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1e5)), max_size=6)


@given(costs=costs, budget=st.integers(0, 150), is_charged=st.booleans())
def test_whatever_the_receipts_say_no_credit_is_made_or_lost(
    costs: list[tuple[int, int, float]], budget: int, is_charged: bool
) -> None:
    ledger = ledger_with(100)
    receipts = [receipt(f"s{i}", m, e, grams=g) for i, (m, e, g) in enumerate(costs)]
    held = open_lease(ledger, FOREIGN, budget_microcredits=budget, needed_microcredits=0)

    policy = CHARGED if is_charged else None
    settlement = make_settlement(receipts, lease=FOREIGN, held_microcredits=held, policy=policy)
    settle(ledger, settlement)

    spent = 100 - ledger.balance(available("me"))
    assert spent == settlement.paid_microcredits <= min(budget, 100)
    assert ledger.balance(available("lab")) + ledger.balance(CLIMATE_FUND) == spent
    owed = sum(charge.cost_microcredits + charge.climate_microcredits for charge in settlement.charges)
    assert settlement.unpaid_microcredits == owed - spent
    assert settlement.unpaid_microcredits == 0 or settlement.refund_microcredits == 0
    assert ledger.check() == []


def test_a_settlement_that_stops_anywhere_and_is_made_again_is_made_once() -> None:
    settlement = make_settlement(RECEIPTS, lease=FOREIGN, held_microcredits=50)

    for num_writes in range(1, 5):
        store = InMemoryLedgerStore()
        writes = itertools.count(1)

        def now(writes: "itertools.count[int]" = writes, last: int = num_writes + 2) -> Any:
            from ayni.market.ledger import utc_now

            if next(writes) > last:
                raise KeyboardInterrupt
            return utc_now()

        dying = Ledger(store, now=now)
        dying.grant_once("me", amount_microcredits=100, policy="new-member")
        dying.hold(FOREIGN, amount_microcredits=50)
        if num_writes < 4:
            with pytest.raises(KeyboardInterrupt):
                settle(dying, settlement)

        ledger = Ledger(store)
        settle(ledger, settlement)
        settle(ledger, settlement)

        assert [entry.transaction.kind for entry in store.entries].count("draw") == 2
        assert ledger.balance(available("lab")) == 35
        assert ledger.balance(available("me")) == 65
        assert ledger.check() == []


def test_a_carbon_charge_goes_to_the_climate_fund_and_is_none_by_default() -> None:
    receipts = [receipt("train", 20, 5, grams=4000.0)]

    charged = make_settlement(receipts, lease=OWN, held_microcredits=5000, policy=CHARGED)
    free = make_settlement(receipts, lease=OWN, held_microcredits=5000)

    assert charged.charges[0].climate_microcredits == 4000
    assert charged.paid_microcredits == 4025
    assert free.paid_microcredits == 25


def test_the_site_is_paid_before_the_climate_fund() -> None:
    (charge,) = make_settlement(
        [receipt("train", 20, 5, grams=10.0)], lease=OWN, held_microcredits=30, policy=CHARGED
    ).charges

    assert (charge.paid_to_site_microcredits, charge.paid_to_climate_microcredits) == (25, 5)
    assert charge.unpaid_microcredits == 5


def test_a_free_job_moves_nothing() -> None:
    ledger = ledger_with(100)
    held = open_lease(ledger, OWN, budget_microcredits=0, needed_microcredits=0)

    assert settle(ledger, make_settlement([receipt("train", 0, 0)], lease=OWN, held_microcredits=held)) == []


def test_all_a_member_has_is_held_when_the_budget_is_larger_and_the_plan_is_not() -> None:
    assert open_lease(ledger_with(40), OWN, budget_microcredits=1000, needed_microcredits=30) == 40


def test_a_lease_opened_before_keeps_its_escrow_though_the_balance_changed() -> None:
    ledger = ledger_with(40)
    open_lease(ledger, OWN, budget_microcredits=1000, needed_microcredits=30)

    assert open_lease(ledger, OWN, budget_microcredits=7, needed_microcredits=30) == 40


def test_a_plan_that_the_member_cannot_pay_is_refused() -> None:
    with pytest.raises(InsufficientCreditsError, match="me needs"):
        open_lease(ledger_with(20), OWN, budget_microcredits=1000, needed_microcredits=30)


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": None},
        {"hash": None},
        {"cost": {"machine_microcredits": 1, "electricity_microcredits": 1, "total_microcredits": 3}},
        {"cost": {"machine_microcredits": 1.0, "electricity_microcredits": 1, "total_microcredits": 2}},
        {"cost": {"machine_microcredits": -1, "electricity_microcredits": 1, "total_microcredits": 0}},
        {"cost": {"machine_microcredits": True, "electricity_microcredits": 1, "total_microcredits": 2}},
        {"cost": {}},
        {"carbon": {"grams_co2e": None}},
        {"carbon": {"grams_co2e": float("nan")}},
        {"carbon": None},
    ],
)
def test_a_receipt_that_contradicts_itself_is_not_settled(changes: dict[str, Any]) -> None:
    with pytest.raises(ReceiptCostError, match="train"):
        make_settlement([receipt("train", 1, 1) | changes], lease=OWN, held_microcredits=50, policy=CHARGED)


def test_electricity_that_no_meter_could_tell_is_not_charged_and_machine_time_is() -> None:
    unknown = receipt("train", 20, 0)
    unknown["cost"] |= {"electricity_microcredits": None, "total_microcredits": None}

    settlement = make_settlement([unknown], lease=OWN, held_microcredits=50)

    assert settlement.charges[0].cost_microcredits == 20


def test_a_settlement_survives_json() -> None:
    settlement = make_settlement(RECEIPTS, lease=OWN, held_microcredits=30, policy=CHARGED)

    data = json.loads(json.dumps(settlement.to_json()))

    assert Settlement.from_json(data) == settlement
    assert data["unpaid_microcredits"] == 5


def test_credits_stand_to_money_at_the_declared_rate() -> None:
    assert CreditPolicy(money_per_credit=0.5).money(3_000_000) == 1.5
    with pytest.raises(ValueError, match="rate"):
        CreditPolicy(money_per_credit=0)

"""A ledger that pays other than the receipts say is found, whoever wrote it."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.double_entry import available
from ayni.market.ledger import Lease, Ledger
from ayni.market.policy import CreditPolicy
from ayni.market.settlement import Settlement, make_settlement, open_lease, settle
from ayni.market.settlement_check import check_settlement
from ayni.market.store import InMemoryLedgerStore

LEASE = Lease(lease_id="r1", run="r1", member="me", site="lab", site_member="lab")
Rows = list[dict[str, Any]]


def receipt(step: str, machine: int, electricity: int | None) -> dict[str, Any]:
    total = None if electricity is None else machine + electricity
    cost = {"machine_microcredits": machine, "electricity_microcredits": electricity}
    return {
        "step": step,
        "hash": f"hash-of-{step}",
        "cost": {**cost, "total_microcredits": total},
        "carbon": {"grams_co2e": 500.0},
    }


RECEIPTS = [receipt("plan", 1, 1), receipt("train", 20, 5), receipt("compress", 7, None)]


def settled(
    receipts: Rows, *, budget: int = 50, policy: CreditPolicy | None = None
) -> tuple[Settlement, Rows]:
    ledger = Ledger(InMemoryLedgerStore())
    ledger.grant_once("me", amount_microcredits=1000, policy="new-member")
    held = open_lease(ledger, LEASE, budget_microcredits=budget, needed_microcredits=0)
    settlement = make_settlement(receipts, lease=LEASE, held_microcredits=held, policy=policy)
    return settlement, settle(ledger, settlement)


@given(
    costs=st.lists(st.tuples(st.integers(0, 30), st.none() | st.integers(0, 30)), max_size=5),
    budget=st.integers(0, 100),
    carbon_charge=st.sampled_from([0, 10]),
)
def test_an_honest_settlement_has_no_problem(
    costs: list[tuple[int, int | None]], budget: int, carbon_charge: int
) -> None:
    receipts = [receipt(f"step{number}", *cost) for number, cost in enumerate(costs)]
    policy = CreditPolicy(carbon_charge_microcredits_per_kilogram=carbon_charge)

    settlement, rows = settled(receipts, budget=budget, policy=policy)

    assert check_settlement(receipts, settlement.to_json(), rows) == []


def test_a_draw_that_was_left_out_is_found() -> None:
    settlement, rows = settled(RECEIPTS)

    problems = check_settlement(
        RECEIPTS, settlement.to_json(), [row for row in rows if "train" not in row["id"]]
    )

    assert any("draw:r1:hash-of-train is missing" in problem for problem in problems)


def test_a_draw_for_a_receipt_that_is_not_charged_is_found() -> None:
    settlement, rows = settled([*RECEIPTS, receipt("report", 3, 3)])

    problems = check_settlement(RECEIPTS, settlement.to_json(), rows)

    assert any("draw:r1:hash-of-report took credits" in problem for problem in problems)
    assert any("does not follow from the receipts: report costs 6" in problem for problem in problems)


def change_amount(row: dict[str, Any], extra: int) -> None:
    row["postings"][0]["amount_microcredits"] -= extra
    row["postings"][1]["amount_microcredits"] += extra


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: change_amount(rows[2], 1),
        lambda rows: rows[2].update(kind="fee", id="fee:r1"),
        lambda rows: rows.append({**rows[2], "id": "draw:r1:hash-of-train:again"}),
        lambda rows: rows[2]["postings"][1].update(account=available("thief")),
        lambda rows: change_amount(rows[-2], -1),
        lambda rows: rows[0]["postings"][1].update(amount_microcredits=51),
    ],
    ids=["more drawn", "another name", "drawn twice", "another payee", "less given back", "more held"],
)
def test_other_movements_than_the_receipts_say_are_found(change: Callable[[Rows], None]) -> None:
    settlement, rows = settled(RECEIPTS)

    change(rows)

    assert check_settlement(RECEIPTS, settlement.to_json(), rows) != []


def test_a_cost_called_unpaid_while_the_escrow_had_enough_is_found() -> None:
    settlement, rows = settled(RECEIPTS)
    kept = settlement.to_json()
    kept["charges"][1]["paid_to_site_microcredits"] = 0

    problems = check_settlement(RECEIPTS, kept, [row for row in rows if "train" not in row["id"]])

    assert any("train costs 25 and pays 0" in problem for problem in problems)

"""The check that a run's ledger pays what its receipts say, from the run's files alone.

The settlement is computed again from the receipts and what was held; the one that was kept and the credits
that left the escrow must be the same. So each charged receipt is drawn for exactly once, with its whole cost
or, where the escrow was too small, with all that was left; nothing is drawn for anything else.

Not covered: what the members' accounts held before and after, which only the whole book knows.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ayni.market import double_entry
from ayni.market.settlement import Charge, Settlement, make_settlement

Amounts = dict[str, int]


def check_settlement(
    receipts: Sequence[Mapping[str, Any]],
    settlement: Mapping[str, Any],
    transactions: Sequence[Mapping[str, Any]],
) -> list[str]:
    """What is wrong with a settlement; an empty list = nothing.

    Args:
        receipts: those that are charged, in the order of their chain.
        settlement: what `Settlement.to_json` wrote.
        transactions: those of the run, which `double_entry.check_transactions` found to be in order.

    Raises:
        ValueError, KeyError, TypeError, AyniError: settlement or receipts lack their form.
    """
    kept = Settlement.from_json(settlement)
    again = make_settlement(
        receipts, lease=kept.lease, held_microcredits=kept.held_microcredits, policy=kept.policy
    )
    return [
        *_problems_of_charges(kept, again),
        *_problems_of_hold(again, transactions),
        *_problems_of_movements(again, transactions),
    ]


def _problems_of_charges(kept: Settlement, again: Settlement) -> list[str]:
    if kept.charges == again.charges:
        return []
    wrong = [_words(charge) for charge in kept.charges if charge not in again.charges]
    wrong += [f"not {_words(charge)}" for charge in again.charges if charge not in kept.charges]
    return [f"the settlement does not follow from the receipts: {', '.join(wrong) or 'another order'}"]


def _words(charge: Charge) -> str:
    paid = charge.paid_to_site_microcredits + charge.paid_to_climate_microcredits
    return f"{charge.step} costs {charge.cost_microcredits} and pays {paid} micro-credits"


def _problems_of_hold(settlement: Settlement, transactions: Sequence[Mapping[str, Any]]) -> list[str]:
    escrow = _escrow(settlement)
    held = sum(amount for row in transactions if (amount := _amounts(row).get(escrow, 0)) > 0)
    if held == settlement.held_microcredits:
        return []
    return [f"{held} micro-credits were held, the settlement says {settlement.held_microcredits}"]


def _problems_of_movements(settlement: Settlement, transactions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Compares everything that left the escrow, or that is called a draw, with what had to."""
    escrow, expected = _escrow(settlement), _expected_movements(settlement)
    problems = []
    for row in transactions:
        if row["kind"] == "draw" or _amounts(row).get(escrow, 0) < 0:
            wanted = expected.pop(row["id"], None)
            if wanted is None:
                problems.append(f"{row['id']} took credits for which there is no charged receipt")
            elif wanted != _amounts(row):
                problems.append(f"{row['id']} moved {_amounts(row)}, the receipts say {wanted}")
    problems += [f"{id} is missing: it had to move {wanted}" for id, wanted in expected.items()]
    return problems


def _expected_movements(settlement: Settlement) -> dict[str, Amounts]:
    """Each transaction that takes credits out of the escrow, by its id."""
    lease, escrow = settlement.lease, _escrow(settlement)
    movements: dict[str, Amounts] = {}
    for charge in settlement.charges:
        site, climate = charge.paid_to_site_microcredits, charge.paid_to_climate_microcredits
        movements[f"draw:{lease.lease_id}:{charge.receipt_hash}"] = {
            escrow: -site - climate,
            double_entry.earned(lease.site, lease.lease_id): site,
            double_entry.CLIMATE_FUND: climate,
        }
    refund = settlement.refund_microcredits
    movements[f"release:{lease.lease_id}"] = {escrow: -refund, double_entry.available(lease.member): refund}
    without_zeros = {
        id: {account: amount for account, amount in amounts.items() if amount}
        for id, amounts in movements.items()
    }
    return {id: amounts for id, amounts in without_zeros.items() if amounts}


def _escrow(settlement: Settlement) -> str:
    return double_entry.escrow(settlement.lease.member, settlement.lease.lease_id)


def _amounts(row: Mapping[str, Any]) -> Amounts:
    amounts: defaultdict[str, int] = defaultdict(int)
    for posting in row["postings"]:
        amounts[posting["account"]] += posting["amount_microcredits"]
    return dict(amounts)

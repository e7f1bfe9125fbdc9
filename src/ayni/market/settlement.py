"""Settlement: from the receipts of a run to movements of credits.

A site gets what its receipts say (its ask for machine time, its tariff for electricity), never more
than was held in escrow; the rest of the escrow goes back. A job on its owner's own machines is
settled in the same way: the owner pays its own site, whose earnings it may spend, so that in the end
the job cost it machine time and power and no credits.

Credits stand to money at a declared rate, and a new member gets a declared grant. There is no carbon
charge unless a pool declares one: it is too weak to steer by itself, limits in grams do that.

Not covered: disputes, and work that must be verified before it is paid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from ayni.errors import AyniError
from ayni.market import double_entry
from ayni.market.ledger import InsufficientCreditsError, Lease, Ledger
from ayni.market.policy import CreditPolicy

GRAMS_PER_KILOGRAM = 1000.0


class ReceiptCostError(AyniError):
    """A receipt does not say what its step cost, or contradicts itself."""

    def __init__(self, *, step: str, reason: str) -> None:
        self.step = step
        super().__init__(
            f"The receipt of the step {step!r} cannot be settled: {reason}. Nothing was drawn for it. "
            "Check the run with `ayni verify RUN`."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What one receipt costs, and what of it the escrow could pay."""

    step: str
    receipt_hash: str
    cost_microcredits: int
    climate_microcredits: int
    paid_to_site_microcredits: int
    paid_to_climate_microcredits: int

    @property
    def unpaid_microcredits(self) -> int:
        """What the escrow was too small for."""
        paid = self.paid_to_site_microcredits + self.paid_to_climate_microcredits
        return self.cost_microcredits + self.climate_microcredits - paid


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What is drawn from a lease's escrow for each receipt; the rest of what was held is given back."""

    lease: Lease
    policy: CreditPolicy
    held_microcredits: int
    charges: tuple[Charge, ...]

    @property
    def paid_microcredits(self) -> int:
        """Drawn from the escrow in all."""
        return sum(
            charge.paid_to_site_microcredits + charge.paid_to_climate_microcredits for charge in self.charges
        )

    @property
    def unpaid_microcredits(self) -> int:
        """Cost beyond the escrow: the site bears it, for it let the work go on."""
        return sum(charge.unpaid_microcredits for charge in self.charges)

    @property
    def refund_microcredits(self) -> int:
        """Held and not needed."""
        return self.held_microcredits - self.paid_microcredits

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the totals, for readers."""
        return {
            "lease": asdict(self.lease),
            "policy": self.policy.to_json(),
            "held_microcredits": self.held_microcredits,
            "paid_microcredits": self.paid_microcredits,
            "unpaid_microcredits": self.unpaid_microcredits,
            "refund_microcredits": self.refund_microcredits,
            "charges": [asdict(charge) for charge in self.charges],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The settlement that `to_json` wrote; totals are computed anew."""
        return cls(
            lease=Lease(**data["lease"]),
            policy=CreditPolicy(**data["policy"]),
            held_microcredits=data["held_microcredits"],
            charges=tuple(Charge(**charge) for charge in data["charges"]),
        )


def make_settlement(
    receipts: Sequence[Mapping[str, Any]],
    *,
    lease: Lease,
    held_microcredits: int,
    policy: CreditPolicy | None = None,
) -> Settlement:
    """What the escrow pays for each receipt, in their order, as long as it lasts.

    Of a receipt that the rest of the escrow cannot pay in full, the site is paid before the climate fund.

    Raises:
        ReceiptCostError: a receipt has no cost, or one whose parts do not add up.
    """
    policy = policy or CreditPolicy()
    charges, left = [], held_microcredits
    for receipt in receipts:
        charge = _charge(receipt, policy=policy, left_microcredits=left)
        charges.append(charge)
        left -= charge.paid_to_site_microcredits + charge.paid_to_climate_microcredits
    return Settlement(lease=lease, policy=policy, held_microcredits=held_microcredits, charges=tuple(charges))


def open_lease(ledger: Ledger, lease: Lease, *, budget_microcredits: int, needed_microcredits: int) -> int:
    """Hold the budget, or all the member has if that is less, and return the amount held.

    A lease that was opened before keeps its escrow; where the budget was raised since, more is held, as far
    as the balance goes.

    Raises:
        InsufficientCreditsError: the member has less than `needed_microcredits`, what the plan expects.
    """
    held = ledger.held(lease)
    balance = ledger.balance(double_entry.available(lease.member))
    if held is not None:
        extra = min(max(0, budget_microcredits - held), balance)
        if extra > 0:
            ledger.hold_more(lease, held_microcredits=held, amount_microcredits=extra)
        return held + extra
    if balance < needed_microcredits:
        raise InsufficientCreditsError(
            member=lease.member, needed_microcredits=needed_microcredits, balance_microcredits=balance
        )
    amount = min(max(budget_microcredits, needed_microcredits), balance)
    if amount > 0:  # a free job needs no escrow
        ledger.hold(lease, amount_microcredits=amount)
    return amount


def settle(ledger: Ledger, settlement: Settlement) -> list[dict[str, Any]]:
    """Book a settlement: draw for each receipt, give back the rest, pay out; return the run's transactions.

    May be called again after a crash at any moment: what is booked already is not booked twice.
    """
    lease = settlement.lease
    for charge in settlement.charges:
        if charge.paid_to_site_microcredits or charge.paid_to_climate_microcredits:
            ledger.draw(
                lease,
                receipt_hash=charge.receipt_hash,
                amount_microcredits=charge.paid_to_site_microcredits,
                climate_microcredits=charge.paid_to_climate_microcredits,
                memo=f"{charge.step}, receipt {charge.receipt_hash[:12]}",
            )
    ledger.release(lease)
    ledger.pay_out(lease)
    return ledger.transactions(lease.run)


def _charge(receipt: Mapping[str, Any], *, policy: CreditPolicy, left_microcredits: int) -> Charge:
    step = str(receipt.get("step"))
    cost = _cost_of(receipt, step=step)
    grams = _grams_of(receipt, step=step) if policy.carbon_charge_microcredits_per_kilogram else 0.0
    climate = round(grams / GRAMS_PER_KILOGRAM * policy.carbon_charge_microcredits_per_kilogram)
    paid_to_site = min(cost, left_microcredits)
    return Charge(
        step=step,
        receipt_hash=str(receipt["hash"]),
        cost_microcredits=cost,
        climate_microcredits=climate,
        paid_to_site_microcredits=paid_to_site,
        paid_to_climate_microcredits=min(climate, left_microcredits - paid_to_site),
    )


def _cost_of(receipt: Mapping[str, Any], *, step: str) -> int:
    cost = receipt.get("cost")
    if not isinstance(cost, Mapping) or not isinstance(receipt.get("hash"), str):
        raise ReceiptCostError(step=step, reason="it has no cost or no hash")
    names = ("machine_microcredits", "electricity_microcredits", "total_microcredits")
    parts = [cost.get(name) for name in names]
    if parts[0] is not None and parts[1:] == [None, None]:
        # Energy that no meter could tell (a GPU without a counter) is not charged; the receipt shows it as
        # unknown. Refusing to settle would punish the owner for a missing sensor.
        parts[1:] = [0, parts[0]]
    whole = [part for part in parts if type(part) is int]
    if len(whole) < len(parts) or whole[0] < 0:
        raise ReceiptCostError(step=step, reason=f"its cost {dict(cost)} is not in whole micro-credits")
    machine, electricity, total = whole
    if machine + electricity != total:
        raise ReceiptCostError(step=step, reason=f"{machine} and {electricity} do not make {total}")
    # Hours of negative prices make machine time cheaper; below zero, what is left stays with the site.
    return max(0, total)


def _grams_of(receipt: Mapping[str, Any], *, step: str) -> float:
    carbon = receipt.get("carbon")
    grams = carbon.get("grams_co2e") if isinstance(carbon, Mapping) else None
    if not isinstance(grams, int | float) or not 0 <= grams < float("inf"):
        raise ReceiptCostError(step=step, reason=f"its carbon {grams!r} is not known, and carbon is charged")
    return float(grams)

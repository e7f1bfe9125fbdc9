"""Debit notes: what each metered tick of a lease costs, and what of it the escrow can pay.

A buyer pays the critical value for the whole lease, the seller gets its ask, the climate fund the carbon
charge, and the rest goes to the fund for checks and to the surplus. A tick costs its share of each:

    part(u) = floor(part * u / reserved),  of a tick: part(u after) - part(u before)

in whole micro-credits, so that the ticks of a lease add up exactly, whatever their lengths. Work beyond
what was reserved goes on at the same rate until the escrow is empty.

An escrow that cannot pay a tick in full pays what is left: the seller first, then climate, checks,
surplus. The answer says so, and whoever runs the lease closes it (the close cascade of `lease_book`).

Not covered: what a unit of work is. One reserved second of one machine will do.

Source: the debit notes of Golem and the rate-based escrow of Akash, as described in their documents.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from ayni.errors import AyniError
from ayni.market import double_entry, movements
from ayni.market.double_entry import Posting
from ayni.market.movements import Lease, Movement, Row, View


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasePrice:
    """What a whole lease costs, in micro-credits, and for how much work.

    Attributes:
        reserved_unit_seconds: the work that the price is for.
        seller_microcredits: the seller's ask for it.
        climate_microcredits: the carbon charge on it.
        payment_microcredits: what the buyer pays, at least both together.
    """

    reserved_unit_seconds: int
    seller_microcredits: int
    climate_microcredits: int
    payment_microcredits: int

    def __post_init__(self) -> None:
        if self.reserved_unit_seconds < 1:
            raise ValueError(f"a lease of {self.reserved_unit_seconds} unit-seconds")
        if min(self.seller_microcredits, self.climate_microcredits) < 0:
            raise ValueError("an ask and a carbon charge cannot be negative")
        if self.payment_microcredits < self.seller_microcredits + self.climate_microcredits:
            raise ValueError(
                f"a payment of {self.payment_microcredits} micro-credits is below the ask of "
                f"{self.seller_microcredits} and the carbon charge of {self.climate_microcredits}"
            )

    def parts_until(self, unit_seconds: int, *, verification_share: float) -> tuple[int, ...]:
        """What seller, climate, checks and surplus have cost after so much work."""
        rest = self.payment_microcredits - self.seller_microcredits - self.climate_microcredits
        verification = int(rest * verification_share)
        totals = (self.seller_microcredits, self.climate_microcredits, verification, rest - verification)
        # Each part by itself: the difference of rounded parts could be below zero for a short tick.
        return tuple(total * unit_seconds // self.reserved_unit_seconds for total in totals)


@dataclass(frozen=True, slots=True, kw_only=True)
class DebitNote:
    """One metered tick of a lease: what it costs, by who gets it.

    number counts the ticks of the lease from 1; with the lease it is the idempotency key.
    """

    lease: Lease
    number: int
    unit_seconds: int
    seller_microcredits: int
    climate_microcredits: int
    verification_microcredits: int
    surplus_microcredits: int

    @classmethod
    def of_tick(
        cls,
        lease: Lease,
        price: LeasePrice,
        *,
        number: int,
        unit_seconds_before: int,
        unit_seconds: int,
        verification_share: float,
    ) -> Self:
        """The note for `unit_seconds` of work after those before."""
        if unit_seconds < 0 or unit_seconds_before < 0 or number < 1:
            raise ValueError(f"tick {number} of {unit_seconds} after {unit_seconds_before} unit-seconds")
        before = price.parts_until(unit_seconds_before, verification_share=verification_share)
        after = price.parts_until(unit_seconds_before + unit_seconds, verification_share=verification_share)
        seller, climate, verification, surplus = (now - then for now, then in zip(after, before, strict=True))
        return cls(
            lease=lease,
            number=number,
            unit_seconds=unit_seconds,
            seller_microcredits=seller,
            climate_microcredits=climate,
            verification_microcredits=verification,
            surplus_microcredits=surplus,
        )

    @property
    def cost_microcredits(self) -> int:
        """All parts together."""
        return sum(self._parts().values())

    def movement(self) -> Movement:
        """The draw that books the note; what of it the escrow pays is decided when it is booked."""
        lease, escrow = self.lease, movements.escrow_of(self.lease)

        def decided(view: View) -> tuple[Posting, ...]:
            left, paid = view.balance(escrow), {}
            for account, wanted in self._parts().items():
                paid[account] = min(wanted, left)
                left -= paid[account]
            return movements.postings_of({escrow: -sum(paid.values()), **paid})

        return Movement(
            id=tick_id(lease, self.number),
            kind="tick",
            run=lease.run,
            memo=f"tick {self.number}: {self.unit_seconds} unit-seconds cost {list(self._parts().values())}",
            decided=decided,
            is_named_by_memo=True,
            accounts=(escrow, *self._parts()),
            looks_up=(movements.release_id(lease),),
            check=lambda view: movements.refuse_closed(lease, view),
        )

    def _parts(self) -> dict[str, int]:
        return {
            double_entry.earned(self.lease.site, self.lease.lease_id): self.seller_microcredits,
            double_entry.CLIMATE_FUND: self.climate_microcredits,
            double_entry.VERIFICATION_FUND: self.verification_microcredits,
            double_entry.SURPLUS: self.surplus_microcredits,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What became of a debit note. A note that was not paid in full says that the escrow is exhausted."""

    paid_microcredits: int
    unpaid_microcredits: int

    @property
    def is_exhausted(self) -> bool:
        """Whether the escrow could not pay all of the note."""
        return self.unpaid_microcredits > 0


def drawn(note: DebitNote, booked: Row | AyniError | None) -> Drawn:
    """What became of a note, from the ledger's answer to its movement.

    Raises:
        AyniError: the answer is an error, such as ClosedLeaseError.
    """
    if isinstance(booked, AyniError):
        raise booked
    paid = 0 if booked is None else -_amount_of(booked, movements.escrow_of(note.lease))
    return Drawn(paid_microcredits=paid, unpaid_microcredits=note.cost_microcredits - paid)


def tick_id(lease: Lease, number: int) -> str:
    """The idempotency key of a tick."""
    return f"tick:{lease.lease_id}:{number}"


def _amount_of(row: Mapping[str, Any], account: str) -> int:
    return sum(posting["amount_microcredits"] for posting in row["postings"] if posting["account"] == account)

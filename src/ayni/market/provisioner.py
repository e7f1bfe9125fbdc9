"""The port through which machines of a cloud are rented, and its twin in memory.

Renting spends money outside of the pool, so whatever fulfils the port keeps four promises:

    idempotent   an order has a token; ordered again after a crash it is the same machines, not more
    bounded      an order has an end and a spending cap, and the machines are gone at whichever comes first,
                 also if nobody asks any more
    metered      what was spent is read from the provider, also of machines that are gone
    forgetful    no key is kept in a value or shown in a message

Not covered: a provider that really rents machines. Nothing in Ayni does so yet; the twin stands in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from ayni.errors import AyniError, UserError
from ayni.market.offers import Offer
from ayni.units import microcredits_to_credits

State = Literal["starting", "running", "gone"]
SECONDS_PER_HOUR = 3600


class UnknownOrderError(AyniError):
    """Machines are asked for that were never ordered here."""

    def __init__(self, token: str) -> None:
        self.token = token
        super().__init__(f"Nothing was ordered under {token!r} here. List the orders of the lease book.")


class ReusedTokenError(AyniError):
    """An order came under the token of a different one."""

    def __init__(self, token: str) -> None:
        self.token = token
        super().__init__(
            f"The token {token!r} stands for another order. Nothing was rented. Give each order a new token."
        )


class CloudCapacityError(AyniError):
    """The provider has not so many machines now."""

    def __init__(self, *, offer: str, wanted: int, available: int) -> None:
        self.offer = offer
        self.wanted = wanted
        self.available = available
        super().__init__(
            f"{wanted} machines of {offer!r} are wanted and {available} are to be had now. Nothing was "
            "rented. Clear the job again: other places are looked at then."
        )


class SpendingCapError(UserError):
    """An order would cost more than it may."""

    def __init__(self, *, offer: str, cost_microcredits: int, cap_microcredits: int) -> None:
        self.offer = offer
        self.cost_microcredits = cost_microcredits
        self.cap_microcredits = cap_microcredits
        super().__init__(
            f"The order of {offer!r} would cost {microcredits_to_credits(cost_microcredits):g} credits and "
            f"may cost {microcredits_to_credits(cap_microcredits):g}. Nothing was rented. Shorten it, or "
            "hold more in escrow."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Machines of an offer for a time. The token is the idempotency key, by custom the id of the lease.

    The spending cap is what is held in escrow for the lease.
    """

    token: str
    offer: str
    num_machines: int
    max_seconds: int
    cap_microcredits: int

    def __post_init__(self) -> None:
        if not self.token or self.num_machines < 1 or self.max_seconds < 1 or self.cap_microcredits < 0:
            raise ValueError(f"an order of nothing, for no time or below zero: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What an order would cost at most, in whole micro-credits, and until when the price holds."""

    order: Order
    cost_microcredits: int
    holds_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Rented:
    """Machines of an order as they are now. ends_at is when they are gone by themselves, at the latest."""

    order: Order
    state: State
    created_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What an order has used so far: machine-seconds and micro-credits, both never falling."""

    machine_seconds: int
    spent_microcredits: int


class Provisioner(Protocol):
    """Rents machines of a cloud."""

    def list_offers(self) -> Sequence[Offer]:
        """What can be rented now, with the ask of now."""
        ...

    def quote(self, order: Order) -> Quote:
        """What an order would cost at most; nothing is rented."""
        ...

    def create(self, order: Order) -> Rented:
        """Rent the machines, or find those that this order rented before."""
        ...

    def status(self, token: str) -> Rented:
        """How the machines of an order are."""
        ...

    def destroy(self, token: str) -> Rented:
        """Give the machines back; to do it again changes nothing."""
        ...

    def meter(self, token: str) -> Metered:
        """What an order has used and cost so far."""
        ...


@dataclass(slots=True)
class _Record:
    order: Order
    ask_microcredits: int
    created_at: datetime
    gone_at: datetime


class InMemoryProvisioner:
    """Machines that exist on paper: for tests, dry runs and laptops. Fulfils `Provisioner`.

    start_seconds is how long machines take to start; it is billed, as clouds do.
    """

    def __init__(
        self,
        offers: Sequence[Offer],
        *,
        now: Callable[[], datetime],
        start_seconds: int = 60,
        quote_seconds: int = 300,
    ) -> None:
        self._offers = {offer.id: offer for offer in offers}
        self._now = now
        self._start = timedelta(seconds=start_seconds)
        self._quote = timedelta(seconds=quote_seconds)
        self._records: dict[str, _Record] = {}

    def list_offers(self) -> Sequence[Offer]:
        """Offers of which at least one machine is free now."""
        return tuple(offer for offer in self._offers.values() if self._num_free(offer) > 0)

    def quote(self, order: Order) -> Quote:
        """The ask times the whole time that was ordered.

        Raises:
            CloudCapacityError: there are not so many machines.
        """
        offer = self._offer(order)
        cost = _cost(offer.ask_microcredits_per_machine_hour, order.num_machines * order.max_seconds)
        return Quote(order=order, cost_microcredits=cost, holds_until=self._now() + self._quote)

    def create(self, order: Order) -> Rented:
        """Rent the machines, or find those that this order rented before, even if they are gone.

        Raises:
            CloudCapacityError: there are not so many machines.
            SpendingCapError: the order costs more than its cap.
            ReusedTokenError: the token belongs to another order.
        """
        if (record := self._records.get(order.token)) is not None:
            if record.order != order:
                raise ReusedTokenError(order.token)
            return self.status(order.token)
        cost = self.quote(order).cost_microcredits
        if cost > order.cap_microcredits:
            raise SpendingCapError(
                offer=order.offer, cost_microcredits=cost, cap_microcredits=order.cap_microcredits
            )
        now = self._now()
        self._records[order.token] = _Record(
            order=order,
            ask_microcredits=self._offers[order.offer].ask_microcredits_per_machine_hour,
            created_at=now,
            gone_at=now + timedelta(seconds=order.max_seconds),
        )
        return self.status(order.token)

    def status(self, token: str) -> Rented:
        """How the machines are at the moment of the clock.

        Raises:
            UnknownOrderError: nothing was ordered under this token.
        """
        record, now = self._record(token), self._now()
        state: State = "running" if now >= record.created_at + self._start else "starting"
        return Rented(
            order=record.order,
            state="gone" if now >= record.gone_at else state,
            created_at=record.created_at,
            ends_at=record.gone_at,
        )

    def destroy(self, token: str) -> Rented:
        """Give the machines back now.

        Raises:
            UnknownOrderError: nothing was ordered under this token.
        """
        record = self._record(token)
        record.gone_at = min(record.gone_at, self._now())
        return self.status(token)

    def meter(self, token: str) -> Metered:
        """Seconds from the order to now or to the end, at the ask of the order.

        Raises:
            UnknownOrderError: nothing was ordered under this token.
        """
        record = self._record(token)
        seconds = (min(self._now(), record.gone_at) - record.created_at).total_seconds()
        machine_seconds = record.order.num_machines * int(seconds)
        return Metered(
            machine_seconds=machine_seconds,
            spent_microcredits=_cost(record.ask_microcredits, machine_seconds),
        )

    def _record(self, token: str) -> _Record:
        if token not in self._records:
            raise UnknownOrderError(token)
        return self._records[token]

    def _offer(self, order: Order) -> Offer:
        offer = self._offers.get(order.offer)
        available = 0 if offer is None else self._num_free(offer)
        if offer is None or available < order.num_machines:
            raise CloudCapacityError(offer=order.offer, wanted=order.num_machines, available=available)
        return offer

    def _num_free(self, offer: Offer) -> int:
        now = self._now()
        if not any(start <= now < end for start, end in offer.windows):
            return 0
        rented = [record for record in self._records.values() if record.order.offer == offer.id]
        return offer.count - sum(record.order.num_machines for record in rented if now < record.gone_at)


def _cost(ask_microcredits_per_hour: int, machine_seconds: int) -> int:
    """Rounded up: whoever rents for less than a micro-credit pays one."""
    return -(-ask_microcredits_per_hour * machine_seconds // SECONDS_PER_HOUR)

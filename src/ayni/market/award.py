"""What a cleared round awards, as leases: terms to be held, and machines that are taken from now on.

| of the lease | from the round |
|---|---|
| the buyer's price | the payment; on own machines ask and carbon charge, nobody else has a part in it |
| to the seller | its ask for the planned hours; drawn as they are metered |
| to the climate fund | the carbon charge |
| windows | the pieces of the option, by whole slots |
| escrow | the price, and what work until the windows' end would cost, at most what the bid can pay |
| rate of checks | by the site's reputation; higher where a seller has little to stake; 0 on own machines |
| bond | so that cheating does not pay at that rate; a cloud has no account to stake from |

A round never spreads a gang over sites, so a job has one lease; its machines may belong to several offers of
the site, and to others later when windows follow each other.

Not covered: booking (`lease_runner`), and what follows when the work takes longer than was said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Self

from ayni.market import double_entry
from ayni.market.bids import Bid
from ayni.market.carbon_saving import StartAtOnce, start_at_once
from ayni.market.guarantees import stake
from ayni.market.horizon import SECONDS_PER_HOUR, Horizon
from ayni.market.lease_events import LeaseTerms, terms_from_json, terms_to_json
from ayni.market.metering import LeasePrice
from ayni.market.movements import Lease
from ayni.market.offers import CLOUD_SOURCE, Offer
from ayni.market.option_times import times_of
from ayni.market.options import Option
from ayni.market.policy import LeasePolicy
from ayni.market.reputation import Reputation
from ayni.market.rounds import Allocation, Clearing, MarketRound, RunningLease


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Machines of one offer that a lease holds in [start, end)."""

    offer: str
    machines: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """What a bid got in a round: the lease, its machines, and what its work was expected to emit.

    placed_at is when the round began. kilowatts is the power of all its machines with PUE. grams None = the
    zone is unknown. at_once is where the job would have begun without the round's choice, None where nothing
    offered could do it.
    """

    terms: LeaseTerms
    placed_at: datetime
    site: str
    machine_class: str
    machines: int
    reserved: tuple[Reservation, ...]
    work_reference_hours: float
    zone: str | None
    kilowatts: float
    grams: float | None
    at_once: StartAtOnce | None

    @property
    def lease_id(self) -> str:
        """The id of its lease."""
        return self.terms.lease.lease_id

    @property
    def job(self) -> str:
        """The bid that it is for."""
        return self.terms.lease.run

    @property
    def is_lent(self) -> bool:
        """Whether one member works on machines of another: neither its own nor a cloud's."""
        lease = self.terms.lease
        return lease.member != lease.site_member and not lease.site_member.startswith(CLOUD_SOURCE)

    def running(self, *, until: datetime | None = None) -> list[RunningLease]:
        """Its machines as a round sees them; `until` cuts them off."""
        return [
            RunningLease(
                id=self.lease_id,
                offer=each.offer,
                member=self.terms.lease.member,
                machines=each.machines,
                start=each.start,
                end=each.end if until is None else min(each.end, until),
            )
            for each in self.reserved
            if until is None or each.start < until
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            **values,
            "terms": terms_to_json(self.terms),
            "placed_at": self.placed_at.isoformat(),
            "reserved": [
                {**asdict(each), "start": each.start.isoformat(), "end": each.end.isoformat()}
                for each in self.reserved
            ],
            "at_once": None if self.at_once is None else self.at_once.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The award that `to_json` wrote."""
        times = ("start", "end")
        return cls(
            **{
                **data,
                "terms": terms_from_json(data["terms"]),
                "placed_at": datetime.fromisoformat(data["placed_at"]),
                "reserved": tuple(
                    Reservation(**{**each, **{name: datetime.fromisoformat(each[name]) for name in times}})
                    for each in data["reserved"]
                ),
                "at_once": None if data["at_once"] is None else StartAtOnce.from_json(data["at_once"]),
            }
        )


def award_round(
    market: MarketRound,
    result: Clearing,
    *,
    lease_ids: Mapping[str, str],
    reputations: Mapping[str, Reputation],
    balances_microcredits: Mapping[str, int],
    policy: LeasePolicy,
) -> tuple[Award, ...]:
    """The awards of a cleared round, in the order of its allocations.

    Args:
        market: the round.
        result: what it decided.
        lease_ids: the id of the lease to come, by bid.
        reputations: by site; one that is missing is unknown, so all of its work is checked.
        balances_microcredits: what members can spend, for bonds; nothing where not given.
        policy: how often work is checked.

    Raises:
        AccountNameError: a member, site or lease has a name that no account can carry.
    """
    bids, offers = {bid.id: bid for bid in market.bids}, {offer.id: offer for offer in market.offers}
    free = _FreeMachines(market)
    awards = []
    for each in result.allocations:
        bid, offer = bids[each.bid], offers[each.option.offer]
        terms = _terms(each, bid, offer, result.horizon, lease_id=lease_ids[bid.id])
        _check_names(terms)
        row = [offers[id] for id in result.rows[each.option.row].offers]
        awards.append(
            Award(
                terms=terms,
                placed_at=market.horizon.start,
                site=offer.site,
                machine_class=offer.machine_class.name,
                machines=each.option.machines,
                reserved=free.reserve(each.option, row),
                work_reference_hours=bid.work_reference_hours,
                zone=offer.zone,
                kilowatts=each.option.machines * offer.machine_class.watts * offer.pue / 1000,
                grams=each.option.grams,
                at_once=start_at_once(bid, market.offers, horizon=market.horizon, carbon=market.carbon),
            )
        )
    return _with_stakes(awards, reputations, balances_microcredits, policy)


def seller_of(offer: Offer) -> str:
    """Who is paid: the member, or `cloud:PROVIDER`, which is paid in money."""
    return offer.source if offer.is_cloud else offer.member


def _terms(allocation: Allocation, bid: Bid, offer: Offer, horizon: Horizon, *, lease_id: str) -> LeaseTerms:
    option, seller = allocation.option, seller_of(offer)
    windows = tuple(_times(option, piece, horizon) for piece in option.pieces)
    is_own = seller == bid.member
    units = max(1, round(option.machines * option.hours * SECONDS_PER_HOUR))
    price = LeasePrice(
        reserved_unit_seconds=units,
        seller_microcredits=option.ask_microcredits,
        climate_microcredits=option.carbon_microcredits,
        payment_microcredits=option.ask_microcredits + option.carbon_microcredits
        if is_own
        else allocation.payment_microcredits,
    )
    return LeaseTerms(
        lease=Lease(lease_id=lease_id, run=bid.id, member=bid.member, site=offer.site, site_member=seller),
        price=price,
        windows=windows,
        escrow_microcredits=_escrow(price, windows, machines=option.machines, bid=bid),
        can_suspend=bid.can_suspend,
        check_rate=0.0 if is_own else 1.0,
    )


def _escrow(
    price: LeasePrice, windows: Sequence[tuple[datetime, datetime]], *, machines: int, bid: Bid
) -> int:
    """What work until the windows' end costs, so that an estimate may be short; at most what the bid pays."""
    units = machines * sum((end - start).total_seconds() for start, end in windows)
    until_end = ceil(price.payment_microcredits * units / price.reserved_unit_seconds)
    return max(price.payment_microcredits, min(until_end, bid.limit_microcredits))


def _times(option: Option, piece: tuple[int, int], horizon: Horizon) -> tuple[datetime, datetime]:
    """A piece on the clock. In the tail, which is one slot, it ends with the work."""
    start, end = piece
    if end <= horizon.num_slots:
        return horizon.moment(start), horizon.moment(end)
    slots = ceil(horizon.seconds_at(times_of(option, horizon)[1]) / horizon.slot_seconds - 1e-9)
    return horizon.moment(start), horizon.moment(max(slots, start + 1))


def _check_names(terms: LeaseTerms) -> None:
    """Before anything is stored: a lease that cannot be booked would be in the book for ever."""
    lease = terms.lease
    double_entry.escrow(lease.member, lease.lease_id)
    double_entry.earned(lease.site, lease.lease_id)
    double_entry.seller(lease.site_member)


def _with_stakes(
    awards: Sequence[Award],
    reputations: Mapping[str, Reputation],
    balances_microcredits: Mapping[str, int],
    policy: LeasePolicy,
) -> tuple[Award, ...]:
    """The awards with rates of checks and bonds. What a seller needs for its own jobs it cannot stake."""
    left = dict(balances_microcredits)
    for award in awards:
        member = award.terms.lease.member
        left[member] = left.get(member, 0) - award.terms.escrow_microcredits
    staked = []
    for award in awards:
        seller, terms = award.terms.lease.site_member, award.terms
        rate, bond = reputations.get(award.site, Reputation()).check_rate(policy), 0
        if terms.lease.member == seller:
            rate = 0.0
        elif award.is_lent:
            gain, affordable = terms.price.seller_microcredits, max(0, left.get(seller, 0))
            rate, bond = stake(gain, wanted_rate=rate, affordable_microcredits=affordable)
            left[seller] = left.get(seller, 0) - bond
        staked.append(replace(award, terms=replace(terms, check_rate=rate, bond_microcredits=bond)))
    return tuple(staked)


class _FreeMachines:
    """Free machines of each offer by slot, from which a row's awards are shared out to its offers."""

    def __init__(self, market: MarketRound) -> None:
        self._horizon = market.horizon
        self._free = {offer.id: _capacity(offer, market.horizon) for offer in market.offers}
        for lease in market.leases:
            if (free := self._free.get(lease.offer)) is None:
                continue
            first = int(max(0, self._horizon.seconds_at(lease.start) // self._horizon.slot_seconds))
            for slot in range(first, min(self._horizon.first_slot_at(lease.end), len(free))):
                free[slot] -= lease.machines

    def reserve(self, option: Option, row: Sequence[Offer]) -> tuple[Reservation, ...]:
        """Take an option's machines from the offers of its row, and stay on them as long as they are free."""
        found: list[Reservation] = []
        for piece in option.pieces:
            open_: dict[str, Reservation] = {}
            end = _times(option, piece, self._horizon)[1]
            for slot in range(*piece):
                taken = self._take(option.machines, slot, row, before=open_)
                until = self._horizon.moment(slot + 1) if slot < self._horizon.num_slots else end
                begin = self._horizon.moment(slot)
                for id, held in list(open_.items()):
                    if taken.get(id) == held.machines:
                        open_[id] = replace(held, end=until)
                        del taken[id]
                    else:
                        found.append(open_.pop(id))
                open_ |= {
                    id: Reservation(offer=id, machines=count, start=begin, end=until)
                    for id, count in taken.items()
                }
            found += open_.values()
        return tuple(found)

    def _take(
        self, machines: int, slot: int, row: Sequence[Offer], *, before: Mapping[str, Reservation]
    ) -> dict[str, int]:
        """So many machines in a slot, by offer: those of the slot before as far as they are free."""
        taken: dict[str, int] = {}
        stay = {id: each.machines for id, each in before.items()}
        for at_most in (stay, dict.fromkeys((offer.id for offer in row), machines)):
            for id, wanted in at_most.items():
                count = min(machines, wanted, max(0, self._free[id][slot]))
                if count:
                    self._free[id][slot] -= count
                    taken[id] = taken.get(id, 0) + count
                    machines -= count
        if machines:
            raise AssertionError(f"{machines} machines were promised beyond what {row[0].site} has free")
        return taken


def _capacity(offer: Offer, horizon: Horizon) -> list[int]:
    """Machines in each slot that a window covers whole; the tail counts where one covers all of it."""
    free = [0] * (horizon.num_slots + 1)
    for start, end in offer.windows:
        last = int(min(max(0, horizon.seconds_at(end) // horizon.slot_seconds), horizon.num_slots))
        for slot in range(horizon.first_slot_at(start), last):
            free[slot] += offer.count
        stays = start <= horizon.end and end >= horizon.end + timedelta(seconds=horizon.tail_seconds)
        if horizon.tail_seconds and stays:
            free[-1] += offer.count
    return free

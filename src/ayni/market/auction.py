"""One round on arrays: reservations, options, greedy and payments, in machine code where there is much to do.

Members' caps are shares of the pool's cores, memory and accelerators over the horizon, on machines of others:
the dominant share of DRF. Machines of clouds are no part of the pool and count for nobody.

Not covered: what the arrays stand for; `clearing` turns them back into values.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from ayni.market import (
    critical_values,
    free_machines,
    greedy,
    lanes,
    own_machines_first,
    place_search,
    worlds,
)
from ayni.market.compiled import LARGEST_UNCOMPILED_WORK, fast
from ayni.market.greedy import Choices, Contest, State
from ayni.market.round_arrays import NO_COST, Facts, Floats, Integers, Records, RoundArrays
from ayni.market.rounds import MarketRound

SEARCHED_ROWS = 64
"""Rows that the search for a place looks at, by and large; for the estimate of the work alone."""

MOST_BIDS_WITH_LANES = 1_000
"""Rounds of more bids give wide gangs their hours at once: payments would take too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auction:
    """What was decided, on arrays.

    own_N are places that bids could have had on their members' own machines. start is the state when those
    who go first have chosen, end that after the last turn.
    """

    arrays: RoundArrays
    contest: Contest
    own_N: Records
    start: State
    end: State
    choices: Choices
    payment_N: Integers
    work: int

    def winning_limit(self, bid: int) -> int | None:
        """The least limit with which a bid wins while the others stay as they are; None = none would do."""
        if self.arrays.facts.bids[bid]["goes_first"]:
            least = int(self.choices.notes[bid]["least"])
            return None if least == NO_COST else least
        find = fast(critical_values.winning_limit, work=self.work)
        state = greedy.copy_of(self.start)
        world = worlds.make_world(self.contest, state, self.choices)
        limit = int(find(self.contest, state, self.choices, world, bid))
        return None if limit == NO_COST else limit


def hold_auction(
    market: MarketRound,
    arrays: RoundArrays,
    *,
    weights: Sequence[float],
    ties: Sequence[bytes],
    num_threads: int,
) -> Auction:
    """Decide a round.

    Args:
        market: the round, for its policy, budgets and shares.
        arrays: the same as arrays.
        weights: by which the keys of bids are multiplied.
        ties: who of bids with one key goes first, in byte order.
        num_threads: among which compiled work is shared out.
    """
    num_bids, work, facts = len(weights), work_of(arrays), arrays.facts
    facts.bids["tie"][sorted(range(num_bids), key=ties.__getitem__)] = np.arange(num_bids)
    facts.bids["scale"] = np.asarray(weights) / facts.bids["work"] ** market.policy.size_exponent
    machines = free_machines.machines_of(facts.free_RT)
    grams_left_M = np.array([market.carbon_budgets.get(member, np.inf) for member in arrays.members])
    own, room = place_search.no_places(num_bids), place_search.make_room(facts)
    best = place_search.no_places(1)
    if market.policy.own_first:
        # By deadline, release and tie: never by worth, or bids could steer what a member has by right.
        order_N = np.lexsort((facts.bids["tie"], facts.bids["first"], facts.bids["last"]))
        reserve = fast(own_machines_first.reserve_own, work=work)
        reserve(facts, machines, grams_left_M, order_N, own, room, best)
    if market.policy.greenest_within is not None:
        _set_equal_costs(facts, own, market.policy.greenest_within, work, num_threads)
    if market.policy.own_first:
        turns = own_machines_first.turns_of(market, arrays, own, facts.free_RT - machines.free_RT)
        machines = free_machines.machines_of(machines.free_RT - turns.held_RT)
    if market.policy.wide_gangs_wait:
        _let_wide_gangs_wait(market, facts, grams_left_M)
    keys_N = (facts.bids["limit"] - facts.bids["offset"]) * facts.bids["scale"]
    has_caps = market.policy.share_cap is not None
    resources_RQ = _resources(arrays) if has_caps else np.zeros((len(arrays.row_offers), 0))
    contest = Contest(
        facts=facts,
        order_N=np.lexsort((facts.bids["tie"], -keys_N)),
        resources_RQ=resources_RQ,
        cap_M=_caps(market, arrays),
    )
    start = State(machines, grams_left_M, _shares_of_leases(market, arrays, resources_RQ))
    choices = greedy.no_choices(num_bids, len(facts.rows))
    if market.policy.own_first:
        fast(own_machines_first.serve_owners, work=work)(contest, start, turns, choices, room, best)
    end = greedy.copy_of(start)
    best_and_next = place_search.no_places(1 + greedy.NUM_NEXT)
    fast(greedy.clear_greedily, work=work)(contest, end, choices, room, best_and_next)
    fast(greedy.note_wanted, work=work)(contest, choices, 0, num_bids)
    payment_N = _price(contest, start, choices, work, num_threads)
    if facts.settings[0]["has_lanes"]:
        fast(lanes.settle_lanes, work=work)(facts, end.machines, choices.places, room.notes_I)
    return Auction(
        arrays=arrays,
        contest=contest,
        own_N=own,
        start=start,
        end=end,
        choices=choices,
        payment_N=payment_N,
        work=work,
    )


def _price(contest: Contest, start: State, choices: Choices, work: int, num_threads: int) -> Integers:
    """What winners pay. Bids are put in the order of their turns first, as walks read them in that order."""
    order_N, num_bids = contest.order_N, len(contest.order_N)
    in_order = contest._replace(
        facts=contest.facts._replace(bids=contest.facts.bids[order_N]),
        order_N=np.arange(num_bids, dtype=np.int64),
    )
    choices_in_order = Choices._make(choice_N[order_N] for choice_N in choices)
    paid_N = np.zeros(num_bids, dtype=np.int64)
    price = fast(critical_values.price_winners, work=work)

    def price_part(first: int, last: int) -> None:
        state = greedy.copy_of(start)
        world = worlds.make_world(in_order, state, choices_in_order)
        price(in_order, state, choices_in_order, world, paid_N, first, last)

    _share_out(price_part, num_bids, num_threads if work > LARGEST_UNCOMPILED_WORK else 1)
    payment_N = np.where(choices.notes["kind"] == greedy.TAKEN, choices.notes["least"], 0)
    payment_N[order_N] += paid_N
    return payment_N


def work_of(arrays: RoundArrays) -> int:
    """A rough count of elementary steps: starts that are looked at, and pairs of bids in the payments."""
    num_bids, num_resting = len(arrays.facts.bids), int(arrays.facts.bids["may_rest"].sum())
    num_rows, num_slots = arrays.facts.free_RT.shape
    num_starts = (num_bids + num_resting * num_slots) * min(num_rows, SEARCHED_ROWS) * num_slots
    return int(num_starts + 4 * num_bids**2)


def _set_equal_costs(facts: Facts, own: Records, greenest_within: float, work: int, num_threads: int) -> None:
    """Enter the cost up to which places count as equal to the cheapest.

    For bids with their own machines reserved it is at most what those cost: nobody pays for green hours more
    than it would at home.
    """
    cost_N = np.full(len(facts.bids), NO_COST, dtype=np.int64)
    find = fast(place_search.find_cheapest, work=work)
    machines = free_machines.machines_of(facts.free_RT)

    def find_part(first: int, last: int) -> None:
        room, best = place_search.make_room(facts), place_search.no_places(1)
        find(facts, machines, room, best, cost_N, first, last)

    _share_out(find_part, len(cost_N), num_threads if work > LARGEST_UNCOMPILED_WORK else 1)
    cost_N = np.minimum(cost_N, own["cost"])
    allowed_N = np.floor(cost_N * (1 + greenest_within)).astype(np.int64)
    facts.bids["equal_cost"] = np.where(cost_N < NO_COST, np.minimum(allowed_N, own["cost"]), -1)
    own["group"] = np.where(own["cost"] <= facts.bids["equal_cost"], 0, 1)


def _let_wide_gangs_wait(market: MarketRound, facts: Facts, grams_left_M: Floats) -> None:
    """Enter whose hours are chosen at last (see `lanes`), by nothing that a bid is worth."""
    bids, most_free_R = facts.bids, facts.rows["most_free"]
    can_wait_N = (bids["gang"] > 1) & (bids["suspends"] == 0) & (bids["goes_first"] == 0)
    can_wait_N &= np.isinf(grams_left_M[bids["member"]])
    if len(bids) > MOST_BIDS_WITH_LANES or market.policy.greenest_within is not None:
        return
    gang_N = bids["gang"][:, None]
    in_lane_NR = (gang_N <= most_free_R) & (2 * gang_N > most_free_R) & (facts.ratio_SR[bids["pattern"]] > 0)
    bids["can_wait"] = can_wait_N & in_lane_NR.any(axis=1)
    facts.settings["has_lanes"] = bids["can_wait"].any()


def _share_out(run: Callable[[int, int], None], num: int, num_threads: int) -> None:
    """Run [0, num) in parts; many, because early bids have far longer walks than late ones."""
    if num_threads == 1:
        run(0, num)
        return
    edges = np.linspace(0, num, 16 * num_threads + 1).astype(int)
    with ThreadPoolExecutor(max_workers=num_threads) as pool:
        list(pool.map(run, edges[:-1].tolist(), edges[1:].tolist()))


def _resources(arrays: RoundArrays) -> Floats:
    """The share of each resource of the pool over the horizon that one machine takes in one slot, by row."""
    classes = [group[0].machine_class for group in arrays.row_offers]
    accelerators = sorted({found.accelerator for found in classes if found.accelerator is not None})
    amounts_RQ = np.array(
        [
            (found.cores, found.memory_bytes, *(found.accelerator == name for name in accelerators))
            for found in classes
        ],
        dtype=np.float64,
    ).reshape(len(classes), 2 + len(accelerators))
    amounts_RQ[[group[0].is_cloud for group in arrays.row_offers]] = 0.0
    totals_Q = arrays.capacity_RT[:, :-1].sum(axis=1) @ amounts_RQ
    shares_RQ: Floats = np.divide(amounts_RQ, totals_Q, out=np.zeros_like(amounts_RQ), where=totals_Q > 0)
    return shares_RQ


def _caps(market: MarketRound, arrays: RoundArrays) -> Floats:
    if market.policy.share_cap is None:
        return np.full(len(arrays.members), np.inf)
    equal = 1 / max(1, len(arrays.members))
    fair = [market.fair_shares.get(member, equal) for member in arrays.members]
    return market.policy.share_cap * np.array(fair)


def _shares_of_leases(market: MarketRound, arrays: RoundArrays, resources_RQ: Floats) -> Floats:
    """Shares that members' running leases take of others' machines."""
    share_MQ = np.zeros((len(arrays.members), resources_RQ.shape[1]))
    if not resources_RQ.shape[1]:
        return share_MQ  # no caps: nobody asks for shares
    row_of = {offer.id: row for row, group in enumerate(arrays.row_offers) for offer in group}
    member_of: Mapping[str, int] = {member: index for index, member in enumerate(arrays.members)}
    horizon = market.horizon
    for lease in market.leases:
        row, member = row_of.get(lease.offer), member_of.get(lease.member)
        if row is None or member is None or arrays.facts.rows[row]["member"] == member:
            continue
        first = max(0, horizon.first_slot_at(lease.start))
        last = min(horizon.first_slot_at(lease.end), horizon.num_slots)
        share_MQ[member] += lease.machines * max(0, last - first) * resources_RQ[row]
    return share_MQ

"""Members have their own machines before others: who goes first, what is held for them, and what they take.

No member may be worse off than alone, and no member with one bid may gain by what it says of it. So members
that own machines take turns before all others, those with the cheapest machines first:

    held       for a member that waits for its turn: if it has one bid, the machines of each of its rows that
               the bid could use, in all slots, whatever hours, zones and worth it names; if it has several,
               the places that they can have there together
    its turn   what is held for it is free; its bids by their deadlines take the best place that is free
               anywhere, their own machines among others, at its cost
    then       what they left is free for those who come later

What a member with one bid finds in its turn depends on nothing that it says, and it takes the best of it:
there is nothing to gain by saying something else. Its own machines are among it, so it is never worse off
than alone. Those with dearer machines find what those with cheaper ones leave. Nobody bids against them, so
they pay the cost of what they take, and machines of others count for no cap.

Of a member with several bids only those go first that its own machines can hold together; the others come
after all members (`greedy`). An only bid goes first even if its hours rule out the own machines, if these
have the class and the number that it needs: else it could pay to name such hours.

Source: in a fixed order each takes the best of what is there, as in a serial dictatorship; that newcomers may
take what owners leave, and owners lose nothing by it, is asked by Abdulkadiroglu and Sonmez, "House
allocation with existing tenants", Journal of Economic Theory 88, 1999. Their rule lets owners trade houses in
cycles; ours does not, as places here overlap in hours.

Shapes: see `round_arrays`; K bids that go first. Not covered: who denies that its work runs on the class of
its own machines comes after all members; and what is left to gain for members with several bids.
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.free_machines import Machines, move_machines, set_mask
from ayni.market.greedy import NOT_TAKEN, TAKEN, Choices, Contest, State, reserve_of, take
from ayni.market.place_search import OVER_BUDGET, Room, is_better, search_all, search_row, set_none
from ayni.market.round_arrays import (
    NO_COST,
    NO_ROW,
    Facts,
    Floats,
    Integers,
    Records,
    RoundArrays,
    throughput_of,
)
from ayni.market.rounds import MarketRound


class Turns(NamedTuple):
    """Who goes first, in the order of their turns, and machines that are held until then, by row and slot.

    own_N are places that bids can have on their own machines, without place if there is none.
    """

    order_K: Integers
    held_RT: Integers
    own_N: Records


@kernel
def reserve_own(
    facts: Facts,
    machines: Machines,
    grams_left_M: Floats,
    order_N: Integers,
    own_N: Records,
    room: Room,
    best: Records,
) -> None:
    """Give each member's bids, in the order given, the best place on its own machines that is free.

    Fills own_N, and takes machines and carbon out of machines and grams_left_M. What a bid is worth plays no
    part: else what a bid has by right would depend on what its member says.
    """
    num_slots = machines.free_RT.shape[1]
    for bid in order_N:
        member, pattern = facts.bids[bid]["member"], facts.bids[bid]["pattern"]
        first, left = facts.bids[bid]["first"], grams_left_M[member]
        set_none(best)
        for index in range(facts.patterns[pattern]["num_rows"]):
            row = facts.order_SR[pattern, index]
            if facts.rows[row]["member"] == member:
                search_row(
                    facts,
                    machines,
                    left,
                    bid,
                    row,
                    first,
                    num_slots,
                    facts.settings[0]["any_cost"],
                    room,
                    best,
                )
        if best[0]["row"] != NO_ROW:
            own_N[bid] = best[0]
            own_N[bid]["rank"] = -1
            move_machines(machines, own_N, bid, -facts.bids[bid]["gang"])
            grams_left_M[member] -= own_N[bid]["grams"]


@kernel
def serve_owners(
    contest: Contest, state: State, turns: Turns, choices: Choices, room: Room, best: Records
) -> None:
    """Let those who go first choose; fills their choices and changes the state.

    The machines of the turns, and those of own_N, must have been taken out of the state.
    """
    facts, before = contest.facts, -1
    num_slots = turns.held_RT.shape[1]
    for bid in turns.order_K:
        member, has_own = facts.bids[bid]["member"], turns.own_N[bid]["row"] != NO_ROW
        if member != before:
            for row in range(len(facts.rows)):
                if facts.rows[row]["member"] == member:
                    for slot in range(num_slots):
                        state.machines.free_RT[row, slot] += turns.held_RT[row, slot]
                    set_mask(state.machines, row, 0, num_slots)
            before = member
        if has_own:
            move_machines(state.machines, turns.own_N, bid, facts.bids[bid]["gang"])
            state.grams_left_M[member] += turns.own_N[bid]["grams"]
        set_none(best)
        room.notes_I[OVER_BUDGET] = 0
        search_all(
            facts,
            state.machines,
            state.grams_left_M[member],
            bid,
            facts.settings[0]["nothing_known"],
            facts.settings[0]["any_cost"],
            room,
            best,
        )
        if has_own and not is_better(best[0], turns.own_N[bid]):
            best[0] = turns.own_N[bid]
        least = NO_COST if best[0]["row"] == NO_ROW else reserve_of(facts, best[0], bid)
        is_taken = least <= facts.bids[bid]["limit"]
        choices.notes[bid]["kind"] = TAKEN if is_taken else NOT_TAKEN
        choices.notes[bid]["least"] = least
        choices.notes[bid]["was_over_budget"] = room.notes_I[OVER_BUDGET]
        if is_taken:
            choices.places[bid] = best[0]
            take(contest, state, bid, best, 0)


def turns_of(market: MarketRound, arrays: RoundArrays, own_N: Records, reserved_RT: Integers) -> Turns:
    """Who goes first, and what is held for them; enters the former in the facts of the bids.

    Args:
        market: the round.
        arrays: the same as arrays.
        own_N: places on own machines that `reserve_own` found.
        reserved_RT: machines of these places.
    """
    bids, rows = arrays.facts.bids, arrays.facts.rows
    goes_first_N = own_N["row"] != NO_ROW
    wanted_R = np.zeros(len(rows), dtype=np.int64)
    num_bids_M = np.bincount(bids["member"], minlength=len(arrays.members))
    for bid in np.flatnonzero(num_bids_M[bids["member"]] == 1).tolist():
        own_R = np.flatnonzero(rows["member"] == bids[bid]["member"]).tolist()
        for row in own_R:
            is_able = throughput_of(market.bids[bid], arrays.row_offers[row][0]) > 0
            if is_able and bids[bid]["gang"] <= rows[row]["most_free"]:
                goes_first_N[bid], wanted_R[row] = True, bids[bid]["gang"]
    bids["goes_first"] = goes_first_N
    first_K = np.flatnonzero(goes_first_N)
    member_K, num_members = bids["member"][first_K], len(arrays.members)
    cost_M, tie_M = np.full(num_members, np.inf), np.full(num_members, len(bids))
    np.minimum.at(cost_M, rows["member"], _costs_of_an_hour(arrays))
    np.minimum.at(tie_M, bids["member"], bids["tie"])
    in_member = (bids[name][first_K] for name in ("tie", "first", "last"))
    order = np.lexsort((*in_member, tie_M[member_K], cost_M[member_K]))
    held_RT = np.minimum(arrays.facts.free_RT, wanted_R[:, None]) - reserved_RT
    return Turns(first_K[order], np.maximum(0, held_RT), own_N)


def _costs_of_an_hour(arrays: RoundArrays) -> Floats:
    """What the work of a reference machine-hour costs on each row, by its ask and its zone's mean carbon."""
    facts = arrays.facts
    rate_R = facts.zones["tail_rate"][facts.rows["zone"]]
    charge_R = facts.rows["kilowatts"] * rate_R * facts.settings[0]["carbon_per_gram"]
    classes = [group[0].machine_class for group in arrays.row_offers]
    speed_R = np.array([max(each.reference_throughput.values(), default=1.0) for each in classes])
    costs_R: Floats = (facts.rows["ask"] + charge_R) / np.maximum(speed_R, 1e-9)
    return costs_R

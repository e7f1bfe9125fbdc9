"""Wide gangs that have machines but no hours yet: kernels.

Of gangs that each take more than half of a row only one runs at a time, as in a lane. Given its hours at
once, the first of them often leaves none long enough for the next, and one wide gang can be a tenth of a
round's welfare. So such a bid gets a promise first: that it runs in this row, in hours that are chosen when
all bids had their turns. A lane holds at most MOST_IN_LANE promises, and nothing is given away that would
break one.

Whether promises can be kept is decided exactly, by the earliest end of each set of gangs:

    end({}) = 0
    end(S)  = min over b in S of the earliest end of b's work that begins at or after end(S - b)

So what is still possible for a bid only ever gets less, as payments need (`critical_values`). Heuristics that
sometimes find room and sometimes do not would break that. All hours of a row count as dear as the dearest
for these bids (`most_cost_of`), else a bid could lower its price by a narrower window. The hours themselves
are the cheapest that keep all promises.

Source: the recursion is that of Held and Karp, "A dynamic programming approach to sequencing problems",
J. SIAM 10(1), 1962, for one machine with release times and deadlines.

Shapes: see `round_arrays`; K promises in a lane. Not covered: gangs of half a row or less, work that may be
suspended, members with carbon budgets, and bids with own machines reserved: they get their hours at once.
"""

from ayni.market.compiled import kernel
from ayni.market.free_machines import LANE, NUM_IN_LANE, Machines, move_machines
from ayni.market.place_costs import (
    carbon_charge,
    end_slot_of,
    grams_of,
    hours_of,
    keeps_cap,
    num_slots_of,
    slot_charge,
)
from ayni.market.round_arrays import WHOLE_SLOT_TOLERANCE, Facts, Integers, Record, Records

NO_SLOT = 2**62
NO_BID = -1


@kernel
def goes_in_lane(facts: Facts, bid: int, row: int) -> bool:
    """Whether the bid's hours in this row may wait: it can wait, and no two like it run at once there."""
    bids = facts.bids
    return bool(bids[bid]["can_wait"] and 2 * bids[bid]["gang"] > facts.rows[row]["most_free"])


@kernel
def end_of(facts: Facts, bid: int, row: int, start: int) -> int:
    """The slot after the last of the bid's unbroken work; -1 = it would go on for too long."""
    slots = hours_of(facts, bid, row) / facts.settings[0]["slot_hours"]
    end = start + num_slots_of(slots)
    return int(end if end <= facts.settings[0]["num_slots"] else end_slot_of(facts, start, slots))


@kernel
def earliest_start(facts: Facts, machines: Machines, bid: int, row: int, free_from: int) -> int:
    """The first slot at or after free_from in which the bid's unbroken work may begin; NO_SLOT."""
    slots, gang = hours_of(facts, bid, row) / facts.settings[0]["slot_hours"], facts.bids[bid]["gang"]
    latest = facts.bids[bid]["last"] - slots + WHOLE_SLOT_TOLERANCE
    start = max(facts.bids[bid]["first"], free_from)
    while start <= latest and start < facts.settings[0]["num_slots"]:
        end = end_of(facts, bid, row, start)
        if end < 0:
            return NO_SLOT
        blocked = end - 1
        while blocked >= start and machines.free_RT[row, blocked] >= gang:
            blocked -= 1
        if blocked >= start:
            start = blocked + 1
        elif keeps_cap(facts, bid, row, grams_of(facts, bid, row, start, slots)):
            return int(start)
        else:
            start += 1
    return NO_SLOT


@kernel
def earliest_end(facts: Facts, machines: Machines, bid: int, row: int, free_from: int) -> int:
    """The earliest slot by which the bid's work is done if it begins at or after free_from; NO_SLOT."""
    start = earliest_start(facts, machines, bid, row, free_from)
    return NO_SLOT if start == NO_SLOT else end_of(facts, bid, row, start)


@kernel
def in_lane(machines: Machines, row: int, index: int, newcomer: int) -> int:
    """The bid with this index in a lane that the newcomer joins."""
    return int(
        machines.mask_RW[row, LANE + index] if index < machines.mask_RW[row, NUM_IN_LANE] else newcomer
    )


@kernel
def fits_by_deadlines(facts: Facts, machines: Machines, row: int, newcomer: int, num: int) -> bool:
    """Whether the work of a lane fits in the order of its deadlines; True is certain, False is not."""
    done, end = 0, 0
    for _ in range(num):
        chosen = -1
        for index in range(num):
            if done >> index & 1:
                continue
            last = facts.bids[in_lane(machines, row, index, newcomer)]["last"]
            if chosen < 0 or last < facts.bids[in_lane(machines, row, chosen, newcomer)]["last"]:
                chosen = index
        end = earliest_end(facts, machines, in_lane(machines, row, chosen, newcomer), row, end)
        if end == NO_SLOT:
            return False
        done |= 1 << chosen
    return True


@kernel
def fits_lane(facts: Facts, machines: Machines, row: int, newcomer: int, ends_S: Integers) -> bool:
    """Whether a row can keep all promises, and one to the newcomer (NO_BID = there is none).

    ends_S is room for the earliest end of each set. Cost: O(2^K K) searches for a start, and mostly K.
    """
    num = machines.mask_RW[row, NUM_IN_LANE] + (0 if newcomer == NO_BID else 1)
    if num == 0 or fits_by_deadlines(facts, machines, row, newcomer, num):
        return True
    ends_S[0] = 0
    for chosen in range(1, 1 << num):
        ends_S[chosen] = NO_SLOT
        for index in range(num):
            if chosen >> index & 1:
                bid, before = in_lane(machines, row, index, newcomer), ends_S[chosen ^ (1 << index)]
                ends_S[chosen] = min(ends_S[chosen], earliest_end(facts, machines, bid, row, before))
        if ends_S[chosen] == NO_SLOT:
            return False
    return True


@kernel
def add_free(machines: Machines, row: int, place: Record, num: int) -> None:
    """Add machines (negative: take them) in all slots of a place, without the mask, for a moment."""
    for piece in range(place["num_pieces"]):
        for slot in range(place["starts"][piece], place["ends"][piece]):
            machines.free_RT[row, slot] += num


@kernel
def leaves_lane(facts: Facts, machines: Machines, bid: int, place: Record, ends_S: Integers) -> bool:
    """Whether all promises of a row can be kept if the bid takes a place there."""
    row = place["row"]
    if machines.mask_RW[row, NUM_IN_LANE] == 0:
        return True
    gang = facts.bids[bid]["gang"]
    add_free(machines, row, place, -gang)
    is_kept = fits_lane(facts, machines, row, NO_BID, ends_S)
    add_free(machines, row, place, gang)
    return is_kept


@kernel
def join_lane(machines: Machines, row: int, bid: int) -> None:
    """Promise the bid hours in a row."""
    machines.mask_RW[row, LANE + machines.mask_RW[row, NUM_IN_LANE]] = bid
    machines.mask_RW[row, NUM_IN_LANE] += 1


@kernel
def settle_first(facts: Facts, machines: Machines, row: int, places: Records, ends_S: Integers) -> None:
    """Give the first bid of a lane the cheapest hours that keep the other promises, and take it out."""
    bid = machines.mask_RW[row, LANE + 0]
    for index in range(1, machines.mask_RW[row, NUM_IN_LANE]):
        machines.mask_RW[row, LANE + index - 1] = machines.mask_RW[row, LANE + index]
    machines.mask_RW[row, NUM_IN_LANE] -= 1
    slots = hours_of(facts, bid, row) / facts.settings[0]["slot_hours"]
    place, best_start, least = places[bid], NO_SLOT, NO_SLOT
    start = earliest_start(facts, machines, bid, row, 0)
    while start != NO_SLOT:
        place["num_pieces"], place["starts"][0], place["ends"][0] = 1, start, end_of(facts, bid, row, start)
        cost = carbon_charge(facts, grams_of(facts, bid, row, start, slots))
        cost += slot_charge(facts, bid, row, place)
        if cost < least and leaves_lane(facts, machines, bid, place, ends_S):
            least, best_start = cost, start
        start = earliest_start(facts, machines, bid, row, start + 1)
    place["starts"][0], place["ends"][0] = best_start, end_of(facts, bid, row, best_start)
    place["grams"] = grams_of(facts, bid, row, best_start, slots)
    move_machines(machines, places, bid, -facts.bids[bid]["gang"])


@kernel
def settle_lanes(facts: Facts, machines: Machines, places: Records, ends_S: Integers) -> None:
    """Choose the hours of all that were promised some: by row, in the order of the promises."""
    for row in range(len(facts.rows)):
        while machines.mask_RW[row, NUM_IN_LANE] > 0:
            settle_first(facts, machines, row, places, ends_S)

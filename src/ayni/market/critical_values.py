"""What winners pay: the least limit with which a bid still wins, found by letting others go on without it.

Without the bid, the others choose from its turn on. At each later turn that it might have, its best free
place has a reserve; the bid wins there if a limit that brings it this turn covers the reserve. Reserves rise
with later turns and limits fall, so the first turn where they cross tells the critical value. It is
never below the reserve of what the bid got, because what is free at a later turn was free before.

Searching again for each of the others would take hours at 10,000 bids. Two worlds are compared instead: the
round as it was ("with"), whose choices are known, and the one without the bid. As long as machines differ in
a few rows only, another bid's choice can differ only if its place was lost there, or if one of those rows now
has more machines free. So most turns cost a few comparisons.

Shapes: see `greedy`. Not covered: payments of several bids of a member as one; each bid is priced alone.
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.greedy import (
    LAST_PHASE,
    MARKET,
    MARKET_PHASE,
    OWN,
    OWN_PHASE,
    POSSIBLE,
    WANTED,
    WORD_BITS,
    Choices,
    Contest,
    State,
    copy_of,
    decide,
    has_turn,
    is_capped,
    is_entitled,
    least_limit_before,
    num_words,
    release_all_own,
    reserve_of,
    take,
    without_place,
)
from ayni.market.place_search import (
    Room,
    hours_of,
    is_free,
    is_no_place,
    least_cost_of,
    make_room,
    may_have_place,
    no_places,
    num_slots_of,
    search_all,
    search_row,
    set_own,
)
from ayni.market.round_arrays import NO_COST, Facts, Integers, Record, Records

DIFFERENCES = np.dtype(
    [("gained", np.int64), ("lost", np.int64), ("first", np.int64), ("end", np.int64)], align=True
)
"""Of a row: whether it has slots with more or with fewer machines than in the round as it was, and the first
such gained slot and the one after the last."""

NUM_GAINED, MINE = 0, 1
"""Indices into the numbers of a world."""
NUM_MINE = 12
"""Places of the bid that is priced which are kept in mind; when all are lost they are searched for again."""


class World(NamedTuple):
    """The round without one bid, and where it differs from the round as it was.

    more_RT counts machines that are free here and not there, rows sums that up (see DIFFERENCES). gained_R
    lists the rows with more, num_I[NUM_GAINED] of them, and gained_W has a bit for each. mine are the best
    places of the bid that is priced, of which those before num_I[MINE] are lost. touched_M says of which
    members budgets and shares may differ. put_off_N is as in Choices.
    """

    state: State
    more_RT: Integers
    rows: Records
    gained_R: Integers
    gained_W: Integers
    num_I: Integers
    touched_M: Integers
    put_off_N: Integers
    room: Room
    best: Records
    mine: Records


def make_world(contest: Contest, state: State, choices: Choices) -> World:
    """A world that is the same so far."""
    num_rows, num_slots = state.machines.free_RT.shape
    return World(
        copy_of(state),
        np.zeros((num_rows, num_slots), dtype=np.int64),
        np.zeros(num_rows, dtype=DIFFERENCES),
        np.zeros(num_rows, dtype=np.int64),
        np.zeros(num_words(num_rows), dtype=np.int64),
        np.zeros(2, dtype=np.int64),
        np.zeros(len(state.grams_left_M), dtype=np.int64),
        choices.notes["was_put_off"].copy(),
        make_room(contest.facts),
        no_places(1),
        no_places(NUM_MINE),
    )


@kernel
def reset_world(world: World, state: State, choices: Choices) -> None:
    """Make the world the same as the round again."""
    num_rows, num_slots = state.machines.free_RT.shape
    for row in range(num_rows):
        for slot in range(num_slots):
            world.state.machines.free_RT[row, slot] = state.machines.free_RT[row, slot]
        world.state.machines.mask_R[row] = state.machines.mask_R[row]
        if world.rows[row]["gained"] or world.rows[row]["lost"]:
            world.rows[row]["gained"] = world.rows[row]["lost"] = 0
            for slot in range(num_slots):
                world.more_RT[row, slot] = 0
    for member in range(len(state.grams_left_M)):
        world.state.grams_left_M[member] = state.grams_left_M[member]
        world.touched_M[member] = 0
        for resource in range(state.share_MQ.shape[1]):
            world.state.share_MQ[member, resource] = state.share_MQ[member, resource]
    for bid in range(len(choices.notes)):
        world.put_off_N[bid] = choices.notes[bid]["was_put_off"]
    world.num_I[NUM_GAINED] = 0
    world.gained_W[:] = 0


@kernel
def differ(world: World, places: Records, at: int, machines: int) -> None:
    """Note that machines more (or fewer) are free at a place than in the round as it was."""
    row = places[at]["row"]
    for piece in range(places[at]["num_pieces"]):
        for slot in range(places[at]["starts"][piece], places[at]["ends"][piece]):
            world.more_RT[row, slot] += machines
    gained, lost, first, end = 0, 0, -1, -1
    for slot in range(world.more_RT.shape[1]):
        if world.more_RT[row, slot] > 0:
            gained, end = 1, slot + 1
            if first < 0:
                first = slot
        elif world.more_RT[row, slot] < 0:
            lost = 1
    if gained and not world.rows[row]["gained"]:
        world.gained_R[world.num_I[NUM_GAINED]] = row
        world.num_I[NUM_GAINED] += 1
        world.gained_W[row // WORD_BITS] |= 1 << (row % WORD_BITS)
    elif not gained and world.rows[row]["gained"]:
        kept = 0
        for index in range(world.num_I[NUM_GAINED]):
            if world.gained_R[index] != row:
                world.gained_R[kept] = world.gained_R[index]
                kept += 1
        world.num_I[NUM_GAINED] = kept
        world.gained_W[row // WORD_BITS] &= ~(1 << (row % WORD_BITS))
    world.rows[row]["gained"], world.rows[row]["lost"] = gained, lost
    world.rows[row]["first"], world.rows[row]["end"] = first, end


@kernel
def place_is_free(contest: Contest, world: World, places: Records, at: int, bid: int) -> bool:
    """Whether a place has machines for a bid in this world."""
    gang = contest.facts.bids[bid]["gang"]
    return is_free(world.state.machines, places[at]["row"], gang, places[at])


@kernel
def gained_enough(world: World, row: int, gang: int) -> bool:
    """Whether a slot that has more machines than before has enough for a gang."""
    for slot in range(world.rows[row]["first"], world.rows[row]["end"]):
        if world.more_RT[row, slot] > 0 and world.state.machines.free_RT[row, slot] >= gang:
            return True
    return False


@kernel
def gained_any(world: World, choices: Choices, bid: int, which: int) -> bool:
    """Whether one of the rows that the bid wants (see `Choices`) has more machines than before."""
    for word in range(len(world.gained_W)):
        if world.gained_W[word] & choices.wanted_NKW[bid, which, word]:
            return True
    return False


@kernel
def search_gained(contest: Contest, world: World, choices: Choices, bid: int, which: int) -> bool:
    """Whether a row with more machines than before has a better place than world.best; enters it there.

    Looks at the rows that the bid wants as `which` says (see `Choices`).
    """
    facts, is_found = contest.facts, False
    limit, equal_cost = facts.bids[bid]["limit"], facts.bids[bid]["equal_cost"]
    if limit < equal_cost or not gained_any(world, choices, bid, which):
        return False
    grams_left = world.state.grams_left_M[facts.bids[bid]["member"]]
    for index in range(world.num_I[NUM_GAINED]):
        row = world.gained_R[index]
        if not choices.wanted_NKW[bid, which, row // WORD_BITS] & (1 << (row % WORD_BITS)):
            continue
        if facts.bids[bid]["first"] >= world.rows[row]["end"]:
            continue
        if facts.bids[bid]["last"] <= world.rows[row]["first"] < facts.settings[0]["num_slots"]:
            continue
        hours, machines, room = hours_of(facts, bid, row), world.state.machines, world.room
        least_cost = least_cost_of(facts, bid, row, hours)
        if least_cost > limit or (least_cost > world.best[0]["cost"] and least_cost > equal_cost):
            continue
        first, end = world.rows[row]["first"], world.rows[row]["end"]
        earliest = max(0, first - num_slots_of(hours / facts.settings[0]["slot_hours"]) + 1)
        is_possible = may_have_place(facts, machines, bid, row, hours, earliest, end)
        if not (is_possible or facts.bids[bid]["suspends"]):
            continue
        if not gained_enough(world, row, facts.bids[bid]["gang"]):
            continue
        if search_row(facts, machines, grams_left, bid, row, first, end, limit, room, world.best):
            is_found = True
    return is_found


@kernel
def set_as_it_was(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Put into world.best what the bid had chosen, or what a place must beat for it to choose otherwise."""
    if choices.notes[bid]["kind"] == MARKET:
        world.best[0] = choices.places[bid]
    else:
        set_own(contest.own, bid, world.best)


@kernel
def may_be_over_budget(contest: Contest, world: World, choices: Choices, bid: int) -> bool:
    """Whether the carbon budget of the bid's member may make it choose otherwise in this world."""
    member = contest.facts.bids[bid]["member"]
    if not world.touched_M[member]:
        return False
    is_placed = choices.notes[bid]["kind"] == MARKET
    is_over = is_placed and choices.places[bid]["grams"] > world.state.grams_left_M[member]
    return is_over or choices.notes[bid]["was_over_budget"] == 1


@kernel
def lost_its_place(contest: Contest, world: World, choices: Choices, bid: int) -> bool:
    """Whether the place that the bid had chosen is not free in this world."""
    if choices.notes[bid]["kind"] != MARKET or not world.rows[choices.places[bid]["row"]]["lost"]:
        return False
    return not place_is_free(contest, world, choices.places, bid, bid)


@kernel
def known_from(facts: Facts, bid: int, place: Record) -> int:
    """What is known to cost less than all that is free, if the place is the last that was free until now."""
    return int(place["cost"] if facts.bids[bid]["equal_cost"] < 0 else facts.settings[0]["nothing_known"])


@kernel
def look_elsewhere(contest: Contest, world: World, choices: Choices, bid: int) -> int:
    """What a bid chooses whose place is lost.

    What was free before and is free now is among the places that were next, and what was not free before is
    in a row that gained.
    """
    facts, state = contest.facts, world.state
    grams_left, limit = state.grams_left_M[facts.bids[bid]["member"]], facts.bids[bid]["limit"]
    set_own(contest.own, bid, world.best)
    is_found, is_settled = False, False
    for index in range(choices.next_NK.shape[1]):
        place = choices.next_NK[bid, index]
        if is_no_place(place):
            is_settled = True
            break
        gang = facts.bids[bid]["gang"]
        if place["grams"] <= grams_left and is_free(state.machines, place["row"], gang, place):
            world.best[0] = place
            is_found = is_settled = True
            break
    if search_gained(contest, world, choices, bid, POSSIBLE):
        is_found = True
    if is_settled:
        return MARKET if is_found else without_place(contest, bid)
    known_cost = known_from(facts, bid, choices.next_NK[bid, choices.next_NK.shape[1] - 1])
    if search_all(facts, state.machines, grams_left, bid, known_cost, limit, world.room, world.best):
        is_found = True
    return MARKET if is_found else without_place(contest, bid)


@kernel
def decide_anew(contest: Contest, world: World, bid: int) -> None:
    """Let a bid choose that had not chosen in this phase of the round as it was."""
    if decide(contest, world.state, bid, world.room, world.best) == MARKET:
        take(contest, world.state, bid, world.best, 0)
        differ(world, world.best, 0, -contest.facts.bids[bid]["gang"])
    world.touched_M[contest.facts.bids[bid]["member"]] = 1


@kernel
def leave_out(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Note that a bid does not take here what it took in this phase of the round as it was."""
    if choices.notes[bid]["kind"] == MARKET:
        differ(world, choices.places, bid, contest.facts.bids[bid]["gang"])
    world.touched_M[contest.facts.bids[bid]["member"]] = 1


@kernel
def choose_again(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Let a bid choose that chose in this phase of the round as it was."""
    if may_be_over_budget(contest, world, choices, bid):
        new = decide(contest, world.state, bid, world.room, world.best)
    elif lost_its_place(contest, world, choices, bid):
        new = look_elsewhere(contest, world, choices, bid)
    else:
        new, is_changed = choices.notes[bid]["kind"], False
        if world.num_I[NUM_GAINED] and gained_any(world, choices, bid, WANTED):
            set_as_it_was(contest, world, choices, bid)
            is_changed = search_gained(contest, world, choices, bid, WANTED)
        if not is_changed:
            if new == MARKET:
                take(contest, world.state, bid, choices.places, bid)
            return
        new = MARKET
    if new == MARKET:
        take(contest, world.state, bid, world.best, 0)
        differ(world, world.best, 0, -contest.facts.bids[bid]["gang"])
    leave_out(contest, world, choices, bid)


@kernel
def go_on(contest: Contest, world: World, choices: Choices, bid: int, phase: int) -> None:
    """Let another bid have its turn in the world without the one."""
    was_put_off = choices.notes[bid]["was_put_off"] == 1
    if phase == MARKET_PHASE:
        is_touched = world.touched_M[contest.facts.bids[bid]["member"]]
        is_put_off = is_capped(contest, world.state, bid) if is_touched else was_put_off
        world.put_off_N[bid] = 1 if is_put_off else 0
        if is_put_off and not was_put_off:
            leave_out(contest, world, choices, bid)
        elif was_put_off and not is_put_off:
            decide_anew(contest, world, bid)
        elif not is_put_off:
            choose_again(contest, world, choices, bid)
    elif phase == LAST_PHASE and was_put_off != (world.put_off_N[bid] == 1):
        if was_put_off:
            leave_out(contest, world, choices, bid)
        else:
            decide_anew(contest, world, bid)
    else:
        choose_again(contest, world, choices, bid)


@kernel
def look_for_mine(contest: Contest, world: World, bid: int, known_cost: int) -> None:
    """Find the best places that are free for the bid itself, whatever it can pay."""
    facts, mine = contest.facts, world.mine
    grams_left, machines = world.state.grams_left_M[facts.bids[bid]["member"]], world.state.machines
    set_own(contest.own, bid, mine)
    world.num_I[MINE] = 0
    search_all(facts, machines, grams_left, bid, known_cost, facts.settings[0]["any_cost"], world.room, mine)


@kernel
def is_mine_free(contest: Contest, world: World, bid: int) -> bool:
    """Go on to the first of the bid's own best places that is still free; False = all are lost."""
    facts, mine = contest.facts, world.mine
    grams_left = world.state.grams_left_M[facts.bids[bid]["member"]]
    while world.num_I[MINE] < len(mine):
        at = world.num_I[MINE]
        if is_no_place(mine[at]):
            return False
        if mine[at]["grams"] <= grams_left and place_is_free(contest, world, mine, at, bid):
            return True
        # What was no place at an earlier turn is none now: less is free.
        world.num_I[MINE] += 1
    return False


@kernel
def my_least(contest: Contest, world: World, bid: int) -> int:
    """The reserve of the best place that is free for the bid itself; NO_COST = there is none."""
    facts, mine = contest.facts, world.mine
    is_there = is_mine_free(contest, world, bid)
    while not is_there and world.num_I[MINE] == len(mine):
        look_for_mine(contest, world, bid, known_from(facts, bid, mine[len(mine) - 1]))
        is_there = is_mine_free(contest, world, bid)
    if is_there:
        return reserve_of(facts, mine[world.num_I[MINE]], bid)
    return reserve_of(facts, contest.own[bid], bid) if is_entitled(contest, bid) else NO_COST


@kernel
def value_in_last_phase(
    contest: Contest, world: World, choices: Choices, bid: int, position: int, highest: int
) -> int:
    """The least limit below `highest` with which the bid wins in the last phase; else `highest`."""
    is_reached, least = False, NO_COST
    for index in range(position, len(contest.order_N)):
        other = contest.order_N[index]
        if choices.notes[other]["was_put_off"] == 0 and world.put_off_N[other] == 0:
            continue
        if other == bid:
            leave_out(contest, world, choices, bid)
            continue
        edge = least_limit_before(contest, bid, other)
        if edge < highest or highest == NO_COST:
            if not is_reached:
                is_reached, least = True, my_least(contest, world, bid)
                if least >= highest:
                    return highest
            if least >= edge:
                return least
        go_on(contest, world, choices, other, LAST_PHASE)
        if is_reached:
            least = my_least(contest, world, bid)
            if least >= edge:
                return edge
    if not is_reached:
        least = my_least(contest, world, bid)
    return min(least, highest)


@kernel
def critical_value(
    contest: Contest, world: World, choices: Choices, bid: int, position: int, phase: int
) -> int:
    """The least limit with which the bid wins; NO_COST = none. What the bid can pay plays no part.

    world is as the bid finds it when its turn is at `position` of the order in `phase`, and is changed; the
    bid must win there, or it must be its first possible turn of all.
    """
    highest = NO_COST
    look_for_mine(contest, world, bid, contest.facts.settings[0]["nothing_known"])
    if phase != LAST_PHASE:
        least = my_least(contest, world, bid)
        capped = phase == MARKET_PHASE and is_capped(contest, world.state, bid)
        for index in range(position, len(contest.order_N)):
            other = contest.order_N[index]
            if is_entitled(contest, other) != (phase == OWN_PHASE):
                continue
            if other == bid:
                if choices.notes[bid]["was_put_off"] == 0:
                    leave_out(contest, world, choices, bid)
                continue
            edge = 0
            if not capped:
                edge = least_limit_before(contest, bid, other)
                if least >= edge:
                    return least
            go_on(contest, world, choices, other, phase)
            if capped:
                continue
            if phase == MARKET_PHASE and is_capped(contest, world.state, bid):
                # From here on the bid is put off: with less its turn comes in the last phase.
                capped, highest = True, edge
                continue
            least = my_least(contest, world, bid)
            if least >= edge:
                return edge
        if not capped:
            return least
        position = 0
    return value_in_last_phase(contest, world, choices, bid, position, highest)


@kernel
def price_winners(
    contest: Contest,
    state: State,
    choices: Choices,
    world: World,
    payment_N: Integers,
    first: int,
    last: int,
) -> None:
    """Fill the payments of the winners whose places in the order are in [first, last).

    state is the one before the first turn, and is changed. Whoever keeps its own machines pays their reserve.
    """
    for phase in range(LAST_PHASE + 1):
        if phase == MARKET_PHASE:
            release_all_own(contest, state, choices)
        for position in range(len(contest.order_N)):
            bid = contest.order_N[position]
            is_put_off = phase == MARKET_PHASE and choices.notes[bid]["was_put_off"] == 1
            if is_put_off or not has_turn(contest, choices, bid, phase):
                continue
            if first <= position < last and choices.notes[bid]["kind"] == MARKET:
                reset_world(world, state, choices)
                payment_N[bid] = critical_value(contest, world, choices, bid, position, phase)
            elif first <= position < last and choices.notes[bid]["kind"] == OWN:
                payment_N[bid] = reserve_of(contest.facts, contest.own[bid], bid)
            if choices.notes[bid]["kind"] == MARKET:
                take(contest, state, bid, choices.places, bid)


@kernel
def winning_limit(contest: Contest, state: State, choices: Choices, world: World, bid: int) -> int:
    """The least limit with which a bid wins when all others stay as they are; NO_COST = none.

    Right for every bid, whether it won or lost. state is the one before the first turn, and is changed.
    """
    phase = OWN_PHASE if is_entitled(contest, bid) else MARKET_PHASE
    if phase == MARKET_PHASE:
        for other in contest.order_N:
            if is_entitled(contest, other) and choices.notes[other]["kind"] == MARKET:
                take(contest, state, other, choices.places, other)
        release_all_own(contest, state, choices)
    reset_world(world, state, choices)
    return critical_value(contest, world, choices, bid, 0, phase)

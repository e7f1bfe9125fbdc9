"""What winners pay: the least limit with which a bid still wins, found by letting the others go on without it.

Without the bid, the others choose from its turn on. At each later turn that it might have, its best free place
has a reserve; the bid wins there if a limit that brings it this turn covers the reserve. Reserves only rise
with later turns and limits only fall, so the first turn where they cross tells the critical value. It is
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
    Choices,
    Contest,
    State,
    copy_of,
    decide,
    has_turn,
    is_capped,
    is_entitled,
    least_limit_before,
    release_all_own,
    reserve_of,
    take,
)
from ayni.market.place_search import (
    MAX_PIECES,
    NO_COST,
    NO_ROW,
    Places,
    Room,
    ask_of,
    copy_place,
    hours_of,
    make_room,
    no_places,
    search_all,
    search_row,
    set_none,
)
from ayni.market.round_arrays import Integers

GAINED, LOST, FIRST, END = 0, 1, 2, 3
"""Columns of flags_RF: whether a row has slots with more or with fewer machines than in the round as it was,
and the first such gained slot and the one after the last."""


class World(NamedTuple):
    """The round without one bid, and where it differs from the round as it was.

    more_RT counts machines that are free here and not there. gained_R lists the num_I[0] rows with more.
    touched_M says of which members budgets and shares may differ. put_off_N is as in Choices.
    """

    state: State
    more_RT: Integers
    flags_RF: Integers
    gained_R: Integers
    num_I: Integers
    touched_M: Integers
    put_off_N: Integers
    room: Room
    best: Places
    mine: Places


def make_world(contest: Contest, state: State, choices: Choices) -> World:
    """A world that is the same so far."""
    num_rows, num_slots = state.free_RT.shape
    return World(
        copy_of(state),
        np.zeros((num_rows, num_slots), dtype=np.int64),
        np.zeros((num_rows, 4), dtype=np.int64),
        np.zeros(num_rows, dtype=np.int64),
        np.zeros(1, dtype=np.int64),
        np.zeros(len(state.grams_left_M), dtype=np.int64),
        choices.put_off_N.copy(),
        make_room(contest.facts),
        no_places(1, MAX_PIECES),
        no_places(1, MAX_PIECES),
    )


@kernel
def reset_world(world: World, state: State, choices: Choices) -> None:
    """Make the world the same as the round again."""
    num_rows, num_slots = state.free_RT.shape
    for row in range(num_rows):
        for slot in range(num_slots):
            world.state.free_RT[row, slot] = state.free_RT[row, slot]
        if world.flags_RF[row, GAINED] or world.flags_RF[row, LOST]:
            world.flags_RF[row, GAINED] = world.flags_RF[row, LOST] = 0
            for slot in range(num_slots):
                world.more_RT[row, slot] = 0
    for member in range(len(state.grams_left_M)):
        world.state.grams_left_M[member] = state.grams_left_M[member]
        world.touched_M[member] = 0
        for resource in range(state.share_MQ.shape[1]):
            world.state.share_MQ[member, resource] = state.share_MQ[member, resource]
    for bid in range(len(choices.put_off_N)):
        world.put_off_N[bid] = choices.put_off_N[bid]
    world.num_I[0] = 0


@kernel
def differ(world: World, places: Places, at: int, machines: int) -> None:
    """Note that machines more (or fewer) are free at a place than in the round as it was."""
    row = places.row_N[at]
    for piece in range(places.num_pieces_N[at]):
        for slot in range(places.starts_NP[at, piece], places.ends_NP[at, piece]):
            world.more_RT[row, slot] += machines
    gained, lost, first, end = 0, 0, -1, -1
    for slot in range(world.more_RT.shape[1]):
        if world.more_RT[row, slot] > 0:
            gained, end = 1, slot + 1
            if first < 0:
                first = slot
        elif world.more_RT[row, slot] < 0:
            lost = 1
    if gained and not world.flags_RF[row, GAINED]:
        world.gained_R[world.num_I[0]] = row
        world.num_I[0] += 1
    elif not gained and world.flags_RF[row, GAINED]:
        kept = 0
        for index in range(world.num_I[0]):
            if world.gained_R[index] != row:
                world.gained_R[kept] = world.gained_R[index]
                kept += 1
        world.num_I[0] = kept
    world.flags_RF[row, GAINED], world.flags_RF[row, LOST] = gained, lost
    world.flags_RF[row, FIRST], world.flags_RF[row, END] = first, end


@kernel
def place_is_free(world: World, places: Places, at: int, gang: int) -> bool:
    """Whether a place has machines for the gang in this world."""
    row = places.row_N[at]
    for piece in range(places.num_pieces_N[at]):
        for slot in range(places.starts_NP[at, piece], places.ends_NP[at, piece]):
            if world.state.free_RT[row, slot] < gang:
                return False
    return True


@kernel
def gained_enough(world: World, row: int, gang: int) -> bool:
    """Whether a slot that has more machines than before has enough for a gang."""
    for slot in range(world.flags_RF[row, FIRST], world.flags_RF[row, END]):
        if world.more_RT[row, slot] > 0 and world.state.free_RT[row, slot] >= gang:
            return True
    return False


@kernel
def search_gained(contest: Contest, world: World, bid: int) -> bool:
    """Whether a row with more machines than before has a better place than world.best; enters it there."""
    facts, is_found = contest.facts, False
    limit, pattern = facts.bids.limit_N[bid], facts.bids.pattern_N[bid]
    if limit < facts.equal_cost_N[bid]:
        return False
    grams_left = world.state.grams_left_M[facts.bids.member_N[bid]]
    for index in range(world.num_I[0]):
        row = world.gained_R[index]
        if facts.patterns.ratio_SR[pattern, row] == 0 or facts.bids.first_N[bid] >= world.flags_RF[row, END]:
            continue
        if facts.bids.last_N[bid] <= world.flags_RF[row, FIRST] < facts.times.num_slots:
            continue
        ask = ask_of(facts, bid, row, hours_of(facts, bid, row))
        if ask > limit or (ask > world.best.cost_N[0] and ask > facts.equal_cost_N[bid]):
            continue
        if not gained_enough(world, row, facts.bids.gang_N[bid]):
            continue
        first, end = world.flags_RF[row, FIRST], world.flags_RF[row, END]
        free_RT, room = world.state.free_RT, world.room
        if search_row(facts, free_RT, grams_left, bid, row, first, end, limit, room, world.best, 0):
            is_found = True
    return is_found


@kernel
def set_as_it_was(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Put into world.best what the bid had chosen, or what a place must beat for it to choose otherwise."""
    if choices.kind_N[bid] == MARKET:
        copy_place(choices.places, bid, world.best, 0)
    elif is_entitled(contest, bid):
        copy_place(contest.own, bid, world.best, 0)
    else:
        set_none(world.best, 0)


@kernel
def needs_full_search(contest: Contest, world: World, choices: Choices, bid: int) -> bool:
    """Whether what the bid had chosen may be lost in this world, so that it must look everywhere again."""
    member, is_placed = contest.facts.bids.member_N[bid], choices.kind_N[bid] == MARKET
    if world.touched_M[member]:
        is_over = is_placed and choices.places.grams_N[bid] > world.state.grams_left_M[member]
        if is_over or choices.over_budget_N[bid]:
            return True
    if not is_placed or not world.flags_RF[choices.places.row_N[bid], LOST]:
        return False
    return not place_is_free(world, choices.places, bid, contest.facts.bids.gang_N[bid])


@kernel
def decide_anew(contest: Contest, world: World, bid: int) -> None:
    """Let a bid choose that had not chosen in this phase of the round as it was."""
    if decide(contest, world.state, bid, world.room, world.best) == MARKET:
        take(contest, world.state, bid, world.best, 0)
        differ(world, world.best, 0, -contest.facts.bids.gang_N[bid])
    world.touched_M[contest.facts.bids.member_N[bid]] = 1


@kernel
def leave_out(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Note that a bid does not take here what it took in this phase of the round as it was."""
    if choices.kind_N[bid] == MARKET:
        differ(world, choices.places, bid, contest.facts.bids.gang_N[bid])
    world.touched_M[contest.facts.bids.member_N[bid]] = 1


@kernel
def choose_again(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Let a bid choose that chose in this phase of the round as it was."""
    if needs_full_search(contest, world, choices, bid):
        new = decide(contest, world.state, bid, world.room, world.best)
    else:
        new = choices.kind_N[bid]
        is_changed = False
        if world.num_I[0]:
            set_as_it_was(contest, world, choices, bid)
            is_changed = search_gained(contest, world, bid)
        if not is_changed:
            if new == MARKET:
                take(contest, world.state, bid, choices.places, bid)
            return
        new = MARKET
    if new == MARKET:
        take(contest, world.state, bid, world.best, 0)
        differ(world, world.best, 0, -contest.facts.bids.gang_N[bid])
    leave_out(contest, world, choices, bid)


@kernel
def go_on(contest: Contest, world: World, choices: Choices, bid: int, phase: int) -> None:
    """Let another bid have its turn in the world without the one."""
    was_put_off = choices.put_off_N[bid] == 1
    if phase == MARKET_PHASE:
        is_touched = world.touched_M[contest.facts.bids.member_N[bid]]
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
def my_least(contest: Contest, world: World, bid: int) -> int:
    """The reserve of the best place that is free for the bid itself; NO_COST = there is none."""
    facts, mine = contest.facts, world.mine
    grams_left = world.state.grams_left_M[facts.bids.member_N[bid]]
    if mine.row_N[0] != NO_ROW:
        if mine.grams_N[0] <= grams_left and place_is_free(world, mine, 0, facts.bids.gang_N[bid]):
            return reserve_of(facts, mine, 0, bid)
        free_RT = world.state.free_RT
        if search_all(facts, contest.own, free_RT, grams_left, bid, NO_COST, world.room, mine, 0):
            return reserve_of(facts, mine, 0, bid)
        set_none(mine, 0)
    return reserve_of(facts, contest.own, bid, bid) if is_entitled(contest, bid) else NO_COST


@kernel
def look_for_mine(contest: Contest, world: World, bid: int) -> None:
    """Find the best place that is free for the bid itself, whatever it can pay."""
    facts, mine = contest.facts, world.mine
    grams_left = world.state.grams_left_M[facts.bids.member_N[bid]]
    free_RT = world.state.free_RT
    if not search_all(facts, contest.own, free_RT, grams_left, bid, NO_COST, world.room, mine, 0):
        set_none(mine, 0)


@kernel
def value_in_last_phase(
    contest: Contest, world: World, choices: Choices, bid: int, position: int, highest: int
) -> int:
    """The least limit below `highest` with which the bid wins in the last phase; else `highest`."""
    is_reached, least = False, NO_COST
    for index in range(position, len(contest.order_N)):
        other = contest.order_N[index]
        if choices.put_off_N[other] == 0 and world.put_off_N[other] == 0:
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
    look_for_mine(contest, world, bid)
    if phase != LAST_PHASE:
        least = my_least(contest, world, bid)
        capped = phase == MARKET_PHASE and is_capped(contest, world.state, bid)
        for index in range(position, len(contest.order_N)):
            other = contest.order_N[index]
            if is_entitled(contest, other) != (phase == OWN_PHASE):
                continue
            if other == bid:
                if choices.put_off_N[bid] == 0:
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
            is_put_off = phase == MARKET_PHASE and choices.put_off_N[bid] == 1
            if is_put_off or not has_turn(contest, choices, bid, phase):
                continue
            if first <= position < last and choices.kind_N[bid] == MARKET:
                reset_world(world, state, choices)
                payment_N[bid] = critical_value(contest, world, choices, bid, position, phase)
            elif first <= position < last and choices.kind_N[bid] == OWN:
                payment_N[bid] = reserve_of(contest.facts, contest.own, bid, bid)
            if choices.kind_N[bid] == MARKET:
                take(contest, state, bid, choices.places, bid)


@kernel
def winning_limit(contest: Contest, state: State, choices: Choices, world: World, bid: int) -> int:
    """The least limit with which a bid wins when all others stay as they are; NO_COST = none.

    Right for every bid, whether it won or lost. state is the one before the first turn, and is changed.
    """
    phase = OWN_PHASE if is_entitled(contest, bid) else MARKET_PHASE
    if phase == MARKET_PHASE:
        for other in contest.order_N:
            if is_entitled(contest, other) and choices.kind_N[other] == MARKET:
                take(contest, state, other, choices.places, other)
        release_all_own(contest, state, choices)
    reset_world(world, state, choices)
    return critical_value(contest, world, choices, bid, 0, phase)

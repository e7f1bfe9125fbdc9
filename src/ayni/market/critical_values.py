"""What winners pay: the least limit with which a bid still wins, found by letting others go on without it.

Without the bid, the others choose from its turn on. At each later turn that it might have, its best free
place has a reserve; the bid wins there if a limit that brings it this turn covers the reserve. Reserves rise
with later turns and limits fall, so the first turn where they cross tells the critical value. It is
never below the reserve of what the bid got, because what is free at a later turn was free before.

How the others go on is in `worlds`. Shapes: see `greedy`. Not covered: payments of several bids of a member
as one; each bid is priced alone.
"""

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.greedy import (
    LAST_PHASE,
    MAIN_PHASE,
    TAKEN,
    Choices,
    Contest,
    State,
    has_turn,
    is_before,
    is_capped,
    least_limit_before,
    reserve_of,
    take,
)
from ayni.market.place_search import is_no_place, search_all, set_none
from ayni.market.round_arrays import NO_COST, NO_ROW, Integers
from ayni.market.worlds import (
    LAST_ROW,
    MINE,
    World,
    go_on,
    known_from,
    leave_out,
    place_is_free,
    reset_world,
)


@kernel
def look_for_mine(contest: Contest, world: World, bid: int, known_cost: int) -> None:
    """Find the best places that are free for the bid itself, whatever it can pay."""
    facts, mine = contest.facts, world.mine
    grams_left, machines = world.state.grams_left_M[facts.bids[bid]["member"]], world.state.machines
    set_none(mine)
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
def my_least_anew(contest: Contest, world: World, bid: int) -> int:
    """As `my_least`, by a search that knows nothing of earlier turns."""
    facts = contest.facts
    place, grams_left = world.best, world.state.grams_left_M[facts.bids[bid]["member"]]
    set_none(place)
    search_all(
        facts,
        world.state.machines,
        grams_left,
        bid,
        facts.settings[0]["nothing_known"],
        facts.settings[0]["any_cost"],
        world.room,
        place,
    )
    return NO_COST if place[0]["row"] == NO_ROW else reserve_of(facts, place[0], bid)


@kernel
def my_least(contest: Contest, world: World, bid: int) -> int:
    """The reserve of the best place that is free for the bid itself; NO_COST = there is none."""
    facts, mine = contest.facts, world.mine
    if facts.settings[0]["has_lanes"] or facts.bids[bid]["may_rest"]:
        return my_least_anew(contest, world, bid)
    is_there = is_mine_free(contest, world, bid)
    while not is_there and world.num_I[MINE] == len(mine):
        look_for_mine(contest, world, bid, known_from(facts, bid, mine[len(mine) - 1]))
        is_there = is_mine_free(contest, world, bid)
    if is_there:
        return reserve_of(facts, mine[world.num_I[MINE]], bid)
    return NO_COST


@kernel
def may_mine_be_lost(contest: Contest, world: World, bid: int) -> bool:
    """Whether the last turn may have taken the best place of the bid itself, or its carbon budget."""
    at = world.num_I[MINE]
    if contest.facts.settings[0]["has_lanes"] or contest.facts.bids[bid]["may_rest"]:
        return bool(world.num_I[LAST_ROW] != NO_ROW)
    if at == len(world.mine) or world.mine[at]["row"] == world.num_I[LAST_ROW]:
        return True
    return world.state.grams_left_M[contest.facts.bids[bid]["member"]] < np.inf


@kernel
def is_won_before(contest: Contest, bid: int, least: int, other: int) -> bool:
    """Whether `least` brings the bid its turn before the other: `least` >= `least_limit_before`, cheaper."""
    return least == NO_COST or is_before(contest, bid, least, other)


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
        capped = phase == MAIN_PHASE and is_capped(contest, world.state, bid)
        for index in range(position, len(contest.order_N)):
            other = contest.order_N[index]
            if contest.facts.bids[other]["goes_first"]:
                continue
            if other == bid:
                if choices.notes[bid]["was_put_off"] == 0:
                    leave_out(contest, world, choices, bid)
                continue
            if not capped and is_won_before(contest, bid, least, other):
                return least
            go_on(contest, world, choices, other, phase)
            if capped:
                continue
            if phase == MAIN_PHASE and is_capped(contest, world.state, bid):
                # From here on the bid is put off: with less its turn comes in the last phase.
                capped, highest = True, least_limit_before(contest, bid, other)
                continue
            if may_mine_be_lost(contest, world, bid):
                least = my_least(contest, world, bid)
                if is_won_before(contest, bid, least, other):
                    return least_limit_before(contest, bid, other)
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

    state is the one before the first turn, and is changed.
    """
    for phase in range(MAIN_PHASE, LAST_PHASE + 1):
        for position in range(len(contest.order_N)):
            bid = contest.order_N[position]
            if choices.notes[bid]["kind"] != TAKEN or not has_turn(contest, choices, bid, phase):
                continue
            if choices.notes[bid]["was_put_off"] == (phase == LAST_PHASE):
                if first <= position < last:
                    reset_world(world, state, choices)
                    payment_N[bid] = critical_value(contest, world, choices, bid, position, phase)
                take(contest, state, bid, choices.places, bid)


@kernel
def winning_limit(contest: Contest, state: State, choices: Choices, world: World, bid: int) -> int:
    """The least limit with which a bid wins when all others stay as they are; NO_COST = none.

    Right for every bid that does not go first, whether it won or lost. state is the one before the first
    turn, and is changed.
    """
    reset_world(world, state, choices)
    return critical_value(contest, world, choices, bid, 0, MAIN_PHASE)

"""The round as it would go on without one bid, found from the round as it was: kernels.

Searching again for each of the others would take hours at 10,000 bids. Two worlds are compared instead: the
round as it was ("with"), whose choices are known, and the one without the bid. As long as machines differ in
a few rows only, another bid's choice can differ only if its place was lost there, or if one of those rows now
has more machines free. So most turns cost a few comparisons.

Shapes: see `greedy`. Not covered: what the bid pays then (`critical_values`).
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.free_machines import LANE, NUM_IN_LANE, is_free
from ayni.market.greedy import (
    LAST_PHASE,
    MAIN_PHASE,
    NOT_TAKEN,
    POSSIBLE,
    TAKEN,
    WANTED,
    WORD_BITS,
    Choices,
    Contest,
    State,
    copy_of,
    decide,
    is_capped,
    num_words,
    take,
)
from ayni.market.place_costs import hours_of, least_cost_of, num_slots_of
from ayni.market.place_search import (
    Room,
    is_no_place,
    make_room,
    may_have_place,
    no_places,
    search_all,
    search_row,
    set_none,
)
from ayni.market.round_arrays import NO_ROW, Facts, Integers, Record, Records

DIFFERENCES = np.dtype(
    [("gained", np.int64), ("lost", np.int64), ("first", np.int64), ("end", np.int64)], align=True
)
"""Of a row: whether it has slots with more or with fewer machines than in the round as it was, and the first
such gained slot and the one after the last."""

NUM_GAINED, MINE, LAST_ROW = 0, 1, 2
"""Indices into the numbers of a world."""
FEW_GAINED = 16
"""Rows that are looked at one by one to see whether a bid wants any; of more, words of bits are compared."""
NUM_MINE = 12
"""Places of the bid that is priced which are kept in mind; when all are lost they are searched for again."""


class World(NamedTuple):
    """The round without one bid, and where it differs from the round as it was.

    more_RT counts machines that are free here and not there, rows sums that up (see DIFFERENCES). gained_R
    lists the rows with more, num_I[NUM_GAINED] of them, and gained_W has a bit for each. mine are the best
    places of the bid that is priced, of which those before num_I[MINE] are lost. num_I[LAST_ROW] is the row
    where machines were taken last, NO_ROW if none were in this turn. touched_M says of which members budgets
    and shares may differ. put_off_N is as in Choices.
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
        np.zeros(3, dtype=np.int64),
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
        world.state.machines.mask_RW[row, 0] = state.machines.mask_RW[row, 0]
        for index in range(NUM_IN_LANE, LANE + state.machines.mask_RW[row, NUM_IN_LANE]):
            world.state.machines.mask_RW[row, index] = state.machines.mask_RW[row, index]
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
def is_wanted(contest: Contest, world: World, choices: Choices, bid: int, which: int, row: int) -> bool:
    """Whether the bid wants a row (see `Choices`) that has more machines than before in its time."""
    if not choices.wanted_NKW[bid, which, row // WORD_BITS] & (1 << (row % WORD_BITS)):
        return False
    bids, first = contest.facts.bids, world.rows[row]["first"]
    is_early = bids[bid]["last"] <= first < contest.facts.settings[0]["num_slots"]
    return bids[bid]["first"] < world.rows[row]["end"] and not is_early


@kernel
def gained_any(contest: Contest, world: World, choices: Choices, bid: int, which: int) -> bool:
    """Whether one of the rows that the bid wants (see `Choices`) has more machines than before."""
    if world.num_I[NUM_GAINED] <= FEW_GAINED:
        for index in range(world.num_I[NUM_GAINED]):
            if is_wanted(contest, world, choices, bid, which, world.gained_R[index]):
                return True
        return False
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
    if limit < equal_cost or not gained_any(contest, world, choices, bid, which):
        return False
    grams_left = world.state.grams_left_M[facts.bids[bid]["member"]]
    for index in range(world.num_I[NUM_GAINED]):
        row = world.gained_R[index]
        if not is_wanted(contest, world, choices, bid, which, row):
            continue
        hours, machines, room = hours_of(facts, bid, row), world.state.machines, world.room
        least_cost = least_cost_of(facts, bid, row, hours)
        if least_cost > limit or (least_cost > world.best[0]["cost"] and least_cost > equal_cost):
            continue
        first, end = world.rows[row]["first"], world.rows[row]["end"]
        earliest = max(0, first - num_slots_of(hours / facts.settings[0]["slot_hours"]) + 1)
        is_possible = may_have_place(facts, machines, bid, row, hours, earliest, end)
        if not (is_possible or facts.bids[bid]["may_rest"]):
            continue
        if not gained_enough(world, row, facts.bids[bid]["gang"]):
            continue
        if search_row(facts, machines, grams_left, bid, row, first, end, limit, room, world.best):
            is_found = True
    return is_found


@kernel
def set_as_it_was(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Put into world.best what the bid had chosen, or what a place must beat for it to choose otherwise."""
    if choices.notes[bid]["kind"] == TAKEN:
        world.best[0] = choices.places[bid]
    else:
        set_none(world.best)


@kernel
def may_be_over_budget(contest: Contest, world: World, choices: Choices, bid: int) -> bool:
    """Whether the carbon budget of the bid's member may make it choose otherwise in this world."""
    member = contest.facts.bids[bid]["member"]
    if not world.touched_M[member]:
        return False
    is_placed = choices.notes[bid]["kind"] == TAKEN
    is_over = is_placed and choices.places[bid]["grams"] > world.state.grams_left_M[member]
    return is_over or choices.notes[bid]["was_over_budget"] == 1


@kernel
def lost_its_place(contest: Contest, world: World, choices: Choices, bid: int) -> bool:
    """Whether the place that the bid had chosen is not free in this world."""
    if choices.notes[bid]["kind"] != TAKEN or not world.rows[choices.places[bid]["row"]]["lost"]:
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
    set_none(world.best)
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
        return TAKEN if is_found else NOT_TAKEN
    known_cost = known_from(facts, bid, choices.next_NK[bid, choices.next_NK.shape[1] - 1])
    if search_all(facts, state.machines, grams_left, bid, known_cost, limit, world.room, world.best):
        is_found = True
    return TAKEN if is_found else NOT_TAKEN


@kernel
def take_here(contest: Contest, world: World, bid: int, places: Records, at: int) -> None:
    """As `take`, and note the row."""
    take(contest, world.state, bid, places, at)
    world.num_I[LAST_ROW] = places[at]["row"]


@kernel
def decide_anew(contest: Contest, world: World, bid: int) -> None:
    """Let a bid choose that had not chosen in this phase of the round as it was."""
    if decide(contest, world.state, bid, world.room, world.best) == TAKEN:
        take_here(contest, world, bid, world.best, 0)
        if not contest.facts.settings[0]["has_lanes"]:
            differ(world, world.best, 0, -contest.facts.bids[bid]["gang"])
    world.touched_M[contest.facts.bids[bid]["member"]] = 1


@kernel
def leave_out(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Note that a bid does not take here what it took in this phase of the round as it was."""
    if choices.notes[bid]["kind"] == TAKEN and not contest.facts.settings[0]["has_lanes"]:
        differ(world, choices.places, bid, contest.facts.bids[bid]["gang"])
    world.touched_M[contest.facts.bids[bid]["member"]] = 1


@kernel
def choose_again(contest: Contest, world: World, choices: Choices, bid: int) -> None:
    """Let a bid choose that chose in this phase of the round as it was."""
    if may_be_over_budget(contest, world, choices, bid):
        new = decide(contest, world.state, bid, world.room, world.best)
    elif lost_its_place(contest, world, choices, bid):
        # Work that rests in between may be divided otherwise, which is none of the places that were next.
        if contest.facts.bids[bid]["may_rest"]:
            new = decide(contest, world.state, bid, world.room, world.best)
        else:
            new = look_elsewhere(contest, world, choices, bid)
    else:
        new, is_changed = choices.notes[bid]["kind"], False
        if gained_any(contest, world, choices, bid, WANTED):
            set_as_it_was(contest, world, choices, bid)
            is_changed = search_gained(contest, world, choices, bid, WANTED)
        if not is_changed:
            if new == TAKEN:
                take_here(contest, world, bid, choices.places, bid)
            return
        new = TAKEN
    if new == TAKEN:
        take_here(contest, world, bid, world.best, 0)
        differ(world, world.best, 0, -contest.facts.bids[bid]["gang"])
    leave_out(contest, world, choices, bid)


@kernel
def go_on(contest: Contest, world: World, choices: Choices, bid: int, phase: int) -> None:
    """Let another bid have its turn in the world without the one."""
    world.num_I[LAST_ROW] = NO_ROW
    was_put_off = choices.notes[bid]["was_put_off"] == 1
    if contest.facts.settings[0]["has_lanes"]:
        # A promise in a lane can rule out any place in its row, which no difference of machines tells.
        if phase == MAIN_PHASE:
            world.put_off_N[bid] = 1 if is_capped(contest, world.state, bid) else 0
        if (phase == LAST_PHASE) == (world.put_off_N[bid] == 1):
            decide_anew(contest, world, bid)
        return
    if phase == MAIN_PHASE:
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

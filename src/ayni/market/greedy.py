"""Who gets what: kernels of the greedy rule.

Bids are taken in the order of their keys, and each takes the best place that is free if it can pay for it.

    key = weight * (limit - offset) / work ** exponent

There are three phases:

    0  bids that have their own machines reserved: they keep those or take a better place that nobody holds;
       what they leave is free from the next phase on
    1  the others; those of members at their cap are put off
    2  those that were put off, on what is left

Within a phase machines are only ever taken. So what a bid must pay can only rise with a later turn, and a bid
that wins with some limit wins with every higher one: that makes payments possible (`critical_values`).

Source: Lehmann, O'Callaghan and Shoham, "Truth revelation in approximately efficient combinatorial auctions",
JACM 49(5), 2002, for the order by worth over the root of the size. Offsets, reservations and places of equal
value are ours.

Shapes: see `round_arrays` and `place_search`; Q resources. Not covered: improving the result afterwards, which
would break that a higher limit never loses.
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.place_search import (
    NO_COST,
    NO_ROW,
    OVER_BUDGET,
    Facts,
    Places,
    Room,
    copy_place,
    move_machines,
    search_all,
)
from ayni.market.round_arrays import Floats, Integers

NOT_TAKEN, OWN, MARKET, PUT_OFF = 0, 1, 2, 3
"""What a bid chose: nothing, its reserved own machines, a place on the market; or it is not decided yet."""
OWN_PHASE, MARKET_PHASE, LAST_PHASE = 0, 1, 2


class Contest(NamedTuple):
    """What does not change while bids choose.

    scale_N and offset_N make keys; order_N lists bids from the highest key, ties by tie_N. own are reserved
    machines. resources_RQ is the share of each resource of the pool that a machine takes in a slot.
    """

    facts: Facts
    own: Places
    scale_N: Floats
    offset_N: Floats
    tie_N: Integers
    order_N: Integers
    resources_RQ: Floats
    cap_M: Floats


class State(NamedTuple):
    """What does change: free machines, what is left of carbon budgets, and shares of others' machines."""

    free_RT: Integers
    grams_left_M: Floats
    share_MQ: Floats


class Choices(NamedTuple):
    """What each bid chose, and where (for MARKET). put_off_N and over_budget_N say what the choice met."""

    kind_N: Integers
    places: Places
    put_off_N: Integers
    over_budget_N: Integers


def copy_of(state: State) -> State:
    """A state that can be changed on its own."""
    return State(state.free_RT.copy(), state.grams_left_M.copy(), state.share_MQ.copy())


@kernel
def is_entitled(contest: Contest, bid: int) -> bool:
    """Whether the bid has its own machines reserved."""
    return contest.own.row_N[bid] != NO_ROW


@kernel
def is_capped(contest: Contest, state: State, bid: int) -> bool:
    """Whether the bid's member has its cap of others' machines already."""
    member = contest.facts.bids.member_N[bid]
    for resource in range(state.share_MQ.shape[1]):
        if state.share_MQ[member, resource] >= contest.cap_M[member]:
            return True
    return False


@kernel
def reserve_of(facts: Facts, places: Places, at: int, bid: int) -> int:
    """The least that is paid for a place: its cost, or the most that counts as equal to the cheapest."""
    return facts.equal_cost_N[bid] if places.group_N[at] == 0 else places.cost_N[at]


@kernel
def decide(contest: Contest, state: State, bid: int, room: Room, best: Places) -> int:
    """What the bid chooses of what is free; a place on the market is in best[0]."""
    facts, limit = contest.facts, contest.facts.bids.limit_N[bid]
    if limit < facts.equal_cost_N[bid]:
        return NOT_TAKEN
    grams_left = state.grams_left_M[facts.bids.member_N[bid]]
    if search_all(facts, contest.own, state.free_RT, grams_left, bid, limit, room, best, 0):
        return MARKET
    is_kept = is_entitled(contest, bid) and reserve_of(facts, contest.own, bid, bid) <= limit
    return OWN if is_kept else NOT_TAKEN


@kernel
def take(contest: Contest, state: State, bid: int, places: Places, at: int) -> None:
    """Take the machines and the carbon of a place; others' machines count towards the member's cap."""
    facts, row, gang = contest.facts, places.row_N[at], contest.facts.bids.gang_N[bid]
    member, num_slots = facts.bids.member_N[bid], 0
    move_machines(state.free_RT, places, at, -gang)
    state.grams_left_M[member] -= places.grams_N[at]
    if facts.rows.member_R[row] != member and not is_entitled(contest, bid):
        for piece in range(places.num_pieces_N[at]):
            num_slots += places.ends_NP[at, piece] - places.starts_NP[at, piece]
        for resource in range(state.share_MQ.shape[1]):
            state.share_MQ[member, resource] += gang * num_slots * contest.resources_RQ[row, resource]


@kernel
def choose(
    contest: Contest, state: State, bid: int, phase: int, room: Room, best: Places, choices: Choices
) -> None:
    """Let a bid choose in its turn, and note it."""
    if phase == MARKET_PHASE and is_capped(contest, state, bid):
        choices.kind_N[bid], choices.put_off_N[bid] = PUT_OFF, 1
        return
    room.notes_I[OVER_BUDGET] = 0
    kind = decide(contest, state, bid, room, best)
    choices.kind_N[bid] = kind
    choices.over_budget_N[bid] = room.notes_I[OVER_BUDGET]
    if kind == MARKET:
        copy_place(best, 0, choices.places, bid)
        take(contest, state, bid, best, 0)


@kernel
def release_own(contest: Contest, state: State, bid: int) -> None:
    """Give back what was reserved for a bid that did not keep it."""
    facts = contest.facts
    move_machines(state.free_RT, contest.own, bid, facts.bids.gang_N[bid])
    state.grams_left_M[facts.bids.member_N[bid]] += contest.own.grams_N[bid]


@kernel
def release_all_own(contest: Contest, state: State, choices: Choices) -> None:
    """Give back all reservations that were not kept, between the first two phases."""
    for bid in contest.order_N:
        if is_entitled(contest, bid) and choices.kind_N[bid] != OWN:
            release_own(contest, state, bid)


@kernel
def has_turn(contest: Contest, choices: Choices, bid: int, phase: int) -> bool:
    """Whether the bid has its turn in a phase."""
    if phase == LAST_PHASE:
        return choices.put_off_N[bid] == 1
    return is_entitled(contest, bid) == (phase == OWN_PHASE)


@kernel
def clear_greedily(contest: Contest, state: State, choices: Choices, room: Room, best: Places) -> None:
    """All three phases; fills choices and changes the state."""
    for phase in range(LAST_PHASE + 1):
        if phase == MARKET_PHASE:
            release_all_own(contest, state, choices)
        for bid in contest.order_N:
            if has_turn(contest, choices, bid, phase):
                choose(contest, state, bid, phase, room, best, choices)


@kernel
def key_of(contest: Contest, bid: int, limit: int) -> float:
    """The key of a bid that can pay so much."""
    return (limit - contest.offset_N[bid]) * contest.scale_N[bid]


@kernel
def is_before(contest: Contest, bid: int, limit: int, other: int) -> bool:
    """Whether the bid, could it pay so much, would have its turn before the other."""
    key = key_of(contest, bid, limit)
    other_key = key_of(contest, other, contest.facts.bids.limit_N[other])
    return key > other_key or (key == other_key and contest.tie_N[bid] < contest.tie_N[other])


@kernel
def least_limit_before(contest: Contest, bid: int, other: int) -> int:
    """The least limit with which the bid has its turn before the other; NO_COST = none is."""
    other_key = key_of(contest, other, contest.facts.bids.limit_N[other])
    guess = other_key / contest.scale_N[bid] + contest.offset_N[bid]
    if guess > NO_COST / 4:
        return NO_COST
    limit = max(0, int(np.floor(guess)))
    # Products of floats are off by a few units in the last place: the neighbours decide.
    while limit > 0 and is_before(contest, bid, limit - 1, other):
        limit -= 1
    while not is_before(contest, bid, limit, other):
        limit += 1
    return limit

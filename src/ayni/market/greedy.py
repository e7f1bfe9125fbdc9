"""Who gets what: kernels of the greedy rule.

Bids are taken in the order of their keys, and each takes the best place that is free if it can pay for it.

    key = weight * (limit - offset) / work ** exponent

There are two phases, of bids that have no place yet by right of their own machines (`own_machines_first`):

    1  all of them; those of members at their cap are put off
    2  those that were put off, on what is left

Machines are only ever taken. So what a bid must pay can only rise with a later turn, and a bid that wins
with some limit wins with every higher one: that makes payments possible (`critical_values`).

Source: Lehmann, O'Callaghan and Shoham, "Truth revelation in approximately efficient combinatorial auctions",
JACM 49(5), 2002, for the order by worth over the root of the size. Offsets and places of equal value are
ours.

Shapes: see `round_arrays` and `place_search`; Q resources. Not covered: improving the result afterwards,
which would break that a higher limit never loses.
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.free_machines import Machines, move_machines
from ayni.market.lanes import join_lane
from ayni.market.place_costs import hours_of, least_cost_of, num_slots_of
from ayni.market.place_search import OVER_BUDGET, Room, no_places, search_all, set_none
from ayni.market.round_arrays import NO_COST, Facts, Floats, Integers, Record, Records

NOT_TAKEN, TAKEN, PUT_OFF = 0, 1, 2
"""What a bid chose: nothing or a place; or it is not decided yet."""
MAIN_PHASE, LAST_PHASE = 1, 2
WANTED, POSSIBLE = 0, 1
WORD_BITS = 62
NUM_NEXT = 12
"""Places beside the chosen one that are kept in mind for the payments. Fewer must be searched for again."""


class Contest(NamedTuple):
    """What does not change while bids choose.

    order_N lists bids from the highest key. resources_RQ is the share of each resource of the pool that a
    machine takes in a slot.
    """

    facts: Facts
    order_N: Integers
    resources_RQ: Floats
    cap_M: Floats


class State(NamedTuple):
    """What does change: free machines, what is left of carbon budgets, and shares of others' machines."""

    machines: Machines
    grams_left_M: Floats
    share_MQ: Floats


class Choices(NamedTuple):
    """What each bid chose (see NOTES), and where.

    next_NK are the best places beside that were free too, from the best on; without place where there are
    fewer. wanted_NKW has a bit for each row: in [n, WANTED] for those where bid n would rather be, and in
    [n, POSSIBLE] for those that it could pay.
    """

    notes: Records
    places: Records
    next_NK: Records
    wanted_NKW: Integers


NOTES = np.dtype(
    [
        ("kind", np.int64),
        ("was_put_off", np.int64),
        ("was_over_budget", np.int64),
        ("least", np.int64),
    ],
    align=True,
)
"""What a bid chose, whether that was put off, whether a carbon budget was in its way, and, of one that goes
first, the least limit with which it gets a place (NO_COST = none would do)."""


def num_words(num_rows: int) -> int:
    """Whole numbers that hold one bit for each row."""
    return num_rows // WORD_BITS + 1


def no_choices(num_bids: int, num_rows: int) -> Choices:
    """Room for the choices of so many bids among so many rows."""
    next_NK = no_places(num_bids * NUM_NEXT).reshape(num_bids, NUM_NEXT)
    wanted_NKW = np.zeros((num_bids, 2, num_words(num_rows)), dtype=np.int64)
    return Choices(np.zeros(num_bids, dtype=NOTES), no_places(num_bids), next_NK, wanted_NKW)


def copy_of(state: State) -> State:
    """A state that can be changed on its own."""
    return State(
        Machines._make(array.copy() for array in state.machines),
        state.grams_left_M.copy(),
        state.share_MQ.copy(),
    )


@kernel
def is_capped(contest: Contest, state: State, bid: int) -> bool:
    """Whether the bid's member has its cap of others' machines already."""
    member = contest.facts.bids[bid]["member"]
    for resource in range(state.share_MQ.shape[1]):
        if state.share_MQ[member, resource] >= contest.cap_M[member]:
            return True
    return False


@kernel
def reserve_of(facts: Facts, place: Record, bid: int) -> int:
    """The least that is paid for a place: its cost, or the most that counts as equal to the cheapest."""
    return int(facts.bids[bid]["equal_cost"] if place["group"] == 0 else place["cost"])


@kernel
def decide(contest: Contest, state: State, bid: int, room: Room, best: Records) -> int:
    """What the bid chooses of what is free; a place is in best[0]."""
    facts, limit = contest.facts, contest.facts.bids[bid]["limit"]
    if limit < facts.bids[bid]["equal_cost"]:
        return NOT_TAKEN
    grams_left = state.grams_left_M[facts.bids[bid]["member"]]
    set_none(best)
    is_found = search_all(
        facts, state.machines, grams_left, bid, facts.settings[0]["nothing_known"], limit, room, best
    )
    return TAKEN if is_found else NOT_TAKEN


@kernel
def take(contest: Contest, state: State, bid: int, places: Records, at: int) -> None:
    """Take the machines and the carbon of a place; others' machines count towards the member's cap."""
    facts, row, gang = contest.facts, places[at]["row"], contest.facts.bids[bid]["gang"]
    member, num_slots = facts.bids[bid]["member"], 0
    if places[at]["num_pieces"] == 0:
        join_lane(state.machines, row, bid)
        num_slots = num_slots_of(places[at]["hours"] / facts.settings[0]["slot_hours"])
    else:
        move_machines(state.machines, places, at, -gang)
        for piece in range(places[at]["num_pieces"]):
            num_slots += places[at]["ends"][piece] - places[at]["starts"][piece]
    state.grams_left_M[member] -= places[at]["grams"]
    if facts.rows[row]["member"] != member and not facts.bids[bid]["goes_first"]:
        for resource in range(state.share_MQ.shape[1]):
            state.share_MQ[member, resource] += gang * num_slots * contest.resources_RQ[row, resource]


@kernel
def choose(
    contest: Contest, state: State, bid: int, phase: int, room: Room, best: Records, choices: Choices
) -> None:
    """Let a bid choose in its turn, and note it."""
    if phase == MAIN_PHASE and is_capped(contest, state, bid):
        choices.notes[bid]["kind"], choices.notes[bid]["was_put_off"] = PUT_OFF, 1
        return
    room.notes_I[OVER_BUDGET] = 0
    kind = decide(contest, state, bid, room, best)
    choices.notes[bid]["kind"] = kind
    choices.notes[bid]["was_over_budget"] = room.notes_I[OVER_BUDGET]
    if kind == TAKEN:
        choices.places[bid] = best[0]
        for index in range(1, len(best)):
            choices.next_NK[bid, index - 1] = best[index]
        take(contest, state, bid, best, 0)


@kernel
def has_turn(contest: Contest, choices: Choices, bid: int, phase: int) -> bool:
    """Whether the bid has its turn in a phase."""
    if phase == LAST_PHASE:
        return choices.notes[bid]["was_put_off"] == 1
    return contest.facts.bids[bid]["goes_first"] == 0


@kernel
def clear_greedily(contest: Contest, state: State, choices: Choices, room: Room, best: Records) -> None:
    """Both phases; fills choices and changes the state."""
    for phase in range(MAIN_PHASE, LAST_PHASE + 1):
        for bid in contest.order_N:
            if has_turn(contest, choices, bid, phase):
                choose(contest, state, bid, phase, room, best, choices)


@kernel
def note_wanted(contest: Contest, choices: Choices, first: int, last: int) -> None:
    """Fill in where the bids in [first, last) would rather be than where they are."""
    facts = contest.facts
    for bid in range(first, last):
        limit, equal_cost = facts.bids[bid]["limit"], facts.bids[bid]["equal_cost"]
        kind, pattern = choices.notes[bid]["kind"], facts.bids[bid]["pattern"]
        chosen = choices.places[bid]["cost"] if kind == TAKEN else NO_COST
        for row in range(len(facts.rows)):
            if facts.ratio_SR[pattern, row] == 0 or facts.rows[row]["most_free"] < facts.bids[bid]["gang"]:
                continue
            least_cost = least_cost_of(facts, bid, row, hours_of(facts, bid, row))
            if least_cost > limit:
                continue
            word, bit = row // WORD_BITS, 1 << (row % WORD_BITS)
            choices.wanted_NKW[bid, POSSIBLE, word] |= bit
            if least_cost <= max(chosen, equal_cost):
                choices.wanted_NKW[bid, WANTED, word] |= bit


@kernel
def key_of(contest: Contest, bid: int, limit: int) -> float:
    """The key of a bid that can pay so much."""
    return (limit - contest.facts.bids[bid]["offset"]) * contest.facts.bids[bid]["scale"]


@kernel
def is_before(contest: Contest, bid: int, limit: int, other: int) -> bool:
    """Whether the bid, could it pay so much, would have its turn before the other."""
    key = key_of(contest, bid, limit)
    other_key = key_of(contest, other, contest.facts.bids[other]["limit"])
    return key > other_key or (
        key == other_key and contest.facts.bids[bid]["tie"] < contest.facts.bids[other]["tie"]
    )


@kernel
def least_limit_before(contest: Contest, bid: int, other: int) -> int:
    """The least limit with which the bid has its turn before the other; NO_COST = none is."""
    other_key = key_of(contest, other, contest.facts.bids[other]["limit"])
    guess = other_key / contest.facts.bids[bid]["scale"] + contest.facts.bids[bid]["offset"]
    if guess > NO_COST / 4:
        return NO_COST
    limit = max(0, int(np.floor(guess)))
    # Products of floats are off by a few units in the last place: the neighbours decide.
    while limit > 0 and is_before(contest, bid, limit - 1, other):
        limit -= 1
    while not is_before(contest, bid, limit, other):
        limit += 1
    return limit

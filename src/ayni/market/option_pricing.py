"""The best options of each bid at given prices of machines: the columns of the welfare bound.

    surplus = worth - cost - sum of the gang's prices of its slots

Unlike the search of a round this looks at worth, and at every place and start.

Shapes: see `round_arrays`; O columns. Not covered: work that is suspended.
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import fast, kernel
from ayni.market.free_machines import Machines, machines_of
from ayni.market.place_costs import ask_of, carbon_charge, cost_without_carbon, grams_of, hours_of, keeps_cap
from ayni.market.place_search import Room, find_starts, make_room
from ayni.market.round_arrays import Facts, Floats, Integers, RoundArrays


class Columns(NamedTuple):
    """Options as columns: whose, where, when ([start, end) in slots), and worth minus cost."""

    bid_O: Integers
    row_O: Integers
    start_O: Integers
    end_O: Integers
    gain_O: Floats


class Best(NamedTuple):
    """The best columns of each bid; surplus_NK is from the best down, 0 = no column."""

    surplus_NK: Floats
    gain_NK: Floats
    row_NK: Integers
    start_NK: Integers
    end_NK: Integers


@kernel
def insert_best(best: Best, bid: int, surplus: float, gain: float, row: int, start: int, end: int) -> None:
    """Enter a column if it is among the best of its bid."""
    place = best.surplus_NK.shape[1] - 1
    if surplus <= best.surplus_NK[bid, place]:
        return
    while place > 0 and best.surplus_NK[bid, place - 1] < surplus:
        best.surplus_NK[bid, place] = best.surplus_NK[bid, place - 1]
        best.gain_NK[bid, place] = best.gain_NK[bid, place - 1]
        best.row_NK[bid, place] = best.row_NK[bid, place - 1]
        best.start_NK[bid, place] = best.start_NK[bid, place - 1]
        best.end_NK[bid, place] = best.end_NK[bid, place - 1]
        place -= 1
    best.surplus_NK[bid, place], best.gain_NK[bid, place] = surplus, gain
    best.row_NK[bid, place] = row
    best.start_NK[bid, place], best.end_NK[bid, place] = start, end


@kernel
def find_best(
    facts: Facts, machines: Machines, until_GRT: Floats, size_N: Integers, best: Best, room: Room
) -> None:
    """Fill `best`. until_GRT[size_N[n], r, t] is the sum of prices for the gang of bid n before slot t."""
    num_slots = machines.free_RT.shape[1]
    for bid in range(len(facts.bids)):
        pattern, last = facts.bids[bid]["pattern"], best.surplus_NK.shape[1] - 1
        limit, size = facts.bids[bid]["limit"], size_N[bid]
        for index in range(facts.patterns[pattern]["num_rows"]):
            row = facts.order_SR[pattern, index]
            hours = hours_of(facts, bid, row)
            if limit - ask_of(facts, bid, row, hours) <= best.surplus_NK[bid, last]:
                break
            slots = hours / facts.settings[0]["slot_hours"]
            for which in range(find_starts(facts, machines, bid, row, slots, 0, num_slots, room)):
                start, end = room.starts_T[which], room.ends_T[which]
                grams = grams_of(facts, bid, row, start, slots)
                if keeps_cap(facts, bid, row, grams):
                    cost = cost_without_carbon(facts, bid, row, hours) + carbon_charge(facts, grams)
                    gain = float(limit - cost)
                    prices = until_GRT[size, row, end] - until_GRT[size, row, start]
                    insert_best(best, bid, gain - prices, gain, row, start, end)


def best_at_prices(
    arrays: RoundArrays, price_GRT: Floats, gang_G: Integers, *, num_columns: int
) -> tuple[Floats, Columns]:
    """The surplus of each bid at prices (0 where it would not run), and its best columns.

    price_GRT[g] are the prices of a row's slot for a gang of gang_G[g] machines; gang_G is in order.
    """
    num_bids, (num_sizes, num_rows, num_slots) = len(arrays.facts.bids), price_GRT.shape

    def whole() -> Integers:
        return np.zeros((num_bids, num_columns), dtype=np.int64)

    best = Best(
        np.zeros((num_bids, num_columns)), np.zeros((num_bids, num_columns)), whole(), whole(), whole()
    )
    until_GRT = np.zeros((num_sizes, num_rows, num_slots + 1))
    until_GRT[:, :, 1:] = np.cumsum(price_GRT, axis=2)
    size_N = np.searchsorted(gang_G, arrays.facts.bids["gang"])
    find = fast(find_best, work=num_bids * num_rows * num_slots)
    machines, room = machines_of(arrays.facts.free_RT), make_room(arrays.facts)
    find(arrays.facts, machines, until_GRT, size_N, best, room)
    is_there = best.surplus_NK > 0
    columns = Columns(
        bid_O=np.nonzero(is_there)[0].astype(np.int64),
        row_O=best.row_NK[is_there],
        start_O=best.start_NK[is_there],
        end_O=best.end_NK[is_there],
        gain_O=best.gain_NK[is_there],
    )
    return best.surplus_NK[:, 0], columns


def without_known(known: Columns, found: Columns) -> Columns:
    """Both together, each column once."""
    pairs = zip(known, found, strict=True)
    joined = Columns._make(np.concatenate(pair) for pair in pairs)
    keys = np.stack([joined.bid_O, joined.row_O, joined.start_O])
    _, first = np.unique(keys, axis=1, return_index=True)
    return Columns._make(column[np.sort(first)] for column in joined)

"""The best options of each bid at given prices of machines: the columns of the welfare bound.

    surplus = worth - cost - gang * sum of the prices of its slots

Unlike the search of a round this looks at worth, and at every place and start.

Shapes: see `round_arrays`; O columns. Not covered: work that is suspended.
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import fast, kernel
from ayni.market.place_search import (
    Facts,
    Room,
    ask_of,
    cost_of,
    find_starts,
    grams_of,
    hours_of,
    keeps_cap,
    make_room,
)
from ayni.market.round_arrays import Floats, Integers, RoundArrays


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
def find_best(facts: Facts, until_RT: Floats, best: Best, room: Room) -> None:
    """Fill `best`. until_RT[r, t] is the sum of a machine's prices before slot t."""
    free_RT = facts.rows.free_RT
    for bid in range(len(facts.bids.limit_N)):
        pattern, last = facts.bids.pattern_N[bid], best.surplus_NK.shape[1] - 1
        limit, gang = facts.bids.limit_N[bid], facts.bids.gang_N[bid]
        for index in range(facts.patterns.num_S[pattern]):
            row = facts.patterns.order_SR[pattern, index]
            hours = hours_of(facts, bid, row)
            if limit - ask_of(facts, bid, row, hours) <= best.surplus_NK[bid, last]:
                break
            slots = hours / facts.times.slot_hours
            for which in range(find_starts(facts, free_RT, bid, row, slots, 0, free_RT.shape[1], room)):
                start, end = room.starts_T[which], room.ends_T[which]
                grams = grams_of(facts, bid, row, start, slots)
                if keeps_cap(facts, bid, row, grams):
                    gain = float(limit - cost_of(facts, bid, row, hours, grams))
                    prices = gang * (until_RT[row, end] - until_RT[row, start])
                    insert_best(best, bid, gain - prices, gain, row, start, end)


def best_at_prices(arrays: RoundArrays, price_RT: Floats, *, num_columns: int) -> tuple[Floats, Columns]:
    """The surplus of each bid at prices (0 where it would not run), and its best columns."""
    num_bids, num_rows = len(arrays.bids.limit_N), len(price_RT)

    def whole() -> Integers:
        return np.zeros((num_bids, num_columns), dtype=np.int64)

    best = Best(
        np.zeros((num_bids, num_columns)), np.zeros((num_bids, num_columns)), whole(), whole(), whole()
    )
    until_RT = np.zeros((num_rows, price_RT.shape[1] + 1))
    until_RT[:, 1:] = np.cumsum(price_RT, axis=1)
    find = fast(find_best, work=num_bids * num_rows * price_RT.shape[1])
    equal_cost_N = np.full(num_bids, -1, dtype=np.int64)
    facts = Facts(arrays.rows, arrays.bids, arrays.patterns, arrays.times, equal_cost_N)
    find(facts, until_RT, best, make_room(facts))
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
    joined = Columns(*(np.concatenate(pair) for pair in zip(known, found, strict=True)))
    keys = np.stack([joined.bid_O, joined.row_O, joined.start_O])
    _, first = np.unique(keys, axis=1, return_index=True)
    return Columns(*(column[np.sort(first)] for column in joined))

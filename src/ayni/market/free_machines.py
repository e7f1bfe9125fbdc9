"""Free machines by row and slot, with a summary that tells at a glance where none are: kernels.

Shapes: see `round_arrays`. Not covered: who takes them (`greedy`).
"""

from typing import NamedTuple

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.round_arrays import Integers, Record, Records

MASK_BITS = 62
NUM_IN_LANE, LANE = 1, 2
"""Columns of `Machines.mask_RW`: how many bids wait in a row's lane, and the first of them."""
MOST_IN_LANE = 8
"""Wide gangs whose hours in a row may wait (see `lanes`); the time that this takes doubles with each."""


class Machines(NamedTuple):
    """Free machines by row and slot (the tail last), and a summary that tells at a glance where none are.

    Bit b of mask_RW[r, 0] says that some slot of bin b (see `bin_slots`) has a free machine. mask_RW[r, 1]
    counts bids that were promised hours in row r and have no machines yet (see `lanes`); they stand behind
    it. One array holds both, because each more that kernels are handed takes time in large rounds.
    """

    free_RT: Integers
    mask_RW: Integers


@kernel
def bin_slots(num_slots: int) -> int:
    """Slots in one bin of a mask, such that all slots and the tail fit into MASK_BITS bins."""
    return num_slots // MASK_BITS + 1


def machines_of(free_RT: Integers) -> Machines:
    """A copy of free machines with its mask."""
    first_B = np.arange(0, free_RT.shape[1], bin_slots(free_RT.shape[1] - 1))
    most_free_RB = np.maximum.reduceat(free_RT, first_B, axis=1)
    bits_B = np.left_shift(1, np.arange(len(first_B)), dtype=np.int64)
    mask_RW = np.zeros((len(free_RT), LANE + MOST_IN_LANE), dtype=np.int64)
    mask_RW[:, 0] = np.where(most_free_RB > 0, bits_B, 0).sum(axis=1)
    return Machines(free_RT.copy(), mask_RW)


@kernel
def set_mask(machines: Machines, row: int, first: int, end: int) -> None:
    """Renew the bits of a row's mask for the slots [first, end)."""
    num_slots = machines.free_RT.shape[1]
    width = bin_slots(num_slots - 1)
    for index in range(first // width, (end - 1) // width + 1):
        is_free = False
        for slot in range(index * width, min((index + 1) * width, num_slots)):
            if machines.free_RT[row, slot] > 0:
                is_free = True
        if is_free:
            machines.mask_RW[row, 0] |= 1 << index
        else:
            machines.mask_RW[row, 0] &= ~(1 << index)


@kernel
def may_fit(machines: Machines, row: int, first: int, end: int, num_slots: int) -> bool:
    """Whether the row may have so many free slots on end within [first, end); False is certain."""
    width = bin_slots(machines.free_RT.shape[1] - 1)
    bits = machines.mask_RW[row, 0] >> (first // width)
    num_bins = (min(end, machines.free_RT.shape[1]) - 1) // width + 1 - first // width
    if num_bins < 1:
        return False
    bits &= (1 << num_bins) - 1
    # Bits that begin a run of `run` set bits stay; a run of slots touches at least this many bins.
    wanted, run = (num_slots - 1) // width + 1, 1
    while run < wanted and bits != 0:
        shift = min(run, wanted - run)
        bits &= bits >> shift
        run += shift
    return bits != 0


@kernel
def is_free(machines: Machines, row: int, gang: int, place: Record) -> bool:
    """Whether the runs of a place have machines for the gang in a row."""
    for piece in range(place["num_pieces"]):
        for slot in range(place["starts"][piece], place["ends"][piece]):
            if machines.free_RT[row, slot] < gang:
                return False
    return True


@kernel
def move_machines(machines: Machines, places: Records, at: int, num: int) -> None:
    """Add machines (negative: take them) in all slots of a place."""
    row, width = places[at]["row"], bin_slots(machines.free_RT.shape[1] - 1)
    mask = machines.mask_RW[row, 0]
    for piece in range(places[at]["num_pieces"]):
        for slot in range(places[at]["starts"][piece], places[at]["ends"][piece]):
            left = machines.free_RT[row, slot] + num
            machines.free_RT[row, slot] = left
            mask = mask | (1 << (slot // width)) if left > 0 else mask & ~(1 << (slot // width))
    machines.mask_RW[row, 0] = mask
    if width > 1:
        for piece in range(places[at]["num_pieces"]):
            set_mask(machines, row, places[at]["starts"][piece], places[at]["ends"][piece])

"""What work on a row's machines takes, emits and costs: kernels.

    hours = work / (gang * ratio)        slots = ceil(hours / slot)
    grams = gang * kW * PUE * integral of the carbon forecast over the work
    cost  = gang * hours * ask + grams * charge + transfer + (1 - reliability) * ask + prices of its slots

Shapes: see `round_arrays`. Not covered: whether machines are free (`free_machines`).
"""

import math

import numpy as np

from ayni.market.compiled import kernel
from ayni.market.round_arrays import MAX_PIECES, UNKNOWN_ZONE, WHOLE_SLOT_TOLERANCE, Facts, Record


@kernel
def to_whole(amount: float) -> int:
    """The nearest whole number; half goes up."""
    return math.floor(amount + 0.5)


@kernel
def carbon_until(facts: Facts, zone: int, moment: float) -> float:
    """Grams of one kilowatt from the start of the horizon until a moment in slots."""
    num_slots = facts.settings[0]["num_slots"]
    if moment >= num_slots:
        tail_hours = (moment - num_slots) * facts.settings[0]["slot_hours"]
        return facts.cumulative_ZT[zone, num_slots] + tail_hours * facts.zones[zone]["tail_rate"]
    whole = int(moment)
    below = facts.cumulative_ZT[zone, whole]
    return below + (moment - whole) * (facts.cumulative_ZT[zone, whole + 1] - below)


@kernel
def num_slots_of(slots: float) -> int:
    """Whole slots that hold a length in slots, at least one."""
    return max(1, math.ceil(slots - WHOLE_SLOT_TOLERANCE))


@kernel
def end_slot_of(facts: Facts, start: int, slots: float) -> int:
    """The slot after the last; the tail counts as one slot, and -1 says that it is too short."""
    settings = facts.settings[0]
    end = start + num_slots_of(slots)
    if end <= settings["num_slots"]:
        return end
    if start + slots > settings["num_slots"] + settings["tail_slots"] + WHOLE_SLOT_TOLERANCE:
        return -1
    return settings["num_slots"] + 1


@kernel
def hours_of(facts: Facts, bid: int, row: int) -> float:
    """Hours of a bid's work on a row's machines."""
    ratio = facts.ratio_SR[facts.bids[bid]["pattern"], row]
    return facts.bids[bid]["work"] / (facts.bids[bid]["gang"] * ratio)


@kernel
def ask_of(facts: Facts, bid: int, row: int, hours: float) -> int:
    """The ask alone, which no place in the row costs less than."""
    return to_whole(facts.bids[bid]["gang"] * hours * facts.rows[row]["ask"])


@kernel
def cost_without_carbon(facts: Facts, bid: int, row: int, hours: float) -> int:
    """Ask, transfer and expected rerun, each in whole micro-credits."""
    ask = ask_of(facts, bid, row, hours)
    cost = ask + to_whole(facts.rows[row]["rerun_share"] * ask)
    if facts.rows[row]["member"] != facts.bids[bid]["member"]:
        cost += to_whole(facts.bids[bid]["transfer"])
    return cost


@kernel
def carbon_charge(facts: Facts, grams: float) -> int:
    """The charge on carbon in whole micro-credits."""
    return to_whole(grams * facts.settings[0]["carbon_per_gram"])


@kernel
def slot_charge(facts: Facts, bid: int, row: int, place: Record) -> int:
    """The prices of the slots of a place for the gang; nothing for members on their own machines."""
    if facts.settings[0]["most_slot_price"] == 0 or facts.rows[row]["member"] == facts.bids[bid]["member"]:
        return 0
    price = 0.0
    for piece in range(place["num_pieces"]):
        price += facts.slot_price_T[place["ends"][piece]] - facts.slot_price_T[place["starts"][piece]]
    ratio = facts.ratio_SR[facts.bids[bid]["pattern"], row]
    return to_whole(facts.bids[bid]["gang"] * ratio * price)


@kernel
def least_cost_of(facts: Facts, bid: int, row: int, hours: float) -> int:
    """What no place in the row costs less than."""
    kilowatt_hours = facts.bids[bid]["gang"] * facts.rows[row]["kilowatts"] * hours
    grams = kilowatt_hours * facts.zones[facts.rows[row]["zone"]]["least_rate"]
    # One less, because sums over slots may round otherwise than the product.
    return cost_without_carbon(facts, bid, row, hours) + carbon_charge(facts, grams) - 1


@kernel
def most_cost_of(facts: Facts, bid: int, row: int, hours: float) -> int:
    """What no place in the row costs more than."""
    if facts.bids[bid]["suspends"]:
        hours += facts.settings[0]["restart_hours"] * (MAX_PIECES - 1)
    kilowatt_hours = facts.bids[bid]["gang"] * facts.rows[row]["kilowatts"] * hours
    grams = kilowatt_hours * facts.zones[facts.rows[row]["zone"]]["most_rate"]
    num_slots = num_slots_of(hours / facts.settings[0]["slot_hours"])
    ratio = facts.ratio_SR[facts.bids[bid]["pattern"], row]
    machines = facts.bids[bid]["gang"] * ratio * num_slots
    most_charge = to_whole(machines * facts.settings[0]["most_slot_price"])
    # Some more, because sums over slots may round otherwise than the product.
    return cost_without_carbon(facts, bid, row, hours) + carbon_charge(facts, grams) + most_charge + 8


@kernel
def keeps_cap(facts: Facts, bid: int, row: int, grams: float) -> bool:
    """Whether the bid's carbon cap allows it; where the zone is unknown, no cap does."""
    cap = facts.bids[bid]["cap"]
    return cap == np.inf or (grams <= cap and facts.rows[row]["zone"] != UNKNOWN_ZONE)


@kernel
def grams_of(facts: Facts, bid: int, row: int, start: int, slots: float) -> float:
    """Grams of unbroken work."""
    zone = facts.rows[row]["zone"]
    carbon = carbon_until(facts, zone, start + slots) - facts.cumulative_ZT[zone, start]
    return facts.bids[bid]["gang"] * facts.rows[row]["kilowatts"] * carbon

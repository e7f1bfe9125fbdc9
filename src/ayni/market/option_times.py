"""When an option begins and ends on a clock.

Not covered: pauses in between; an option with several pieces lists its slots.
"""

from datetime import datetime, timedelta

from ayni.market.horizon import Horizon
from ayni.market.options import Option


def times_of(option: Option, horizon: Horizon) -> tuple[datetime, datetime]:
    """The moments of beginning and end; work of several pieces ends in the last of them."""
    start = horizon.moment(option.start_slot)
    if len(option.pieces) == 1:
        return start, start + timedelta(hours=option.hours)
    before = sum(end - begin for begin, end in option.pieces[:-1]) * horizon.slot_hours
    return start, horizon.moment(option.pieces[-1][0]) + timedelta(hours=option.hours - before)

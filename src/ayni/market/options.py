"""Options: the places and hours where a bid could run, with what each would cost.

    cost = ask + carbon charge + transfer + expected rerun
    ask     machines * hours * ask of the offer
    carbon  energy * PUE * forecast of the hours * charge
    rerun   (1 - reliability) * ask

Every place and start that meets a bid's deadline, carbon cap and residency is an option; what breaks one of
them is never made. Costs come from asks and forecasts, never from what bids are worth: else a bid could steer
its own price.

Not covered: whether an option is still free; that is decided while a round is cleared.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One place and time for one bid.

    row is the index of the capacity row (see `CapacityRow`). pieces are the half-open runs of slots that it
    reserves; more than one when the job is suspended in between. Slots from the horizon's num_slots on are
    the tail. hours is wall time at work. grams None = the zone is unknown. reserve_microcredits is the
    least that is paid for it: the cost, or in the mode "least carbon at most eps dearer" the cost of the
    dearest option of the bid that counts as equal.
    """

    bid: str
    row: int
    offer: str
    site: str
    machine_class: str
    machines: int
    pieces: tuple[tuple[int, int], ...]
    hours: float
    ask_microcredits: int
    grams: float | None
    carbon_microcredits: int
    transfer_microcredits: int
    rerun_microcredits: int
    reserve_microcredits: int

    @property
    def start_slot(self) -> int:
        """The first slot."""
        return self.pieces[0][0]

    @property
    def end_slot(self) -> int:
        """The slot after the last."""
        return self.pieces[-1][1]

    @property
    def num_slots(self) -> int:
        """How many slots are reserved."""
        return sum(end - start for start, end in self.pieces)

    @property
    def cost_microcredits(self) -> int:
        """Ask, carbon charge, transfer and expected rerun together."""
        return (
            self.ask_microcredits
            + self.carbon_microcredits
            + self.transfer_microcredits
            + self.rerun_microcredits
        )

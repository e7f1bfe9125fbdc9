"""What is known of a lease, and what cannot happen to it.

Not covered: how one state becomes the next; that is `lease_book`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from ayni.errors import AyniError
from ayni.market.lease_events import LeaseTerms

Phase: TypeAlias = Literal["offered", "held", "running", "suspended", "released", "failed", "settled"]
# Why a lease ended whose job is done.
FINISHED = "finished"
Settling: TypeAlias = Literal["open", "asked", "checking", "paying"]


class LeaseEventError(AyniError):
    """An event cannot follow the ones before it."""

    def __init__(self, *, lease_id: str, phase: str, event: str) -> None:
        self.lease_id = lease_id
        self.phase = phase
        super().__init__(
            f"The lease {lease_id} is {phase}; {event} cannot happen to it now. Nothing was changed. Whoever "
            "sent it should ask for the state of the lease first."
        )


class UnknownLeaseError(AyniError):
    """An event names a lease that was never offered."""

    def __init__(self, lease_id: str) -> None:
        self.lease_id = lease_id
        super().__init__(f"There is no lease {lease_id} in the book; it was settled, or never offered.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """What is known of a lease after its events.

    Attributes:
        terms: what was agreed.
        phase: where it stands.
        num_events: how many events made it.
        last_heard: when its site was last known to live.
        ticks: number of the last metered tick.
        unit_seconds: work of all metered ticks.
        saved_ticks: the last tick that a checkpoint holds.
        saved_unit_seconds: work that the checkpoint holds.
        unsaved: (tick, work of all ticks up to it) since then.
        asked_at: since when the site should have begun; None when nothing was asked.
        grace_until: when the work is stopped for want of a checkpoint; None when nobody wants it stopped.
        is_reclaimed: whether the owner has its machines (or wants them).
        counted_unit_seconds: work that is paid for.
        settling: after the end: whether a check is drawn, under way, or behind, so that it can be paid.
        reason: why it ended.
    """

    terms: LeaseTerms
    phase: Phase
    num_events: int
    last_heard: datetime
    ticks: int = 0
    unit_seconds: int = 0
    saved_ticks: int = 0
    saved_unit_seconds: int = 0
    unsaved: tuple[tuple[int, int], ...] = ()
    asked_at: datetime | None = None
    grace_until: datetime | None = None
    is_reclaimed: bool = False
    counted_unit_seconds: int = 0
    settling: Settling = "open"
    reason: str | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the work has ended for good."""
        return self.phase in ("released", "failed", "settled")

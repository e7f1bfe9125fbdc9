"""What happens to leases (past tense) and what is then to be done (imperative), as values.

Events are kept as JSON; commands are not, because they follow from the events. The time of an event is that
of the pool's clock when it was told: a site's own clock could keep it from ever being late.

Not covered: what follows from what; that is `lease_book`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from itertools import pairwise
from typing import Any, TypeAlias

from ayni.market.metering import DebitNote, LeasePrice
from ayni.market.movements import Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """What buyer and seller of a lease have agreed.

    Attributes:
        lease: who pays whom.
        price: what the whole of it costs, and for how much work.
        windows: when the work runs, as half-open intervals [start, end) in UTC; suspended in between.
        escrow_microcredits: what the buyer sets aside, at least the price.
        can_suspend: whether the work can go on from a checkpoint.
        gang: leases that end when one of them does; None for one that stands alone.
        check_rate: the chance that the work is checked before it is paid, by the site's reputation; 0 where
            nobody could be cheated, on the buyer's own machines.
        bond_microcredits: what the seller stakes on its work.
    """

    lease: Lease
    price: LeasePrice
    windows: tuple[tuple[datetime, datetime], ...]
    escrow_microcredits: int
    can_suspend: bool = False
    gang: str | None = None
    check_rate: float = 1.0
    bond_microcredits: int = 0

    def __post_init__(self) -> None:
        times = [time for window in self.windows for time in window]
        if not times or any(time.tzinfo is None for time in times):
            raise ValueError("a lease needs a window, and times with a time zone")
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"windows must follow each other and have a length: {self.windows}")
        if len(self.windows) > 1 and not self.can_suspend:
            raise ValueError("several windows need work that can be suspended")
        if self.escrow_microcredits < self.price.payment_microcredits or self.bond_microcredits < 0:
            raise ValueError(
                f"an escrow of {self.escrow_microcredits} and a bond of {self.bond_microcredits} do not do "
                f"for a price of {self.price.payment_microcredits} micro-credits"
            )
        if not 0 <= self.check_rate <= 1:
            raise ValueError(f"a rate of checks of {self.check_rate}; it is from 0 to 1")

    def window_at(self, now: datetime) -> tuple[datetime, datetime] | None:
        """The window in which a moment lies; None between windows and outside of them."""
        return next((window for window in self.windows if window[0] <= now < window[1]), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseOffered:
    """A clearing allotted capacity to a job."""

    lease_id: str
    at: datetime
    terms: LeaseTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowHeld:
    """Escrow and bond are set aside."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowRefused:
    """Buyer or seller has not what had to be set aside; nothing was."""

    lease_id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseCancelled:
    """The buyer does not want the lease (any more)."""

    lease_id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowBegan:
    """It is time to run."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowEnded:
    """It is time to stop, for now or for good."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkStarted:
    """The site runs the work, from its beginning or from a checkpoint."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TickMetered:
    """The site metered work; number counts the ticks of the lease from 1."""

    lease_id: str
    at: datetime
    number: int
    unit_seconds: int

    def __post_init__(self) -> None:
        if self.number < 1 or self.unit_seconds < 0:
            raise ValueError(f"tick {self.number} of {self.unit_seconds} unit-seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """All work up to a tick can be continued elsewhere."""

    lease_id: str
    at: datetime
    tick: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityReclaimed:
    """The owner needs its machines."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityReturned:
    """The owner does not need its machines any more."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GraceEnded:
    """The time for a last checkpoint is over."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatLost:
    """The site was silent for too long, or did not begin."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class EscrowExhausted:
    """A tick cost more than was left in escrow."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class GangEnded:
    """Another lease of the gang ended early."""

    lease_id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFinished:
    """The job is done."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkFailed:
    """The job ended with an error: its own, or its site's."""

    lease_id: str
    at: datetime
    reason: str
    is_sites_fault: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckChosen:
    """Whether this work is one that is checked."""

    lease_id: str
    at: datetime
    is_checked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPassed:
    """Doing the work again gave the same."""

    lease_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFailed:
    """Doing the work again gave something else."""

    lease_id: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettled:
    """Everything is paid, given back or taken. unit_seconds is the work that counts, of site_member."""

    lease_id: str
    at: datetime
    site_member: str
    unit_seconds: int


Event: TypeAlias = (
    LeaseOffered
    | EscrowHeld
    | EscrowRefused
    | LeaseCancelled
    | WindowBegan
    | WindowEnded
    | WorkStarted
    | TickMetered
    | CheckpointSaved
    | CapacityReclaimed
    | CapacityReturned
    | GraceEnded
    | HeartbeatLost
    | EscrowExhausted
    | GangEnded
    | WorkFinished
    | WorkFailed
    | CheckChosen
    | CheckPassed
    | CheckFailed
    | LeaseSettled
)
EVENT_CLASSES: Mapping[str, type[Any]] = {each.__name__: each for each in Event.__args__}


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldEscrow:
    """Set escrow and bond aside, both or none; the answer is EscrowHeld or EscrowRefused."""

    terms: LeaseTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawTick:
    """Book a debit note; one that is not paid in full is answered by EscrowExhausted."""

    note: DebitNote


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEscrow:
    """Give back what was not needed."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class ClawBack:
    """Give the buyer back what it paid from a tick on."""

    lease: Lease
    from_tick: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlashBond:
    """Take the seller's bond."""

    lease: Lease
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PayOut:
    """Pay the seller, give back what is left of its bond, and answer with LeaseSettled."""

    terms: LeaseTerms
    unit_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseCheck:
    """Draw whether the work is checked, with this chance; the answer is CheckChosen."""

    lease_id: str
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndGang:
    """Tell the other leases of a gang that it has ended."""

    gang: str
    lease_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWork:
    """Start the work, or go on from its last checkpoint."""

    lease: Lease
    from_checkpoint: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveCheckpoint:
    """Save a checkpoint soon: the machines are needed after `seconds`."""

    lease: Lease
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWork:
    """Stop the work now; it may go on later (is_suspended) or not."""

    lease: Lease
    is_suspended: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckWork:
    """Do the work again elsewhere and compare; the answer is CheckPassed or CheckFailed."""

    lease: Lease


SiteCommand: TypeAlias = StartWork | SaveCheckpoint | StopWork | CheckWork
LedgerCommand: TypeAlias = DrawTick | ReleaseEscrow | ClawBack | SlashBond
Command: TypeAlias = SiteCommand | LedgerCommand | HoldEscrow | PayOut | ChooseCheck | EndGang


def event_to_json(event: Event) -> dict[str, Any]:
    """Plain JSON of what an event says, without its class, lease and time."""
    if isinstance(event, LeaseOffered):
        return {"terms": terms_to_json(event.terms)}
    content = asdict(event)
    return {name: value for name, value in content.items() if name not in ("lease_id", "at")}


def event_from_json(kind: str, lease_id: str, at: str, content: Mapping[str, Any]) -> Event:
    """The event that `event_to_json` wrote.

    Raises:
        ValueError, KeyError, TypeError: it is none.
    """
    found: Event
    if kind == "LeaseOffered":
        found = LeaseOffered(
            lease_id=lease_id, at=datetime.fromisoformat(at), terms=terms_from_json(content["terms"])
        )
        return found
    known = EVENT_CLASSES[kind]
    names = {each.name for each in fields(known)}
    if set(content) != names - {"lease_id", "at"}:
        raise ValueError(f"a {kind} has {sorted(names)}, not {sorted(content)}")
    found = known(lease_id=lease_id, at=datetime.fromisoformat(at), **content)
    return found


def terms_to_json(terms: LeaseTerms) -> dict[str, Any]:
    """Plain JSON of what was agreed."""
    return {**asdict(terms), "windows": [_texts(window) for window in terms.windows]}


def terms_from_json(data: Mapping[str, Any]) -> LeaseTerms:
    """The terms that `terms_to_json` wrote."""
    windows = tuple(
        (datetime.fromisoformat(start), datetime.fromisoformat(end)) for start, end in data["windows"]
    )
    return LeaseTerms(
        **{**data, "lease": Lease(**data["lease"]), "price": LeasePrice(**data["price"]), "windows": windows}
    )


def _texts(window: tuple[datetime, datetime]) -> list[str]:
    return [time.isoformat() for time in window]

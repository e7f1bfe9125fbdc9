"""Bonds, claw-backs and slashing: why it does not pay a site to sell work that it did not do.

    hold         member:N:available     -> member:N:bond:LEASE     together with the buyer's escrow
    return-bond  member:N:bond:LEASE    -> member:N:available      after it was settled
    claw-back    site:S:earned:LEASE    -> member:M:available      pay for work that does not count
    slash        member:N:bond:LEASE    -> coop:verification       the work was wrong

A seller that cheats gains its pay G unless it is caught, which happens with the rate q of checks, and
then loses its bond B. Honesty pays at least as much when q B >= (1 - q) G, so

    B >= G (1 - q) / q        and the rate that a given bond suffices for:  q >= G / (G + B)

A site whose work is always checked (q = 1) needs no bond: so a new one can begin with nothing.

Earnings are paid out only after the check, so what is clawed back is there. Of the parts that went to the
cooperative the buyer gets back what checks and surplus still hold; the carbon was emitted, its charge stays.

Not covered: collusion of a seller with whoever checks it, and the harm of wrong work beyond its price.

Source: the condition is the standard one of inspection games, e.g. Becker, "Crime and Punishment", 1968.
"""

from collections.abc import Iterable, Sequence
from math import ceil

from ayni.market import double_entry, movements
from ayni.market.double_entry import Posting
from ayni.market.movements import InsufficientCreditsError, Lease, Movement, Row, View


def needed_bond(gain_microcredits: int, *, check_rate: float) -> int:
    """The smallest bond with which cheating for this gain does not pay, in micro-credits."""
    if not 0 < check_rate <= 1:
        raise ValueError(f"a rate of checks of {check_rate}; it is above 0 and at most 1")
    return ceil(gain_microcredits * (1 - check_rate) / check_rate)


def needed_check_rate(gain_microcredits: int, *, bond_microcredits: int, wanted_rate: float) -> float:
    """The rate of checks with which cheating does not pay, given the bond; at least the wanted one."""
    if gain_microcredits <= 0:
        return wanted_rate
    return max(wanted_rate, gain_microcredits / (gain_microcredits + bond_microcredits))


def stake(gain_microcredits: int, *, wanted_rate: float, affordable_microcredits: int) -> tuple[float, int]:
    """The rate of checks and the bond for a lease: a seller that cannot stake enough is checked more often.

    Args:
        gain_microcredits: what the seller would gain by cheating: its pay for the whole lease.
        wanted_rate: the rate that its reputation allows.
        affordable_microcredits: what it has to stake.
    """
    bond = min(needed_bond(gain_microcredits, check_rate=wanted_rate), affordable_microcredits)
    return needed_check_rate(gain_microcredits, bond_microcredits=bond, wanted_rate=wanted_rate), bond


def hold_with_bond(lease: Lease, *, escrow_microcredits: int, bond_microcredits: int) -> Movement:
    """Set aside the buyer's escrow and the seller's bond for a lease, both or none.

    Raises, when booked:
        InsufficientCreditsError: one of them has less.
    """
    needs = [(lease.member, escrow_microcredits)]
    parts = {movements.escrow_of(lease): escrow_microcredits}
    if bond_microcredits:  # a cloud that is paid in money has no account to stake from
        needs.append((lease.site_member, bond_microcredits))
        parts[_bond_of(lease)] = bond_microcredits
    if lease.member == lease.site_member:
        needs = [(lease.member, escrow_microcredits + bond_microcredits)]

    def check(view: View) -> None:
        for member, needed in needs:
            if (balance := view.balance(double_entry.available(member))) < needed:
                raise InsufficientCreditsError(
                    member=member, needed_microcredits=needed, balance_microcredits=balance
                )

    sources = {double_entry.available(member): -needed for member, needed in needs}
    return Movement(
        id=movements.hold_id(lease),
        kind="hold",
        run=lease.run,
        memo=f"set aside by {lease.member} for work on {lease.site}"
        + (f", and staked by {lease.site_member}" if bond_microcredits else ""),
        fixed=movements.postings_of({**sources, **parts}),
        check=check,
    )


def return_bond(lease: Lease) -> Movement:
    """Give the seller back what is left of its bond."""
    return _empty_bond(
        lease,
        kind="return-bond",
        memo=f"bond of {lease.site_member}, whose work was not objected to",
        target=double_entry.available(lease.site_member),
    )


def slash_bond(lease: Lease, *, reason: str) -> Movement:
    """Take the seller's whole bond for work that was found wrong."""
    return _empty_bond(
        lease,
        kind="slash",
        memo=f"bond of {lease.site_member}: {reason}",
        target=double_entry.VERIFICATION_FUND,
    )


def claw_back(lease: Lease, ticks: Sequence[Row], *, from_tick: int, reason: str) -> Movement | None:
    """Give the buyer back what it paid for the ticks from `from_tick` on; None when that is nothing.

    `ticks` are the lease's booked debit notes. Of the cooperative's parts as much comes back as its
    accounts hold.
    """
    unpaid = [row for row in ticks if _tick_number(row, lease) >= from_tick]
    earned = double_entry.earned(lease.site, lease.lease_id)
    wanted = {
        account: _sum_to(account, unpaid)
        for account in (earned, double_entry.VERIFICATION_FUND, double_entry.SURPLUS)
    }
    if not any(wanted.values()):
        return None

    def decided(view: View) -> tuple[Posting, ...]:
        back = {account: min(amount, max(view.balance(account), 0)) for account, amount in wanted.items()}
        parts = {account: -amount for account, amount in back.items()}
        return movements.postings_of({**parts, double_entry.available(lease.member): sum(back.values())})

    return Movement(
        id=f"claw-back:{lease.lease_id}:{from_tick}",
        kind="claw-back",
        run=lease.run,
        memo=f"back to {lease.member} from tick {from_tick} on: {reason}",
        decided=decided,
        accounts=(*wanted, double_entry.available(lease.member)),
    )


def _empty_bond(lease: Lease, *, kind: str, memo: str, target: str) -> Movement:
    source = _bond_of(lease)

    def decided(view: View) -> tuple[Posting, ...]:
        amount = view.balance(source)
        return movements.move(amount, source, target) if amount else ()

    return Movement(
        id=f"{kind}:{lease.lease_id}",
        kind=kind,
        run=lease.run,
        memo=memo,
        decided=decided,
        accounts=(source, target),
    )


def _bond_of(lease: Lease) -> str:
    return double_entry.bond(lease.site_member, lease.lease_id)


def _tick_number(row: Row, lease: Lease) -> int:
    """The number of a booked debit note of the lease; 0 for every other entry."""
    prefix, _, number = str(row["id"]).rpartition(":")
    return int(number) if row["kind"] == "tick" and prefix == f"tick:{lease.lease_id}" else 0


def _sum_to(account: str, rows: Iterable[Row]) -> int:
    return sum(
        posting["amount_microcredits"]
        for row in rows
        for posting in row["postings"]
        if posting["account"] == account
    )

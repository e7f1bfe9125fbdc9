"""Where the energy of each machine went while anything was metered there: jobs, others, and nobody.

Each receipt has an account of its node for its own time, exact in microjoules. Accounts of one time must
not be added: two runs side by side each saw the same idle. So those that overlap in time are told and left
out.

Not covered: the time when nothing was metered, which is in no account.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ayni.footprint.sums.entries import FootprintEntry

NODE = "node_microjoules"


def node_accounts(entries: Sequence[FootprintEntry]) -> list[dict[str, Any]]:
    """One account a node, its parts with the names that receipts give them; they add up to the node."""
    by_node = sorted(entries, key=lambda entry: (entry.node, entry.started_at))
    return [_account(node, list(group)) for node, group in groupby(by_node, key=lambda entry: entry.node)]


def _account(node: str, entries: list[FootprintEntry]) -> dict[str, Any]:
    alone = without_overlaps(entries)
    known = [entry.node_account for entry in alone if entry.node_account is not None]
    names = dict.fromkeys(name for account in known for name in account if name != NODE)
    parts = {name: sum(account.get(name, 0) for account in known) for name in names}
    return {
        "node": node,
        "receipts": len(entries),
        "num_overlapping": len(entries) - len(alone),
        "num_unknown": len(alone) - len(known),
        NODE: sum(account[NODE] for account in known) if known else None,
        "parts": parts,
    }


def without_overlaps(entries: Sequence[FootprintEntry]) -> list[FootprintEntry]:
    """The entries of one node during which no other of them ran, oldest first. Cost: O(n log n)."""
    ordered = sorted(entries, key=lambda entry: entry.started_at)
    overlapping = set()
    latest: int | None = None
    for index, entry in enumerate(ordered):
        if latest is not None and entry.started_at < ordered[latest].ended_at:
            overlapping |= {latest, index}
        if latest is None or entry.ended_at > ordered[latest].ended_at:
            latest = index
    return [entry for index, entry in enumerate(ordered) if index not in overlapping]

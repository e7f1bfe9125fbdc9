"""Prove the invariants of a pool's ledger, from its database alone."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ayni.database import Database
from ayni.market.lease_store import DatabaseLeaseStore
from ayni.market.ledger_check import check_book
from ayni.market.store import DatabaseLedgerStore


def check_ledger(database: Database, *, noted: Mapping[int, str] | None = None) -> dict[str, Any]:
    """What `check_book` finds, as JSON, with `ok` and where the database is.

    Writers are not held up: the book is read as it stands now.
    """
    # First the leases: whoever is settled by now stays so.
    settled = DatabaseLeaseStore(database).settled()
    with DatabaseLedgerStore(database).reading() as book:
        found = check_book(book, noted=noted, settled=settled)
    return {"ok": not found.problems, "database": str(database.where), **asdict(found)}

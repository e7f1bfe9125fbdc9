"""The ledger's benchmark in small: it finds nothing where nothing is wrong, and something where it is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.ledger_writers import Load

from ayni.database import Database
from ayni.market.ledger import Ledger
from ayni.market.store import DatabaseLedgerStore
from benchmarks import ledger_writers


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | str]:
    """A database of either system, for five writers."""
    if request.param == "sqlite":
        yield tmp_path / "state.db"
    else:
        yield request.getfixturevalue("postgresql").new_database()


@pytest.mark.slow
@pytest.mark.cluster
def test_killed_writers_lose_and_make_nothing_and_what_somebody_else_books_is_found(
    place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_writers, "NUM_WRITERS", 5)
    load = Load(place=place, leases_at_once=2, seconds=3, kills=True)

    found = ledger_writers._run(load)

    assert found["problems"] == []
    assert found["kills"] > 2
    assert found["settled"] % (2 * ledger_writers.STEPS_PER_LEASE) == 0

    database = Database(place)
    ledger = Ledger(DatabaseLedgerStore(database))
    ledger.book_all(ledger_writers._portion(99, 0, 1))
    database.close()
    portions = [found["settled"] // 2, 0, 0, 0, 0]
    problems = ledger_writers._problems(load, portions)
    assert any("member:buyer" in problem for problem in problems)
    assert any("entries, not" in problem for problem in problems)

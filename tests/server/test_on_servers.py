"""What the hub's tests say of a file and a folder, said of a real PostgreSQL server and a real S3, encrypted.

The tests themselves are those of the routes; only the hub beneath them is another.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server.hub_app import SECRET, client, make_hub
from tests.server.routes import (
    test_commit,
    test_history,
    test_large_files,
    test_lfs,
    test_listing,
    test_repositories,
    test_resolve,
    test_trees,
    test_xet,
)

from ayni.database import Database, metadata
from ayni.hub.encryption import EncryptedObjects
from ayni.hub.master_keys import FileMasterKeys
from ayni.hub.xet.store import XetStore
from ayni.server.served_hub import ServedHub

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

__all__ = ["client"]

MODULES = (
    test_commit,
    test_history,
    test_large_files,
    test_lfs,
    test_listing,
    test_repositories,
    test_resolve,
    test_trees,
    test_xet,
)


@pytest.fixture(scope="module")
def database(postgresql: Any) -> Iterator[Database]:
    """One for all tests: to make and remove one for each takes minutes."""
    opened = Database(postgresql.new_database())
    yield opened
    opened.close()


@pytest.fixture
def served_hub(
    tmp_path: Path, database: Database, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServedHub]:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    with database.transaction() as connection:
        # Not those of the ledger, which refuses to be emptied.
        names = [table.name for table in metadata.sorted_tables if table.name.startswith("hub_")]
        tables = ", ".join(f'"{name}"' for name in names)
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
    place, keys = s3.new_place(), FileMasterKeys(tmp_path / "master.keys")
    xet = XetStore.over(database, EncryptedObjects(f"{place}/xorbs", keys), secret=SECRET)
    objects = EncryptedObjects(f"{place}/objects", keys)
    yield make_hub(tmp_path, database=database, xet=xet, content=xet.contents(objects))


def _take_over(module: Any) -> None:
    for name, value in vars(module).items():
        is_fixture = type(value).__name__ == "FixtureFunctionDefinition"
        if name.startswith("test_") or (is_fixture and name not in ("client", "served_hub")):
            assert name not in globals(), f"two modules have {name}"
            globals()[name] = value


for _module in MODULES:
    _take_over(_module)

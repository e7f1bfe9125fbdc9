"""The database on a real PostgreSQL server, which is crashed, hung up on and made read-only."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import ayni.database.postgresql
from ayni.database import (
    NEWEST_REVISION,
    AbortedTransactionError,
    BusyDatabaseError,
    DamagedDatabaseError,
    Database,
    DatabaseDeviceError,
    LostDatabaseError,
    NewerDatabaseError,
    RefusedByDatabaseError,
    UnknownDatabaseError,
)
from ayni.errors import MissingExtraError

pytestmark = pytest.mark.cluster
INSERT = sa.text("INSERT INTO notes VALUES (:n, 'x') ON CONFLICT DO NOTHING")


@pytest.fixture
def url(postgresql: Any) -> str:
    return str(postgresql.new_database())


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = Database(url, retry_seconds=30)
    with database.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE notes (n INTEGER PRIMARY KEY, note TEXT)"))
    yield database
    database.close()


def add(connection: sa.Connection, n: int) -> None:
    connection.execute(INSERT, {"n": n})


def notes(database: Database) -> list[int]:
    with database.reading() as connection:
        return list(connection.execute(sa.text("SELECT n FROM notes ORDER BY n")).scalars())


def hang_up(connection: sa.Connection, postgresql: Any) -> None:
    """Let the administrator end the server's side of a connection."""
    process_id = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    postgresql.execute(f"SELECT pg_terminate_backend({process_id})")


def test_opening_makes_the_newest_tables_and_opening_again_keeps_them(url: str) -> None:
    Database(url).close()

    with Database(url).reading() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    assert found == NEWEST_REVISION


def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    with pytest.raises(KeyboardInterrupt), database.transaction() as connection:
        add(connection, 1)
        raise KeyboardInterrupt

    assert notes(database) == []


def test_who_only_reads_cannot_write_and_waits_for_nobody(database: Database) -> None:
    with database.transaction() as writing:
        add(writing, 1)
        assert notes(database) == []

    with pytest.raises(RefusedByDatabaseError, match="read-only"), database.reading() as connection:
        add(connection, 2)


def test_a_reader_sees_one_state_however_long_it_reads(database: Database) -> None:
    with database.reading() as connection:
        before = connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one()
        database.run(lambda writing: add(writing, 1))
        after = connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one()

    assert (before, after) == (0, 0)
    assert notes(database) == [1]


def test_two_writers_never_read_the_same_state_before_either_writes(database: Database) -> None:
    def add_twenty() -> None:
        for _ in range(20):
            with database.transaction() as connection:
                add(connection, connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one())

    threads = [threading.Thread(target=add_twenty) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert notes(database) == list(range(80))


def _open_and_add(url: str, n: int, start: Any, problems: Any) -> None:
    start.wait()
    try:
        database = Database(url)
        with database.transaction() as connection:
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS notes (n INTEGER PRIMARY KEY, note TEXT)"))
            add(connection, n)
        problems.put(None)
    except BaseException as error:
        problems.put(repr(error))


def test_processes_that_open_an_empty_database_at_once_all_succeed(url: str) -> None:
    context = multiprocessing.get_context("fork")
    start, problems = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_open_and_add, args=(url, n, start, problems)) for n in range(4)]

    for process in processes:
        process.start()
    outcomes = [problems.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()

    assert outcomes == [None] * 4
    assert notes(Database(url)) == [0, 1, 2, 3]


def test_a_connection_lost_in_the_middle_is_done_again_and_happens_once(
    database: Database, postgresql: Any
) -> None:
    attempts = []

    def work(connection: sa.Connection) -> None:
        attempts.append(len(attempts))
        connection.execute(sa.text("INSERT INTO notes VALUES (1, 'x')"))
        if len(attempts) == 1:
            hang_up(connection, postgresql)
        connection.execute(sa.text("INSERT INTO notes VALUES (2, 'x')"))

    database.run(work)

    assert attempts == [0, 1]
    assert notes(database) == [1, 2]


def test_a_connection_lost_before_the_commit_is_an_error_outside_of_run(
    database: Database, postgresql: Any
) -> None:
    with pytest.raises(LostDatabaseError, match="whole or not at all"), database.transaction() as connection:
        add(connection, 1)
        hang_up(connection, postgresql)

    assert notes(database) == []


def test_work_is_done_again_over_a_crash_of_the_server_and_nothing_acknowledged_is_lost(
    database: Database, postgresql: Any, url: str
) -> None:
    crashes = []

    def crash_once(connection: sa.Connection, n: int) -> None:
        add(connection, n)
        if n == 20 and not crashes:
            crashes.append(n)
            postgresql.crash()
            threading.Timer(0.5, postgresql.start).start()

    # A busy machine may take more than the usual minute to recover.
    patient = Database(url, retry_seconds=300)
    for n in range(40):
        patient.run(lambda connection, n=n: crash_once(connection, n))  # type: ignore[misc]
    patient.close()

    assert crashes == [20]
    assert notes(database) == list(range(40))


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_what_the_server_aborts_for_others_is_done_again(database: Database, code: str) -> None:
    attempts = []

    def work(connection: sa.Connection) -> None:
        add(connection, len(attempts))
        attempts.append(code)
        if len(attempts) < 3:
            abort = f"DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '{code}'; END $$"
            connection.exec_driver_sql(abort)

    database.run(work)

    assert len(attempts) == 3
    assert notes(database) == [2]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("08006", LostDatabaseError),
        ("25006", RefusedByDatabaseError),
        ("25P03", LostDatabaseError),
        ("28000", RefusedByDatabaseError),
        ("40001", AbortedTransactionError),
        ("42501", RefusedByDatabaseError),
        ("53100", DatabaseDeviceError),
        ("53300", LostDatabaseError),
        ("55P03", BusyDatabaseError),
        ("57014", BusyDatabaseError),
        ("57P01", LostDatabaseError),
        ("58030", DatabaseDeviceError),
        ("XX001", DamagedDatabaseError),
        ("22012", sa.exc.DataError),
        ("23505", sa.exc.IntegrityError),
    ],
)
def test_every_kind_of_failure_is_told_as_what_it_is_and_our_own_faults_pass(
    database: Database, code: str, error: type[Exception]
) -> None:
    statement = f"DO $$ BEGIN RAISE EXCEPTION 'no luck' USING ERRCODE = '{code}'; END $$"

    with pytest.raises(error), database.transaction() as connection:
        connection.exec_driver_sql(statement)


def test_a_deadlock_with_somebody_who_knows_nothing_of_our_lock_is_done_again(
    database: Database, url: str
) -> None:
    import psycopg

    for n in (1, 2):
        database.run(lambda connection, n=n: add(connection, n))  # type: ignore[misc]
    stranger = psycopg.connect(url)
    stranger.execute("UPDATE notes SET note = 'stranger' WHERE n = 2")
    crossing = threading.Thread(
        target=lambda: stranger.execute("UPDATE notes SET note = 'stranger' WHERE n = 1")
    )
    attempts: list[int] = []

    def work(connection: sa.Connection) -> None:
        attempts.append(1)
        if len(attempts) == 2:
            crossing.join()
            stranger.rollback()
        # Whose patience is shorter finds the deadlock and is thrown out of it; the stranger's is a second.
        connection.execute(sa.text("SET LOCAL deadlock_timeout = '10ms'"))
        connection.execute(sa.text("UPDATE notes SET note = 'ours' WHERE n = 1"))
        if len(attempts) == 1:
            crossing.start()
            time.sleep(0.2)
        connection.execute(sa.text("UPDATE notes SET note = 'ours' WHERE n = 2"))

    database.run(work)

    assert len(attempts) == 2
    with database.reading() as connection:
        assert set(connection.scalars(sa.text("SELECT note FROM notes"))) == {"ours"}


def test_a_conflict_that_never_ends_is_told_after_a_while(url: str) -> None:
    database = Database(url, retry_seconds=0.2)

    def abort(connection: sa.Connection) -> None:
        connection.exec_driver_sql("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")

    with pytest.raises(AbortedTransactionError, match="Nothing was changed"):
        database.run(abort)


def test_a_writer_that_waited_too_long_is_told_so(
    database: Database, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ayni.database.postgresql, "LOCK_SECONDS", 1)
    second = Database(url)

    with (
        database.transaction(),
        pytest.raises(BusyDatabaseError, match="Nothing was changed"),
        second.transaction(),
    ):
        pass


def test_a_writer_that_hangs_is_cut_off_so_that_others_can_go_on(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ayni.database.postgresql, "IDLE_SECONDS", 1)
    hanging, other = Database(url), Database(url)

    with pytest.raises(LostDatabaseError), hanging.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE half (n INTEGER)"))
        with other.transaction() as second:
            assert not sa.inspect(second).has_table("half")
        connection.execute(sa.text("SELECT 1"))


def _write_for_ever(url: str, pipe: Any) -> None:
    database = Database(url)
    for n in range(10**6):
        with database.transaction() as connection:
            connection.execute(sa.text("INSERT INTO notes VALUES (:n, 'a')"), {"n": 2 * n})
            connection.execute(sa.text("INSERT INTO notes VALUES (:n, 'b')"), {"n": 2 * n + 1})
        pipe.send(n)


def test_a_killed_writer_lets_go_at_once_and_leaves_whole_transactions(database: Database, url: str) -> None:
    receiving, sending = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(url, sending))
    process.start()
    acknowledged = [receiving.recv() for _ in range(20)]

    os.kill(int(process.pid or 0), signal.SIGKILL)
    process.join()

    while receiving.poll():
        acknowledged.append(receiving.recv())
    database.run(lambda connection: connection.execute(sa.text("INSERT INTO notes VALUES (-1, 'after')")))
    found = notes(database)
    assert found[0] == -1
    assert found[1:] == list(range(len(found) - 1))
    assert len(found) % 2 == 1
    assert acknowledged[-1] <= found[-1] // 2


def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")

    with pytest.raises(LostDatabaseError, match="AYNI_DATABASE_URL") as caught:
        Database(f"postgresql://me:secret@/ayni?host={tmp_path}")

    assert "secret" not in str(caught.value)
    assert "me:***@" in str(caught.value)


def test_a_user_that_may_not_write_is_told_what_is_missing(url: str, postgresql: Any) -> None:
    Database(url).close()
    postgresql.execute("DROP ROLE IF EXISTS reader")
    postgresql.execute("CREATE ROLE reader LOGIN")

    with pytest.raises(RefusedByDatabaseError, match="permission denied"):
        Database(url.replace("postgres@", "reader@"))


def test_a_revision_that_we_do_not_know_is_refused(database: Database, url: str) -> None:
    database.run(lambda connection: connection.execute(sa.text("UPDATE alembic_version SET version_num = 9")))

    with pytest.raises(NewerDatabaseError, match="revision 9"):
        Database(url)


def test_a_server_makes_no_backup_file(database: Database) -> None:
    assert database.backup() is None


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("mysql://me@host/db", "mysql is not PostgreSQL"),
        ("postgresql://me:secret@host", "names no database"),
        ("nonsense", "cannot be taken apart"),
        ("postgresql://me:secret@host:port/db", "cannot be taken apart"),
        ("sqlite:///relative.db", "absolute path"),
    ],
)
def test_a_url_that_names_no_database_of_ours_is_the_users_mistake(wrong: str, reason: str) -> None:
    with pytest.raises(UnknownDatabaseError, match=reason) as caught:
        Database(wrong)

    assert "secret" not in str(caught.value)


def test_the_url_of_a_file_opens_it(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/x.db").close()

    assert (tmp_path / "x.db").exists()


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(MissingExtraError, match=r"ayni\[postgres\]"):
        Database("postgresql://me@host/db")

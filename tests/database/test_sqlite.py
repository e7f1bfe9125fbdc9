import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import ayni.database.sqlite
from ayni.database import (
    NEWEST_REVISION,
    BusyDatabaseError,
    DamagedDatabaseError,
    Database,
    DatabaseDeviceError,
    NewerDatabaseError,
)
from ayni.files import DiskFullError, NotWritableError

INSERT = sa.text("INSERT INTO notes VALUES (:n, :note)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "state.db"


def with_notes(path: Path, num_notes: int = 0, *, note: str = "x") -> Database:
    database = Database(path)
    with database.transaction() as connection:
        connection.execute(sa.text("CREATE TABLE notes (n INTEGER PRIMARY KEY, note TEXT)"))
        for n in range(num_notes):
            connection.execute(INSERT, {"n": n, "note": note})
    return database


def notes(database: Database) -> list[int]:
    with database.transaction() as connection:
        return list(connection.execute(sa.text("SELECT n FROM notes ORDER BY n")).scalars())


# Room for the tables of all capabilities, a backup of them, and little more.
DEVICE_BYTES = 4 << 20


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that a test may fill up or make read-only."""
    folder = tmp_path / "device"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DEVICE_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("name", ["state.db", "what?.db", "a%20b#c.db", "file:x.db", ":memory:"])
def test_opening_makes_the_file_under_its_very_name_and_the_newest_tables(tmp_path: Path, name: str) -> None:
    database = Database(tmp_path / name)

    with database.transaction() as connection:
        found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    database.close()
    assert found == NEWEST_REVISION
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_a_block_wrote_is_there_after_it_and_after_opening_again(path: Path) -> None:
    with_notes(path, 3).close()

    assert notes(Database(path)) == [0, 1, 2]


def test_who_only_reads_cannot_write_and_neither_waits_nor_holds_up(path: Path) -> None:
    database, other = with_notes(path, 1), Database(path)

    with database.reading() as connection, other.transaction() as writing:
        writing.execute(INSERT, {"n": 1, "note": "x"})
        assert connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one() == 1
    with pytest.raises(NotWritableError, match="readonly"), database.reading() as connection:
        connection.execute(INSERT, {"n": 2, "note": "x"})

    database.run(lambda writing: writing.execute(INSERT, {"n": 2, "note": "x"}))
    assert notes(database) == [0, 1, 2]


def test_a_block_that_raises_leaves_nothing(path: Path) -> None:
    database = with_notes(path, 1)

    with pytest.raises(KeyboardInterrupt), database.transaction() as connection:
        connection.execute(INSERT, {"n": 1, "note": "x"})
        raise KeyboardInterrupt

    assert notes(database) == [0]


def test_two_writers_never_read_the_same_state_before_either_writes(path: Path) -> None:
    database = with_notes(path)

    def add_twenty() -> None:
        for _ in range(20):
            with database.transaction() as connection:
                count = connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one()
                connection.execute(INSERT, {"n": count, "note": "x"})

    threads = [threading.Thread(target=add_twenty) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert notes(database) == list(range(80))


def _open_and_count(path: Path, start: Any, problems: Any) -> None:
    start.wait()
    try:
        for _ in range(20):
            database = Database(path)
            with database.transaction() as connection:
                connection.execute(sa.text("CREATE TABLE IF NOT EXISTS counts (n INTEGER)"))
                connection.execute(sa.text("INSERT INTO counts VALUES (1)"))
            database.close()
        problems.put(None)
    except BaseException as error:
        problems.put(repr(error))


@pytest.mark.cluster
def test_processes_that_open_a_new_home_at_once_all_succeed(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    start, problems = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_open_and_count, args=(path, start, problems)) for _ in range(4)]

    for process in processes:
        process.start()
    outcomes = [problems.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()

    assert outcomes == [None] * 4
    with Database(path).transaction() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM counts")).scalar_one() == 80


def test_a_first_opener_waits_for_another_one_that_is_not_done(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # SQLite answers "locked" at once to who asks for the write-ahead log now, whatever its timeout.
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, other.rollback)
    release.start()

    Database(path)

    release.join()
    other.close()


def test_a_writer_that_waited_too_long_is_told_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ayni.database.sqlite, "BUSY_SECONDS", 0.05)
    first, second = with_notes(path), Database(path)

    with (
        first.transaction(),
        pytest.raises(BusyDatabaseError, match="Nothing was changed"),
        second.transaction(),
    ):
        pass


@pytest.mark.parametrize("content", [b"not a database at all" * 500, b"\x00" * 8192, os.urandom(8192)])
def test_a_file_that_is_no_database_is_named_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(DamagedDatabaseError, match="is damaged"):
        Database(path)

    assert path.read_bytes() == content


@pytest.mark.parametrize("where", [0.02, 0.3, 0.6, 0.9])
def test_a_page_of_rubbish_is_found_before_it_replaces_the_backup(path: Path, where: float) -> None:
    database = with_notes(path, 2000, note="y" * 100)
    backup = database.backup()
    database.close()
    good = backup.read_bytes()
    content = bytearray(path.read_bytes())
    first = max(int(len(content) * where) // 4096, 1) * 4096
    content[first : first + 4096] = b"\xee" * 4096
    path.write_bytes(content)

    with pytest.raises(DamagedDatabaseError, match=r"cp .*state\.db\.backup"):
        Database(path).backup()

    assert backup.read_bytes() == good
    assert sorted(file.name for file in path.parent.iterdir() if file.suffix == ".tmp") == []


def test_the_remedy_for_a_damaged_database_works(path: Path) -> None:
    database = with_notes(path, 5)
    backup = database.backup()
    database.close()
    path.write_bytes(b"damaged" * 1000)

    shutil.copy(backup, path)
    for name in (f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)

    assert notes(Database(path)) == [0, 1, 2, 3, 4]


def test_without_a_backup_the_error_does_not_send_the_user_to_one(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"damaged" * 1000)

    with pytest.raises(DamagedDatabaseError, match=r"There is no state\.db\.backup"):
        Database(path)


@pytest.mark.parametrize("is_deleted", [True, False])
def test_an_emptied_database_beside_its_backup_is_not_taken_for_a_new_one(
    path: Path, is_deleted: bool
) -> None:
    database = with_notes(path, 1)
    database.backup()
    database.close()
    path.unlink()
    if not is_deleted:
        path.touch()

    with pytest.raises(DamagedDatabaseError, match="no tables"):
        Database(path)


def test_text_that_is_not_text_any_more_is_damage(path: Path) -> None:
    database = with_notes(path, 1)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE notes SET note = CAST(x'ff' AS TEXT)")

    with pytest.raises(DamagedDatabaseError), database.transaction() as found:
        found.execute(sa.text("SELECT note FROM notes")).all()


@pytest.mark.parametrize(
    ("revision", "error"), [("9999", NewerDatabaseError), ("0000", DamagedDatabaseError)]
)
def test_a_revision_that_we_do_not_know_is_refused(path: Path, revision: str, error: type[Exception]) -> None:
    Database(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    with pytest.raises(error, match=revision):
        Database(path)


def test_a_backup_holds_what_was_written_before_it_and_replaces_the_one_before(path: Path) -> None:
    database = with_notes(path, 1)
    database.backup()
    with database.transaction() as connection:
        connection.execute(INSERT, {"n": 1, "note": "x"})

    backup = database.backup()

    with sqlite3.connect(backup) as copy:
        assert copy.execute("SELECT n FROM notes").fetchall() == [(0,), (1,)]


def test_a_file_in_place_of_the_home_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "home").touch()

    with pytest.raises(NotWritableError):
        Database(tmp_path / "home" / "state.db")


def test_a_folder_in_place_of_the_database_is_the_users_mistake(path: Path) -> None:
    path.mkdir(parents=True)

    with pytest.raises(NotWritableError, match="unable to open"):
        Database(path)


def test_a_full_disk_undoes_the_transaction_and_keeps_all_before_it(mounted: Path) -> None:
    database = with_notes(mounted / "state.db", 3)

    with pytest.raises(DiskFullError), database.transaction() as connection:
        for n in range(3, 1000):
            connection.execute(INSERT, {"n": n, "note": "z" * 5000})

    assert notes(database) == [0, 1, 2]
    database.close()
    assert notes(Database(mounted / "state.db")) == [0, 1, 2]


def test_a_backup_that_does_not_fit_leaves_the_one_before(mounted: Path) -> None:
    database = with_notes(mounted / "state.db", 3)
    backup = database.backup()
    with database.transaction() as connection:
        connection.execute(INSERT, {"n": 3, "note": "z" * 5000})
    left = os.statvfs(mounted).f_bavail * os.statvfs(mounted).f_frsize
    (mounted / "filler").write_bytes(bytes(left - backup.stat().st_size // 2))

    with pytest.raises(DiskFullError):
        database.backup()

    with sqlite3.connect(backup) as copy:
        assert copy.execute("SELECT count(*) FROM notes").fetchone() == (3,)
    assert [file.name for file in mounted.iterdir() if file.name.endswith(".tmp")] == []


def test_a_new_home_on_a_full_disk_is_named(mounted: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        (mounted / "filler").write_bytes(bytes(2 * DEVICE_BYTES))

    with pytest.raises((DiskFullError, DatabaseDeviceError)):
        Database(mounted / "state.db")


def test_a_home_that_became_read_only_is_named_whether_it_is_new_or_not(mounted: Path) -> None:
    with_notes(mounted / "state.db", 1).close()
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)

    for name in ("state.db", "new.db", "deep/new.db"):
        with pytest.raises(NotWritableError, match="AYNI_HOME="):
            notes(Database(mounted / name))


@pytest.mark.cluster
def test_a_file_size_limit_is_named_and_nothing_before_it_is_lost(path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; import sqlalchemy as sa\n"
        "from ayni.database import *; from ayni.errors import AyniError\n"
        "database = Database(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    for n in range(3, 1000):\n"
        "        with database.transaction() as connection:\n"
        "            row = {'n': n, 'note': 'z' * 5000}\n"
        "            connection.execute(sa.text('INSERT INTO notes VALUES (:n, :note)'), row)\n"
        "        print(n, flush=True)\n"
        "except AyniError as error:\n"
        "    print(type(error).__name__)\n"
    )
    with_notes(path, 3).close()

    command = [sys.executable, "-c", script, str(path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()

    assert printed[-1] in ("DatabaseDeviceError", "DiskFullError")
    assert notes(Database(path)) == list(range(3 + len(printed) - 1))


@pytest.mark.cluster
def test_transactions_acknowledged_before_a_kill_are_all_there_and_none_is_half(path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; import sqlalchemy as sa; from ayni.database import *\n"
        "database = Database(Path(sys.argv[1]))\n"
        "for n in range(int(sys.argv[2]), 10**6, 2):\n"
        "    with database.transaction() as connection:\n"
        "        for row in ({'n': n, 'note': 'a'}, {'n': n + 1, 'note': 'b' * 5000}):\n"
        "            connection.execute(sa.text('INSERT INTO notes VALUES (:n, :note)'), row)\n"
        "    print(n, flush=True)\n"
    )
    with_notes(path).close()
    num_found = 0

    for num_transactions in (2, 25):
        command = [sys.executable, "-c", script, str(path), str(num_found)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged = [int(process.stdout.readline()) for _ in range(num_transactions)]
            process.kill()
            acknowledged += [int(line) for line in process.stdout.read().split()]

        database = Database(path)
        found = notes(database)
        num_found = len(found)
        database.close()
        assert num_found % 2 == 0
        assert found == list(range(num_found))
        assert set(acknowledged) <= set(found)


def test_who_reads_waits_for_no_writer_and_sees_the_state_before(tmp_path: Path) -> None:
    database = Database(tmp_path / "ayni.db")
    with database.transaction() as writer:
        writer.exec_driver_sql("CREATE TABLE things (name TEXT)")
    with database.transaction() as writer:
        writer.exec_driver_sql("INSERT INTO things VALUES ('new')")

        with database.reading() as reader:
            assert reader.exec_driver_sql("SELECT count(*) FROM things").scalar() == 0

    with database.reading() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM things").scalar() == 1
    database.close()

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

import ayni
import ayni.migrations
from ayni.database import NEWEST_REVISION, Database, metadata
from ayni.hub import catalogue, commits, revisions
from ayni.hub.repository import Repository
from ayni.hub.tables import repository_objects_table

FOLDER = Path(ayni.migrations.__file__).parent


@pytest.fixture
def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return ScriptDirectory.from_config(config)


def declare_all_tables() -> None:
    for package in pkgutil.iter_modules(ayni.__path__, "ayni."):
        folder = Path(ayni.__path__[0]) / package.name.removeprefix("ayni.")
        for path in folder.rglob("*.py"):
            if "= sa.Table(" in path.read_text():
                parts = path.relative_to(folder).with_suffix("").parts
                importlib.import_module(".".join((package.name, *parts)))


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(tmp_path: Path) -> None:
    declare_all_tables()
    assert {"ledger_transactions", "ledger_postings"} <= set(metadata.tables)

    with Database(tmp_path / "state.db").transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


@pytest.mark.cluster
def test_the_migrations_make_the_same_tables_on_postgresql(postgresql: Any) -> None:
    declare_all_tables()

    with Database(postgresql.new_database()).transaction() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = compare_metadata(context, metadata)

    assert differences == []


def test_balances_of_an_older_ledger_are_kept_from_then_on(tmp_path: Path) -> None:
    from alembic import command

    from ayni.market.double_entry import available, next_entry
    from ayni.market.ledger import Ledger, utc_now
    from ayni.market.movements import View, grant
    from ayni.market.store import DatabaseLedgerStore

    path, config = tmp_path / "state.db", Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    transaction = grant("me", amount_microcredits=70, policy="p").decide(View(balances={}, booked={}))
    assert transaction is not None
    row = next_entry(transaction, at=utc_now()).to_json()
    with sa.create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        postings = row.pop("postings")
        connection.execute(metadata.tables["ledger_transactions"].insert(), row)
        rows = [{"sequence": 1, "position": n, **posting} for n, posting in enumerate(postings)]
        connection.execute(metadata.tables["ledger_postings"].insert(), rows)

    ledger = Ledger(DatabaseLedgerStore(Database(path)))

    assert ledger.balance(available("me")) == 70
    assert ledger.check() == []


def test_alembic_finds_every_file_of_the_folder_in_one_line_to_the_newest(scripts: ScriptDirectory) -> None:
    found = [script.revision for script in reversed(list(scripts.walk_revisions()))]

    files = sorted(path.name for path in (FOLDER / "versions").glob("*.py") if path.name != "__init__.py")
    assert [name[:5] for name in files] == [f"r{revision}" for revision in found]
    assert found[-1] == NEWEST_REVISION
    assert found == sorted(found), "revisions are compared as text, so they must sort as they follow"
    assert len(scripts.get_heads()) == 1


def test_every_older_revision_is_brought_to_the_newest_by_opening_it(
    tmp_path: Path, scripts: ScriptDirectory
) -> None:
    from alembic import command

    for script in scripts.walk_revisions():
        path = tmp_path / f"{script.revision}.db"
        config = Config()
        config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
        with sa.create_engine(f"sqlite:///{path}").begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, script.revision)

        with Database(path).transaction() as connection:
            found = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
        assert found == NEWEST_REVISION


def test_a_migration_that_fails_leaves_the_database_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.db"
    monkeypatch.setattr("alembic.op.create_index", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        Database(path)
    monkeypatch.undo()
    with sa.create_engine(f"sqlite:///{path}").connect() as connection:
        assert sa.inspect(connection).get_table_names() == []

    Database(path)


@pytest.mark.cluster
def test_a_percent_sign_in_the_place_of_installation_does_no_harm(tmp_path: Path) -> None:
    copy = tmp_path / "100%(home)s" / "ayni"
    copy.parent.mkdir()
    copy.symlink_to(Path(ayni.__file__).parent)
    script = "import sys; from pathlib import Path; from ayni.database import *; Database(Path(sys.argv[1]))"

    subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(copy.parent)!r}); {script}",
            tmp_path / "x.db",
        ],
        check=True,
        cwd=tmp_path,
    )

    assert (tmp_path / "x.db").exists()


def test_repositories_of_the_first_hub_keep_their_names_commits_and_content(
    tmp_path: Path,
) -> None:
    # Given a database of revision 0002 with a repository of two commits that share a folder
    from alembic import command

    path = tmp_path / "state.db"
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    first, second, root, below = "a" * 40, "b" * 40, "c" * 40, "d" * 40
    with sa.create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        run = connection.exec_driver_sql
        run("INSERT INTO hub_repositories VALUES ('me/digits', 'Me/Digits', '2026-03-04T05:06:07+00:00')")
        run(f"INSERT INTO hub_refs VALUES ('Me/Digits', 'refs/heads/main', '{second}')")
        for revision, parent, key in ((first, "NULL", "'run-1'"), (second, f"'{first}'", "NULL")):
            run(
                "INSERT INTO hub_commits (repository, revision, parent, tree, author, message, committed_at, "
                f"publish_key) VALUES ('Me/Digits', '{revision}', {parent}, '{root}', 'Ada', 'Publish', "
                f"'2026-03-05T05:06:07+00:00', {key})"
            )
        run(f"INSERT INTO hub_entries VALUES ('{root}', 'receipts', '40000', '{below}', NULL, NULL)")
        run(f"INSERT INTO hub_entries VALUES ('{below}', 'one', '100644', '{'e' * 40}', '{'f' * 64}', 7)")

    # When it is opened
    with Database(path).transaction() as connection:
        repository = catalogue.find(connection, "model", "me/digits")

        # Then nothing is lost
        assert isinstance(repository, Repository)
        assert repository.name == "Me/Digits"
        assert repository.updated_at.day == 5
        assert revisions.resolve(connection, repository, None) == second
        assert [each.revision for each in revisions.history(connection, repository.id)] == [second, first]
        assert commits.revision_of_key(connection, repository.id, "run-1") == first
        links = connection.execute(sa.select(repository_objects_table)).all()
        assert [tuple(link) for link in links] == [(repository.id, "f" * 64, 7)]


def test_commits_that_were_there_before_are_the_first_of_the_log(tmp_path: Path) -> None:
    from alembic import command

    from ayni.hub import commit_log
    from ayni.hub.commit_log_mirror import check_chain

    path, config = tmp_path / "state.db", Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    row = {"repository_id": 1, "tree": "t" * 40, "author": "a", "message": "m\u00e9", "committed_at": "2026"}
    with sa.create_engine(f"sqlite:///{path}").begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0014")
        for number in (2, 1):
            values = {**row, "sequence": number, "revision": f"{number}" * 40}
            connection.execute(metadata.tables["hub_commits"].insert(), values)
        command.upgrade(config, "0015")

    with Database(path).transaction() as connection:
        found = commit_log.entries(connection, after=0, limit=9, visible=sa.true())

    check_chain([each.to_json() for each in found])
    assert [each.sequence for each in found] == [1, 2]

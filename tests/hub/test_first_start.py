import threading
from pathlib import Path

from tests.hub.hub_rows import WHEN

from ayni.database import Database
from ayni.hub import catalogue
from ayni.hub.database_callers import DatabaseCallers
from ayni.hub.first_start import make_first_admin


def test_the_first_token_is_that_of_an_admin_and_comes_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")

    token = make_first_admin(database, "root", now=WHEN)
    again = make_first_admin(database, "other", now=WHEN)

    assert token is not None
    caller = DatabaseCallers(database, lambda: WHEN).caller_of(token)
    assert (caller.user, caller.is_admin, caller.scope, again) == ("root", True, "write", None)
    database.close()


def test_of_two_that_start_at_once_one_makes_the_admin(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    made: list[str | None] = []

    threads = [
        threading.Thread(target=lambda: made.append(make_first_admin(database, "root", now=WHEN)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(token is not None for token in made) == 1
    database.close()


def test_repositories_that_were_made_under_the_name_become_the_admins(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    with database.transaction() as connection:
        catalogue.create(connection, "model", "admin/digits", visibility="public", when=WHEN)

    assert make_first_admin(database, "admin", now=WHEN) is not None
    database.close()

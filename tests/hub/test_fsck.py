from collections.abc import Callable

import pytest
import sqlalchemy as sa
from tests.hub.stocked_hub import StockedHub, stocked_hub
from tests.hub.stored_files import file_at, files_in

from ayni.hub.member_tables import audit_log_table
from ayni.hub.tables import (
    commits_table,
    entries_table,
    names_table,
    refs_table,
    repository_objects_table,
)

__all__ = ["stocked_hub"]


@pytest.fixture
def filled(stocked_hub: StockedHub) -> StockedHub:
    repository = stocked_hub.repository()
    stocked_hub.commit(repository, a=b"one", b=b"two", large=("b",))
    stocked_hub.commit(repository, a=b"three")
    return stocked_hub


def test_a_whole_hub_is_sound_and_counted(filled: StockedHub) -> None:
    found = filled.check()

    assert found.is_sound and found.notes == []
    assert found.counts["commits"] == 2 and found.counts["hashed_bytes"] == 11


def change(table: sa.Table, **values: object) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(table.update().values(**values))


def drop(table: sa.Table, *conditions: sa.ColumnElement[bool]) -> Callable[[sa.Connection], object]:
    return lambda connection: connection.execute(table.delete().where(*conditions))


DAMAGES = {
    "commit": change(commits_table, message="Another"),
    "ref": change(refs_table, revision="0" * 40),
    "tree": drop(entries_table, entries_table.c.name == "b"),
    "link": drop(repository_objects_table),
    "name": change(names_table, repository_id=77),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_row_is_found(kind: str, filled: StockedHub) -> None:
    with filled.database.transaction() as connection:
        DAMAGES[kind](connection)

    found = filled.check(with_hashes=False)

    assert kind in {each.kind for each in found.problems}


def test_a_parent_that_is_gone_is_found(filled: StockedHub) -> None:
    with filled.database.transaction() as connection:
        connection.execute(commits_table.delete().where(commits_table.c.parent.is_(None)))

    assert any("parent that is gone" in each.text for each in filled.check().problems)


def test_a_broken_audit_log_is_found(filled: StockedHub) -> None:
    from ayni.hub import audit

    with filled.database.transaction() as connection:
        audit.note(connection, None, "user.add", "ada", now=filled.time)
        connection.execute(audit_log_table.update().values(subject="eve"))

    assert "audit-log" in {each.kind for each in filled.check().problems}


def test_a_missing_and_a_short_object_are_found_without_reading_any(filled: StockedHub) -> None:
    paths = files_in(filled.folder / "objects")
    paths[0].unlink()
    paths[1].write_bytes(b"1")

    found = filled.check(with_hashes=False)

    assert [each.kind for each in found.problems] == ["missing-object"] * 2


def test_a_changed_byte_is_found_when_hashes_are_asked_for(filled: StockedHub) -> None:
    path = files_in(filled.folder / "objects")[0]
    path.write_bytes(bytes(reversed(path.read_bytes())))

    assert filled.check(with_hashes=False).is_sound
    assert [each.kind for each in filled.check(with_hashes=True).problems] == ["damaged-object"]


def test_what_nothing_needs_is_a_note_and_no_problem(filled: StockedHub) -> None:
    filled.store(b"nobody names this")
    file_at(filled.folder / "objects", "README").write_text("mine")

    found = filled.check()

    assert found.is_sound
    assert {each.kind for each in found.notes} == {"unused", "stranger"}
    assert any("17 bytes" in each.text for each in found.notes)

import hashlib
import os
import threading
import time
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.hub.stocked_hub import StockedHub, stocked_hub

from ayni.hub import catalogue, commits, revisions, uploads
from ayni.hub.garbage import FreedContentError
from ayni.hub.tables import commits_table, entries_table

__all__ = ["stocked_hub"]


def test_what_is_used_is_never_freed(stocked_hub: StockedHub) -> None:
    repository = stocked_hub.repository()
    stocked_hub.commit(repository, a=b"one", b=b"two")
    stocked_hub.commit(repository, b=None)
    stocked_hub.receive(repository, b"on its way")

    stocked_hub.collect(hours=0.0001)
    done = stocked_hub.collect(hours=0.0001)

    assert done.num_bytes == 0 and done.commits == 0
    assert len(list(stocked_hub.objects.list())) == 3
    assert stocked_hub.check().is_sound


def test_unused_bytes_go_after_the_grace_period_and_not_before(stocked_hub: StockedHub) -> None:
    sha256 = stocked_hub.store(b"nobody names this")

    first = stocked_hub.collect()
    stocked_hub.pass_hours(23)
    early = stocked_hub.collect()
    stocked_hub.pass_hours(1)
    planned = stocked_hub.collector().look()
    late = stocked_hub.collect()

    assert (first.objects.count, early.objects.count) == (0, 0)
    assert first.waiting.count == 1 and first.waiting.num_bytes == 17
    assert (planned.objects.num_bytes, late.objects.num_bytes) == (17, 17)
    assert not stocked_hub.objects.has(sha256)


def test_a_dry_run_changes_nothing(stocked_hub: StockedHub) -> None:
    stocked_hub.store(b"nobody names this")
    stocked_hub.collect()
    stocked_hub.pass_hours(100)

    again = [stocked_hub.collector().look() for _ in range(2)]

    assert again[0] == again[1] and again[0].is_dry_run
    assert len(list(stocked_hub.objects.list())) == 1


def test_content_that_is_committed_just_before_it_is_due_stays(stocked_hub: StockedHub) -> None:
    repository = stocked_hub.repository()
    stocked_hub.store(b"kept after all")
    stocked_hub.collect()
    stocked_hub.pass_hours(48)

    stocked_hub.commit(repository, a=b"kept after all")
    done = stocked_hub.collect()

    assert done.objects.count == 0
    assert stocked_hub.check().is_sound


def test_a_commit_whose_content_was_freed_on_the_way_is_refused_and_works_again(
    stocked_hub: StockedHub,
) -> None:
    repository = stocked_hub.repository()
    stocked_hub.store(b"unused for long")
    stocked_hub.collect()
    stocked_hub.pass_hours(48)
    real_store = stocked_hub.store

    def store_and_lose(content: bytes) -> str:
        # Garbage collection comes between the upload, which finds its content there, and the commit.
        sha256 = real_store(content)
        stocked_hub.collect()
        return sha256

    stocked_hub.store = store_and_lose  # type: ignore[method-assign]
    with pytest.raises(FreedContentError):
        stocked_hub.commit(repository, a=b"unused for long")
    stocked_hub.store = real_store  # type: ignore[method-assign]

    stocked_hub.commit(repository, a=b"unused for long")

    assert stocked_hub.check().is_sound


def test_a_squash_frees_what_only_earlier_commits_had(stocked_hub: StockedHub) -> None:
    repository = stocked_hub.repository()
    stocked_hub.commit(repository, a=b"old weights")
    stocked_hub.commit(repository, a=b"new weights")
    with stocked_hub.database.transaction() as connection:
        commits.squash(
            connection, repository, revisions.MAIN, message="One", author="ada", when=stocked_hub.time
        )

    results = []
    for _ in range(3):
        results.append(stocked_hub.collect())
        stocked_hub.pass_hours(25)

    assert [each.commits for each in results] == [0, 2, 0]
    assert [each.trees for each in results] == [0, 1, 0]
    assert [each.objects.num_bytes for each in results] == [0, 0, 11]
    assert stocked_hub.check().is_sound
    assert len(list(stocked_hub.objects.list())) == 1


def test_a_deleted_repository_frees_its_own_and_not_what_others_have(stocked_hub: StockedHub) -> None:
    gone, stays = stocked_hub.repository("ada/gone"), stocked_hub.repository("ada/stays")
    stocked_hub.commit(gone, a=b"shared", b=b"its own")
    stocked_hub.commit(stays, a=b"shared")
    with stocked_hub.database.transaction() as connection:
        catalogue.delete(connection, gone, when=stocked_hub.time)
    stocked_hub.pass_hours(25)

    stocked_hub.collect(hours=0)

    assert [*stocked_hub.objects.list()] == [hashlib.sha256(b"shared").hexdigest()]
    assert stocked_hub.check().is_sound


def test_uploads_that_were_given_up_go_with_their_parts(stocked_hub: StockedHub) -> None:
    repository = stocked_hub.repository()
    part = stocked_hub.store(b"a part")
    with stocked_hub.database.transaction() as connection:
        upload = uploads.begin(
            connection, repository.id, sha256="a" * 64, size_bytes=100, when=stocked_hub.time
        )
        from ayni.objects import Stored

        uploads.note_part(connection, upload, 1, Stored(sha256=part, size_bytes=6))
    assert stocked_hub.collect().uploads == 0
    stocked_hub.pass_hours(25)

    done = stocked_hub.collect(hours=0)

    assert (done.uploads, done.objects.count) == (1, 1)


@pytest.mark.disk
def test_files_of_a_killed_upload_are_removed_when_they_are_old(stocked_hub: StockedHub) -> None:
    folder = stocked_hub.folder / "objects" / "incoming"
    folder.mkdir(parents=True)
    for name, hours in (("a" * 32, 100), ("b" * 32, 1)):
        (folder / name).write_bytes(b"12345")
        then = (stocked_hub.time - timedelta(hours=hours)).astimezone(UTC).timestamp()
        os.utime(folder / name, (then, then))

    done = stocked_hub.collect()

    assert (done.incoming.count, done.incoming.num_bytes) == (1, 5)
    assert [path.name for path in folder.iterdir()] == ["b" * 32]


def test_it_may_run_while_others_commit(stocked_hub: StockedHub) -> None:
    repository = stocked_hub.repository()
    contents = [b"content %d" % number for number in range(8)]
    for content in contents:
        stocked_hub.store(content)
    end = time.monotonic() + 3
    failed: list[Exception] = []

    def commit_on_and_off(number: int) -> None:
        turn = 0
        while time.monotonic() < end:
            turn += 1
            name = f"f{number}"
            try:
                stocked_hub.commit(repository, **{name: contents[(number + turn) % 8]})
                stocked_hub.commit(repository, **{name: b"other %d %d" % (number, turn)})
            except FreedContentError:
                continue
            except Exception as error:
                failed.append(error)
                return

    writers = [threading.Thread(target=commit_on_and_off, args=(number,)) for number in range(3)]
    for writer in writers:
        writer.start()
    while time.monotonic() < end:
        stocked_hub.collect(hours=0)
    for writer in writers:
        writer.join()

    assert not failed
    assert stocked_hub.check().is_sound


def test_rows_that_nobody_can_reach_are_gone(stocked_hub: StockedHub) -> None:
    repository = stocked_hub.repository()
    stocked_hub.commit(repository, a=b"1")
    with stocked_hub.database.transaction() as connection:
        catalogue.delete(connection, repository, when=stocked_hub.time)
    stocked_hub.pass_hours(1)

    stocked_hub.collect(hours=0)

    with stocked_hub.database.reading() as connection:
        for table in (commits_table, entries_table):
            assert connection.scalar(sa.select(sa.func.count()).select_from(table)) == 0


@pytest.mark.cluster
def test_it_works_on_postgresql_as_well(postgresql: Any, tmp_path: Path) -> None:
    hub = StockedHub(tmp_path / "hub", database=str(postgresql.new_database()))
    repository = hub.repository()
    hub.commit(repository, a=b"old weights", b=b"stays")
    hub.commit(repository, a=b"new weights")
    with hub.database.transaction() as connection:
        commits.squash(connection, repository, revisions.MAIN, message="One", author="ada", when=hub.time)

    planned, done = hub.collector().look(), hub.collect(hours=0)
    found = hub.check()
    hub.database.close()

    assert (planned.num_bytes, done.num_bytes, done.commits) == (0, 11, 2)
    assert found.is_sound, found.problems

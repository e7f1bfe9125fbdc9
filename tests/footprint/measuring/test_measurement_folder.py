import os
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ayni.files import NotWritableError
from ayni.footprint.measuring.measurement_folder import (
    FolderLock,
    Terms,
    abandoned_folders,
    make_measurement_folder,
    plain_name,
    read_result,
    settle_mark,
    write_result,
)

NOON = datetime(2026, 11, 22, 12, 0, 5, 999999, tzinfo=UTC)


def terms(folder: Path) -> Terms:
    return Terms(
        id=folder.name,
        name="a name",
        program=None,
        node="node",
        zone="DE",
        pue=1.2,
        reserved_cores=2,
        grid_files=("/data/grid.csv",),
        functional_unit=("1k images", 2500.0),
    )


def test_a_folder_is_named_by_its_second_and_the_next_ones_by_a_number(tmp_path: Path) -> None:
    names = [make_measurement_folder(tmp_path / "footprint", "train me", now=NOON).name for _ in range(3)]

    assert names == [f"20261122-120005-train-me{end}" for end in ("", "-2", "-3")]


@pytest.mark.parametrize(
    ("name", "plain"),
    [("epoch-1", "epoch-1"), ("val/top 1", "val-top-1"), ("../../etc", "etc"), ("x" * 99, "x" * 60)],
)
def test_names_become_names_of_files(name: str, plain: str) -> None:
    assert plain_name(name) == plain


@pytest.mark.parametrize("name", ["", "///", "..."])
def test_a_name_of_which_nothing_remains_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        plain_name(name)


def test_a_result_keeps_the_terms_and_what_became_of_them(tmp_path: Path) -> None:
    folder = make_measurement_folder(tmp_path, "x", now=NOON)
    write_result(folder, terms(folder), "failed", exit_code=3)

    result = read_result(folder)

    assert Terms.from_json(result) == terms(folder)
    assert (result["schema"], result["status"], result["exit_code"]) == ("ayni/measurement/1", "failed", 3)
    with pytest.raises(ValueError, match="not 'done'"):
        write_result(folder, terms(folder), "done")


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "footprint").write_text("a file stands here")

    with pytest.raises(NotWritableError):
        make_measurement_folder(tmp_path / "footprint", "x", now=NOON)


def test_what_runs_is_not_abandoned_and_what_ended_neither(tmp_path: Path) -> None:
    folder = make_measurement_folder(tmp_path, "x", now=NOON)
    lock = FolderLock(folder)
    assert list(abandoned_folders(tmp_path)) == []

    lock.release()
    lock.release()
    assert list(abandoned_folders(tmp_path)) == []


def test_what_a_dead_process_left_is_abandoned_until_it_is_settled(tmp_path: Path) -> None:
    code = """
        import os, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from ayni.footprint.measuring.measurement_folder import FolderLock, make_measurement_folder
        lock = FolderLock(make_measurement_folder(Path(sys.argv[1]), "x", now=datetime.now(UTC)))
        os._exit(1)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], check=False)

    (folder,) = abandoned_folders(tmp_path)
    assert list(abandoned_folders(tmp_path)) == [folder]
    settle_mark(folder)
    assert list(abandoned_folders(tmp_path)) == []


def test_a_forked_child_that_forgets_a_lock_does_not_free_it(tmp_path: Path) -> None:
    folder = make_measurement_folder(tmp_path, "x", now=NOON)
    lock = FolderLock(folder)
    child = os.fork()
    if child == 0:
        lock.forget()
        os._exit(0)
    os.waitpid(child, 0)

    assert list(abandoned_folders(tmp_path)) == []
    lock.release()


def test_a_measurement_whose_folder_was_deleted_is_forgotten(tmp_path: Path) -> None:
    folder = make_measurement_folder(tmp_path, "x", now=NOON)
    FolderLock(folder).forget()
    (folder / "lock").unlink()
    folder.rmdir()

    assert list(abandoned_folders(tmp_path)) == []
    assert list((tmp_path / ".open").iterdir()) == []


def test_a_home_without_measurements_has_none_that_are_abandoned(tmp_path: Path) -> None:
    assert list(abandoned_folders(tmp_path / "nowhere")) == []

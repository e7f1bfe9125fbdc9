import os
from pathlib import Path

import pytest

from ayni.task import TaskReference
from ayni.train.config import TrainConfig
from ayni.train.engine import Session
from ayni.train.task_files import (
    LARGEST_BYTES,
    DamagedTransferError,
    TaskFilesTooLargeError,
    initial_file_here,
    pack_task_files,
    remove_old,
    session_here,
    take_piece,
)

TASK = """
import shapes
from parts.layers import WIDTH

class Task:
    def build_model(self): return shapes.SIDE * WIDTH
    def dataset(self, split): return []
    def loss(self, model, batch): return 0
    def evaluate(self, model, batches): return {}
    def example_input(self): return None
"""


@pytest.fixture
def job_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    (folder / "parts").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "task.py").write_text(TASK)
    (folder / "shapes.py").write_text("SIDE = 6\n")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "layers.py").write_text("WIDTH = 7\n")
    (folder / "data" / "stray.py").write_text("not a module of any package")
    return folder


def session_of(folder: Path) -> Session:
    return Session(
        session_id="s",
        fingerprint="0123456789abcdef0123",
        task=TaskReference(module_path=folder / "task.py", object_name="Task"),
        config=TrainConfig(),
        seed=0,
        spill_folder=Path("/not/here"),
    )


def test_a_machine_without_the_files_gets_a_copy_that_can_be_imported(
    job_folder: Path, tmp_path: Path
) -> None:
    files, session = pack_task_files(job_folder / "task.py"), session_of(job_folder)
    job_folder.rename(tmp_path / "elsewhere")

    here = session_here(session, files, tmp_path / "root")

    assert here.task.module_path.is_relative_to(tmp_path / "root")
    assert here.task.load().build_model() == 42  # type: ignore[comparison-overlap]
    assert here.spill_folder.is_dir()
    assert here.spill_folder.is_relative_to(tmp_path / "root")


def test_a_machine_with_the_same_files_uses_them_so_that_data_beside_the_task_is_found(
    job_folder: Path, tmp_path: Path
) -> None:
    files, session = pack_task_files(job_folder / "task.py"), session_of(job_folder)

    here = session_here(session, files, tmp_path / "root")

    assert here.task.module_path == job_folder / "task.py"


def test_a_changed_file_in_the_same_place_is_not_taken_for_the_task(job_folder: Path, tmp_path: Path) -> None:
    files, session = pack_task_files(job_folder / "task.py"), session_of(job_folder)
    (job_folder / "shapes.py").write_text("SIDE = 1\n")

    here = session_here(session, files, tmp_path / "root")

    assert here.task.module_path.is_relative_to(tmp_path / "root")
    assert (here.task.module_path.parent / "shapes.py").read_text() == "SIDE = 6\n"


def test_only_what_python_could_import_from_the_folder_travels(job_folder: Path) -> None:
    files = pack_task_files(job_folder / "task.py")

    assert [name for name, _ in files.files] == [
        "parts/__init__.py",
        "parts/layers.py",
        "shapes.py",
        "task.py",
    ]


def test_a_damaged_copy_is_written_again(job_folder: Path, tmp_path: Path) -> None:
    files, session = pack_task_files(job_folder / "task.py"), session_of(job_folder)
    job_folder.rename(tmp_path / "elsewhere")
    copy = session_here(session, files, tmp_path / "root").task.module_path
    copy.write_text("half a fi")

    session_here(session, files, tmp_path / "root")

    assert copy.read_text() == TASK


def test_a_folder_with_too_many_modules_is_refused(job_folder: Path) -> None:
    with (job_folder / "huge.py").open("wb") as file:
        file.truncate(LARGEST_BYTES + 1)

    with pytest.raises(TaskFilesTooLargeError, match="in a folder of its own"):
        pack_task_files(job_folder / "task.py")


def test_the_first_weights_reach_a_machine_that_lacks_them_in_pieces(
    job_folder: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "first.safetensors"
    content = os.urandom(40_000_000)
    weights.write_bytes(content)
    files = pack_task_files(job_folder / "task.py", weights)
    assert files.initial is not None
    pieces = list(files.initial.pieces())
    weights.unlink()
    root = tmp_path / "root"
    was_there = initial_file_here(files.initial, root)

    for offset, piece in pieces:
        take_piece(files.initial, root, offset, piece)

    here = initial_file_here(files.initial, root)
    assert len(pieces) > 1
    assert was_there is None
    assert here is not None
    assert here.suffix == ".safetensors"
    assert here.read_bytes() == content
    assert session_here(session_of(job_folder), files, root).init_path == here


def test_first_weights_that_arrive_damaged_are_refused(job_folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "first.safetensors"
    weights.write_bytes(b"weights")
    initial = pack_task_files(job_folder / "task.py", weights).initial
    assert initial is not None
    weights.unlink()

    with pytest.raises(DamagedTransferError, match="arrived damaged"):
        take_piece(initial, tmp_path / "root", 0, b"wEights")

    assert initial_file_here(initial, tmp_path / "root") is None


def test_a_machine_with_the_same_first_weights_uses_its_own(job_folder: Path, tmp_path: Path) -> None:
    weights = tmp_path / "first.safetensors"
    weights.write_bytes(b"weights")
    initial = pack_task_files(job_folder / "task.py", weights).initial
    assert initial is not None

    assert initial_file_here(initial, tmp_path / "root") == weights

    weights.write_bytes(b"other 7")
    assert initial_file_here(initial, tmp_path / "root") is None


def test_what_trainings_left_is_removed_after_a_month_and_not_before(tmp_path: Path) -> None:
    now = 1_000_000_000.0
    for name, age_days in (("spill/old", 31), ("spill/new", 29), ("tasks/old", 31)):
        (tmp_path / name).mkdir(parents=True)
        os.utime(tmp_path / name, (now, now - age_days * 86_400))

    remove_old(tmp_path, now=now)

    assert [path.name for path in tmp_path.glob("*/*")] == ["new"]

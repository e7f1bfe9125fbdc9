import pickle
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from ayni.task import Task, TaskFailedError, TaskImportError, TaskReference

WHOLE = """
class Whole:
    def build_model(self): return "model"
    def dataset(self, split): return []
    def loss(self, model, batch): return 0
    def evaluate(self, model, batches): return {}
    def example_input(self): return None
"""


def reference(folder: Path, code: str, name: str = "Whole") -> TaskReference:
    path = folder / "task.py"
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return TaskReference(module_path=path, object_name=name)


@pytest.mark.parametrize("name", ["Whole", "make", "made"])
def test_a_task_may_be_a_class_a_function_that_makes_one_or_an_object(tmp_path: Path, name: str) -> None:
    found = reference(tmp_path, WHOLE + "\ndef make(): return Whole()\nmade = Whole()\n", name).load()

    assert isinstance(found, Task)
    assert found.build_model() == "model"


@pytest.mark.parametrize(("name", "is_built"), [("Whole", False), ("make", False), ("made", True)])
def test_only_an_object_is_built_already(tmp_path: Path, name: str, is_built: bool) -> None:
    code = WHOLE + "\ndef make(): return Whole()\nmade = Whole()\n"

    assert reference(tmp_path, code, name).is_built is is_built


def test_a_changed_file_is_another_task_in_the_same_process(tmp_path: Path) -> None:
    first = reference(tmp_path, WHOLE)
    first_hash, first_task = first.sha256, first.load()
    second = reference(tmp_path, WHOLE.replace('"model"', '"other"'))

    assert second.load().build_model() == "other"
    assert first_task.build_model() == "model"
    assert second.sha256 != first_hash


def test_a_task_may_import_its_neighbours_and_leaves_the_search_path_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_a_task.py").write_text("answer = 42\n")
    before = list(sys.path)

    task = reference(tmp_path, "import neighbour_of_a_task\n" + WHOLE).load()

    assert task.build_model() == "model"
    assert sys.path == before


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("def (:", "SyntaxError"),
        ("import no_such_package_here", "no_such_package_here"),
        ("raise RuntimeError('broken on purpose')", "broken on purpose"),
        ("import sys; sys.exit('I leave')", "I leave"),
        ("raise KeyError()", "KeyError"),
        ("x = 1", "has no 'Whole'. It has: x"),
        ("class Whale: pass", "Did you mean 'Whale'?"),
        ("class Whole: pass", "no build_model, no dataset"),
        ("Whole = None", "no build_model"),
        ("def Whole(): return 5", "no build_model"),
        ("class Whole:\n    def __init__(self, size): pass", "size"),
        ("class Whole:\n    def __init__(self): raise SystemExit(0)", "SystemExit"),
        (WHOLE.replace("def loss", "loss = 5\n    def lose"), "no loss"),
        ("import sys; sys.path.clear(); raise RuntimeError('tidy')", "tidy"),
    ],
)
def test_a_file_that_gives_no_task_is_the_users_mistake_in_words(
    tmp_path: Path, code: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))

    with pytest.raises(TaskImportError) as caught:
        reference(tmp_path, code).load()

    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("package", "is_named"), [("keras", True), ("mine", False)])
def test_an_import_that_an_extra_would_mend_names_it(tmp_path: Path, package: str, is_named: bool) -> None:
    (tmp_path / "task.py").write_text(f"raise ModuleNotFoundError(name={package!r})")

    with pytest.raises(TaskImportError) as caught:
        TaskReference(module_path=tmp_path / "task.py", object_name="Points").load()

    assert ("pip install 'ayni[keras]'" in str(caught.value)) is is_named


def test_a_failed_import_is_tried_again_and_leaves_no_half_module(tmp_path: Path) -> None:
    switch = tmp_path / "ready"
    code = f"import pathlib\nif not pathlib.Path({str(switch)!r}).exists(): raise KeyboardInterrupt\n" + WHOLE
    task = reference(tmp_path, code)
    with pytest.raises(KeyboardInterrupt):
        task.load()
    switch.touch()

    assert task.load().build_model() == "model"


def test_a_task_that_loads_itself_while_it_is_imported_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    code = f"""
    from pathlib import Path
    from ayni.task import TaskReference
    TaskReference(module_path=Path({str(tmp_path / "task.py")!r}), object_name="Whole").load()
    """

    with pytest.raises(TaskImportError, match="has no 'Whole'"):
        reference(tmp_path, code).load()


def test_threads_that_load_a_task_at_once_share_one_module(tmp_path: Path) -> None:
    task, kinds = reference(tmp_path, "import time; time.sleep(0.05)\n" + WHOLE), []
    threads = [threading.Thread(target=lambda: kinds.append(type(task.load()))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(kinds) == 4
    assert len(set(kinds)) == 1


@pytest.mark.parametrize("name", ["missing.py", "folder.py"])
def test_a_file_that_is_not_there_is_the_users_mistake(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.py").mkdir()
    task = TaskReference(module_path=tmp_path / name, object_name="Whole")

    for use in (task.load, lambda: task.sha256):
        with pytest.raises(TaskImportError, match="does not exist"):
            use()


def test_a_reference_travels_to_a_worker_and_prints_as_in_the_job(tmp_path: Path) -> None:
    task = reference(tmp_path, WHOLE)

    assert pickle.loads(pickle.dumps(task)) == task
    assert str(task) == "task:Whole"


def test_a_failing_method_is_named_with_its_cause() -> None:
    error = TaskFailedError(method="loss", cause=KeyError("label"))

    assert "loss raised KeyError: 'label'" in str(error)
    assert error.method == "loss"

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

from ayni.files import read_json, write_json
from ayni.footprint.measuring.measurement_folder import abandoned_folders, read_result
from ayni.footprint.measuring.measurement_receipts import conditions_here, finish_abandoned
from ayni.footprint.receipts.verification import verify_receipts
from ayni.signing import load_or_create_key

KILLED = """
    import os, signal, sys
    from pathlib import Path
    from ayni.footprint.measuring.recording import Recording, Request
    from ayni.footprint.impacts.sci import FunctionalUnit
    unit = FunctionalUnit(name="run", count=1)
    recording = Recording(
        Request(name="work", zone="DE", home=Path(sys.argv[1]), functional_unit=unit, uses_gpu=False)
    )
    recording.begin_step("second")
    recording.begin_step("third")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_one(home: Path) -> Path:
    """A measurement whose process was killed; its folder."""
    code = textwrap.dedent(KILLED)
    assert subprocess.run([sys.executable, "-c", code, str(home)], check=False).returncode == -9
    (folder,) = (path for path in (home / "footprint").iterdir() if path.name != ".open")
    return folder


def test_what_a_killed_process_metered_gets_its_receipts_later(home: Path) -> None:
    folder = kill_one(home)
    key = load_or_create_key(home / "keys" / "signing.pem")
    assert read_result(folder)["status"] == "running"

    assert finish_abandoned(home / "footprint", key) == [folder]

    result = read_result(folder)
    assert (result["status"], result["footprint"]["zone"]) == ("interrupted", "DE")
    # Of the step that was open when the process died, no window had ended.
    receipts = [read_json(path) for path in sorted((folder / "receipts").iterdir())]
    assert [receipt["step"] for receipt in receipts] == ["run", "second"]
    assert receipts[0]["functional_unit"] == {"name": "run", "count": 1.0}
    assert verify_receipts(folder, key.public_key) == []
    assert finish_abandoned(home / "footprint", key) == []


def test_one_that_cannot_be_finished_stays_and_keeps_no_other_from_it(home: Path) -> None:
    folder = kill_one(home)
    key = load_or_create_key(home / "keys" / "signing.pem")
    copy = shutil.copytree(folder, folder.with_name("00000000-000000-damaged"))
    (copy / "result.json").write_text("{")
    (folder.parent / ".open" / copy.name).touch()
    elsewhere = shutil.copytree(folder, folder.with_name("00000000-000001-elsewhere"))
    write_json(elsewhere / "result.json", read_result(folder) | {"node": "another-machine"})
    (folder.parent / ".open" / elsewhere.name).touch()

    assert finish_abandoned(home / "footprint", key) == [folder]

    assert {path.name for path in abandoned_folders(folder.parent)} == {copy.name, elsewhere.name}


def test_one_that_ended_while_somebody_looked_stays_as_it_ended(home: Path) -> None:
    folder = kill_one(home)
    write_json(folder / "result.json", read_result(folder) | {"status": "finished"})

    finish_abandoned(home / "footprint", load_or_create_key(home / "keys" / "signing.pem"))

    assert read_result(folder)["status"] == "finished"
    assert not (folder / "receipts").exists()
    assert list((folder.parent / ".open").iterdir()) == []


def test_one_that_was_killed_before_its_first_window_measured_nothing(home: Path) -> None:
    folder = kill_one(home)
    (folder / "meter" / "windows.jsonl").unlink()

    finish_abandoned(home / "footprint", load_or_create_key(home / "keys" / "signing.pem"))

    assert (read_result(folder)["status"], read_result(folder)["footprint"]) == ("interrupted", None)
    assert list((folder.parent / ".open").iterdir()) == []


def test_the_machine_that_nobody_declared_is_part_of_the_conditions() -> None:
    conditions = conditions_here("DE", 1.2)

    assert (conditions.zone, conditions.pue, conditions.sources) == ("DE", 1.2, ())
    assert conditions.machine is not None and conditions.machine.kilograms_co2e.value > 0

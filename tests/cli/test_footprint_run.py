import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ayni.cli.footprint_run import FunctionalUnitError, functional_unit, summary_line
from ayni.footprint.measuring.run_command import CommandOutcome
from ayni.footprint.receipts.verification import verify_receipts


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`ayni footprint run ...` as a person types it."""
    command = [sys.executable, "-m", "ayni", "footprint", "run", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


def test_a_command_keeps_its_output_and_standard_error_gets_one_line(home: Path) -> None:
    answer = run("--zone", "DE", "--no-gpu", "--", "echo", "--json", "hello")

    assert (answer.returncode, answer.stdout) == (0, "--json hello\n")
    (line,) = answer.stderr.splitlines()
    assert line.startswith("ayni: ") and "J (" in line and "annual mean, DE)" in line
    folder = Path(line.rpartition("kept in ")[2])
    assert folder.name.endswith("-echo")
    assert verify_receipts(folder) == []


def test_the_result_is_one_line_of_json_on_request_and_the_exit_code_is_passed_on(home: Path) -> None:
    answer = run(
        *("--json", "--name", "nightly build", "--pue", "1.5", "--unit", "1k images=2500"),
        *("sh", "-c", "echo out; echo err >&2; exit 7"),
    )

    assert (answer.returncode, answer.stdout) == (7, "out\n")
    error, line = answer.stderr.splitlines()
    result = json.loads(line)
    assert error == "err"
    assert (result["name"], result["exit_code"], result["pue"]) == ("nightly build", 7, 1.5)
    (receipt,) = (json.loads(path.read_text()) for path in Path(result["folder"], "receipts").iterdir())
    assert receipt["functional_unit"] == {"name": "1k images", "count": 2500.0}
    assert receipt["facility_energy_microjoules"] == pytest.approx(1.5 * receipt["energy_microjoules"], abs=1)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "said"),
    [
        (["--", "no-such-command"], 127, "command not found"),
        (["--", "/etc/passwd"], 126, "may not be run"),
        (["--zone", "GERMANY", "--", "true"], 125, "Did you mean DE"),
        (["--unit", "images", "--", "true"], 125, "lacks = and a number"),
        (["--name", "///", "--", "true"], 125, "no name"),
        (["--grid", "nowhere.csv", "--", "true"], 125, "nowhere.csv"),
        (["--nonsense", "--", "true"], 2, "No such option"),
        ([], 2, "Missing argument"),
    ],
)
def test_what_cannot_be_measured_is_not_started(
    home: Path, arguments: list[str], exit_code: int, said: str
) -> None:
    answer = run(*arguments)

    assert (answer.returncode, answer.stdout) == (exit_code, "")
    assert said in answer.stderr and "Traceback" not in answer.stderr


def test_after_ctrl_c_it_dies_of_the_signal_as_the_command_did_so_that_loops_of_the_shell_end(
    home: Path,
) -> None:
    command = [
        sys.executable,
        "-m",
        "ayni",
        "footprint",
        "run",
        "--",
        "sh",
        "-c",
        "echo ready; exec sleep 600",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()

    assert process.returncode == -signal.SIGINT
    assert verify_receipts(Path(said.strip().rpartition("kept in ")[2])) == []


def test_a_functional_unit_is_a_name_with_a_number() -> None:
    unit = functional_unit("1k images = 2500")

    assert (unit.name, unit.count, unit.number) == ("1k images", 2500.0, 2.5)


@pytest.mark.parametrize("text", ["run", "run=", "run=zero", "run=0", "cats=3", "run=nan"])
def test_what_is_no_functional_unit_is_said_with_an_example(text: str) -> None:
    with pytest.raises(FunctionalUnitError, match="1k images=2500"):
        functional_unit(text)


def test_what_went_wrong_stands_in_the_line() -> None:
    outcome = CommandOutcome(
        exit_code=0,
        ended_by_signal=None,
        folder=Path("/home/footprint/x"),
        footprint=None,
        problems=("No space left on the device.",),
        num_left_running=2,
    )

    assert summary_line(outcome) == (
        "ayni: no receipt could be written, 2 of its processes still run, not measured further; "
        "No space left on the device.; kept in /home/footprint/x"
    )

"""The command line: pages of help, exit codes, messages without tracebacks."""

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ayni
from ayni.cli import main
from ayni.errors import AyniError, UserError

COMMANDS = (
    "init",
    "plan",
    "run",
    "resume",
    "verify",
    "predict",
    "explain",
    "simulate",
    "compress",
    "compress show",
    "compress compare",
    "train privacy",
    "train status",
    "data card",
    "data augment",
    "data audit",
    "data corrupt",
    "data generate",
    "footprint run",
    "footprint verify",
    "footprint compare",
    "footprint report",
    "footprint export",
    "footprint import",
    "footprint when",
    "footprint meters",
    "footprint calibrate",
    "footprint grid",
    "runs list",
    "runs show",
    "runs open",
    "runs remove",
    "offers add",
    "offers add-cloud",
    "offers list",
    "offers withdraw",
    "jobs submit",
    "jobs list",
    "jobs withdraw",
    "jobs explain",
    "market clear",
    "serve",
    "ledger check",
    "ledger statement",
    "serve",
    "hub create",
    "hub ls",
    "hub info",
    "hub export",
    "hub mirror",
    "hub import",
    "hub fsck",
    "hub gc",
    "hub rotate-key",
    "hub encrypt",
    "hub token create",
    "hub token list",
    "hub token revoke",
    "hub user add",
    "hub user list",
    "hub user remove",
    "hub user admin",
    "hub org create",
    "hub org list",
    "hub org add-member",
    "hub org remove-member",
    "hub org members",
    "hub org policy",
    "hub org quota",
    "ledger policy",
    "ledger close-quarter",
    "market clear",
    "market leases",
    "market release",
    "market budget",
    "offers add",
    "offers add-cloud",
    "offers list",
    "offers withdraw",
    "jobs submit",
    "jobs list",
    "jobs withdraw",
    "jobs explain",
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State of its own for each test."""
    monkeypatch.setenv("AYNI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "home"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_page_of_help_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command([*command.split(), "--help"]) == 0

    page = capsys.readouterr().out
    assert "example:" in page.lower()
    assert f"ayni {command}" in page.split("xample:")[1]
    assert max(len(line) for line in page.splitlines()) <= 80


def commands_below(group: Any, prefix: str = "") -> Iterator[str]:
    """All commands of a group and of the groups in it."""
    for name, command in group.commands.items():
        has_argument = any(each.param_type_name == "argument" for each in command.params)
        inner = hasattr(command, "commands")
        # A group that takes an argument is a command too.
        if has_argument or not inner:
            yield prefix + name
        if inner:
            yield from commands_below(command, f"{prefix}{name} ")


def test_the_list_of_commands_here_is_complete(capsys: pytest.CaptureFixture[str]) -> None:
    import typer.main

    group = typer.main.get_command(main.app)
    assert set(commands_below(group)) == set(COMMANDS)


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["--version"]) == 0

    assert capsys.readouterr().out == f"ayni {ayni.__version__}\n"


@pytest.mark.parametrize(
    "arguments", [["runn"], ["run"], ["run", "a", "--nonsense"], ["runs", "show", "--jsn"], ["predict", "x"]]
)
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(arguments) == 2

    assert "Usage: ayni" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_bad_job_exits_with_2_and_no_traceback(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "job.yaml"
    path.write_text("name: d\n")

    assert main.run_command([command, str(path)]) == 2

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-1].startswith(f"Error: {path}: the key `task` is missing.")
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("position", [0, 1, 2])
def test_debug_shows_the_traceback_wherever_it_stands(
    position: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", str(tmp_path / "absent.yaml")]
    arguments.insert(position, "--debug")

    assert main.run_command(arguments) == 2

    shown = capsys.readouterr()
    assert "Traceback" in shown.err
    assert "Error: " in shown.err


@pytest.mark.parametrize(
    "arguments", [["resume"], ["runs", "show"], ["runs", "open"], ["verify"], ["runs", "remove", "x"]]
)
def test_without_runs_the_way_to_the_first_is_shown(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(arguments) == 2

    assert "There are no runs yet. Start one with `ayni run job.yaml`." in capsys.readouterr().err


def test_an_empty_list_of_runs_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["runs", "list"]) == 0
    assert "no runs yet" in capsys.readouterr().out

    assert main.run_command(["runs", "list", "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("Mend the job."), 2, "Error: Mend the job.\n"),
        (AyniError("The disk is gone."), 1, "Error: The disk is gone.\n"),
        (OSError(errno.ENOSPC, "No space left"), 1, "Error: No space left on the device."),
        (RuntimeError("boom"), 1, "Error: RuntimeError: boom\nThis is a fault in Ayni. Please report it"),
    ],
)
def test_every_error_has_a_message_and_a_code(
    error: Exception,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)

    assert main.run_command([]) == code
    assert capsys.readouterr().err.startswith(text)


def test_the_notes_of_an_error_follow_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = AyniError("The disk is gone.")
    error.add_note("Go on with: ayni resume x")

    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(main, "app", fail)

    assert main.run_command([]) == 1
    assert capsys.readouterr().err == "Error: The disk is gone.\nGo on with: ayni resume x\n"


def test_ctrl_c_exits_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "app", stop)

    assert main.run_command([]) == 130


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom ayni.cli import main\nmain.run_command(['run', '--help'])\n"
        "heavy = {'torch', 'numpy', 'dask', 'pandas', 'onnx', 'sklearn', 'matplotlib', 'sqlalchemy',\n"
        "         'alembic', 'cryptography', 'yaml', 'ayni.jobs', 'ayni.wiring'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )

    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert output.splitlines()[-1] == "HEAVY []"


@pytest.mark.cluster
def test_a_reader_that_stops_early_sees_no_error() -> None:
    command = f"{sys.executable} -m ayni run --help | head -1"

    found = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)

    assert "Traceback" not in found.stderr
    assert "BrokenPipe" not in found.stderr

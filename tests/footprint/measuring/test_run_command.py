import json
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.measuring.measurement_folder import read_result
from ayni.footprint.measuring.run_command import CommandNotStartedError, find_program
from ayni.footprint.receipts.verification import verify_receipts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="commands are metered on Linux alone")

# As the command line calls it, with what became of it on the last line of standard error.
PROGRAM = """
    import json, sys
    from pathlib import Path
    from ayni.footprint.measuring.recording import Request
    from ayni.footprint.measuring.run_command import run_command
    request = Request(name="work", uses_gpu=False)
    outcome = run_command(sys.argv[2:], request, may_make_cgroup=sys.argv[1] == "cgroup")
    print(json.dumps([outcome.num_left_running, str(outcome.folder)]), file=sys.stderr)
    sys.exit(outcome.exit_code)
"""
BURN = "import time\nwhile time.process_time() < {}: pass"


def command_line(*command: str, clock: str = "cgroup") -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(PROGRAM), clock, *command]


def run(*command: str, clock: str = "cgroup", **options: Any) -> tuple[int, str, int, dict[str, Any]]:
    """Exit code, standard output, processes left running, and the result of a metered command."""
    answer = subprocess.run(
        command_line(*command, clock=clock),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        **options,
    )
    assert answer.stderr, answer
    num_left, folder = json.loads(answer.stderr.splitlines()[-1])
    assert verify_receipts(Path(folder)) == []
    return answer.returncode, answer.stdout, num_left, read_result(Path(folder))


def test_input_and_output_are_the_commands_own(home: Path) -> None:
    code, output, _, result = run("cat", "-n", input="one\ntwo\n")

    assert (code, output.split()) == (0, ["1", "one", "2", "two"])
    assert (result["status"], result["program"], result["exit_code"]) == ("finished", "cat", 0)


@pytest.mark.parametrize(
    ("script", "exit_code", "status"),
    [("exit 7", 7, "failed"), ("kill -TERM $$", 143, "interrupted"), ("kill -SEGV $$", 139, "failed")],
)
def test_the_exit_code_is_that_of_the_command(home: Path, script: str, exit_code: int, status: str) -> None:
    code, _, _, result = run("sh", "-c", script)

    assert (code, result["exit_code"], result["status"]) == (exit_code, exit_code, status)


@pytest.mark.parametrize("clock", ["cgroup", "tree"])
def test_the_cpu_time_of_all_processes_is_counted_dead_ones_and_orphans_included(
    home: Path, clock: str
) -> None:
    # Two that are waited for; and one whose parent ends at once, so that it leaves the tree.
    script = textwrap.dedent(f"""
        {sys.executable} -c "$BURN_A"
        {sys.executable} -c "$BURN_A"
        ( ({sys.executable} -c "$BURN_B"; touch done) & )
        while [ ! -e done ]; do sleep 0.1; done
        sleep 0.5
    """)
    env = {**os.environ, "BURN_A": BURN.format(0.3), "BURN_B": BURN.format(0.4)}

    code, _, num_left, result = run("sh", "-c", script, clock=clock, env=env, cwd=home.parent)

    assert (code, num_left) == (0, 0)
    assert result["footprint"]["cpu_seconds"] >= 0.95 * 1.0


def test_ayni_itself_is_not_counted(home: Path) -> None:
    # Starting the interpreter and choosing the meters takes about half a second of CPU time.
    for clock in ("cgroup", "tree"):
        assert run("true", clock=clock)[3]["footprint"]["cpu_seconds"] < 0.1


def test_what_the_command_leaves_running_is_said_and_lives_on(home: Path) -> None:
    for clock in ("cgroup", "tree"):
        _, output, num_left, _ = run("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!", clock=clock)
        assert num_left == 1
        os.kill(int(output), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_is_handed_on_and_the_receipt_is_kept(home: Path, number: signal.Signals) -> None:
    script = f"trap 'echo caught; exit 9' {int(number)}; echo ready; while :; do sleep 0.1; done"
    with subprocess.Popen(
        command_line("sh", "-c", script), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.stdout.read() == "caught\n"
        _, folder = json.loads(process.stderr.read().splitlines()[-1])

    assert process.returncode == 9
    assert verify_receipts(Path(folder)) == []


def test_the_command_is_killed_as_it_would_be_alone(home: Path) -> None:
    with subprocess.Popen(
        command_line("sh", "-c", "echo ready; exec sleep 600"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)

    assert process.returncode == 143


def test_ctrl_c_reaches_the_command_once_and_keeps_the_receipt(home: Path) -> None:
    # Counts how often it is interrupted, as an interactive program does.
    code = """
        import signal, sys, time
        count = []
        signal.signal(signal.SIGINT, lambda *_: count.append(1))
        print("ready", flush=True)
        end = time.monotonic() + 600
        while not count and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        print("interrupted", len(count), "terminal", sys.stdin.isatty(), flush=True)
        sys.exit(130)
    """
    # A terminal of its own: this child leads its session, so that Ctrl-C goes to its group.
    child, terminal = pty.fork()
    if child == 0:
        arguments = command_line(sys.executable, "-c", textwrap.dedent(code))
        os.execv(sys.executable, arguments)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    while True:
        try:
            piece = os.read(terminal, 1000)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        seen += piece
    _, status = os.waitpid(child, 0)

    assert b"interrupted 1 terminal True" in seen, seen
    assert os.waitstatus_to_exitcode(status) == 130
    _, folder = json.loads(seen.splitlines()[-1])
    assert read_result(Path(folder))["status"] == "interrupted"
    assert verify_receipts(Path(folder)) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_before_the_command_is_there_ends_it_all(
    home: Path, number: signal.Signals
) -> None:
    early = f"import os, signal; signal.pthread_sigmask(signal.SIG_BLOCK, [{int(number)}]);"
    early += f"os.kill(os.getpid(), {int(number)})\n"
    arguments = command_line("echo", "started")
    arguments[2] = early + arguments[2]

    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=900, check=False)

    assert answer.returncode == 128 + number, answer.stderr
    assert answer.stdout == ""
    assert [path.name for path in (home / "footprint").iterdir()] == [".open"]


@pytest.mark.slow
def test_orphans_that_died_are_waited_for_while_the_command_runs(home: Path) -> None:
    # Each double fork leaves an orphan behind; without anybody who waits, all of them would stay.
    script = """
        for number in 1 2 3 4 5; do (true & ); sleep 1.2; done
        ps -o stat= --ppid $PPID | grep -c Z
    """
    _, output, _, _ = run("sh", "-c", textwrap.dedent(script))

    assert int(output) < 5


def test_signals_that_were_ignored_stay_ignored_and_pipes_break_as_usual(home: Path) -> None:
    # Python ignores SIGPIPE; a program that it starts must still die of it.
    code, _, _, _ = run("sh", "-c", "kill -PIPE $$")
    assert code == 141

    ignoring = "import signal, os, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    ignoring += "; os.execv(sys.argv[1], sys.argv[1:])"
    answer = subprocess.run(
        [sys.executable, "-c", ignoring, *command_line("sh", "-c", "kill -INT $$; echo alive")],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert answer.stdout == "alive\n"


def test_a_script_without_its_first_line_is_run_by_the_shell(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo from the shell: $1\n")
    script.chmod(0o755)

    assert run(str(script), "argument")[:2] == (0, "from the shell: argument\n")


def test_a_command_that_is_not_there_leaves_nothing_behind(home: Path, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a program")
    wrong = tmp_path / "wrong"
    wrong.write_text("#!/no/such/interpreter\n")
    wrong.chmod(0o755)

    for name, exit_code in (("no-such-command", 127), (str(text), 126), ("/no/such/file", 127), ("/", 126)):
        with pytest.raises(CommandNotStartedError) as found:
            find_program(name)
        assert found.value.shell_exit_code == exit_code
    answer = subprocess.run(
        command_line(str(wrong)), capture_output=True, text=True, timeout=900, check=False
    )

    assert "its interpreter is not there" in answer.stderr
    assert [path.name for path in (home / "footprint").iterdir()] == [".open"]


def test_a_killed_meter_leaves_the_command_and_its_windows(home: Path) -> None:
    with subprocess.Popen(
        command_line("sh", "-c", "echo $$; exec sleep 600"), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        command = int(process.stdout.readline())
        time.sleep(1.5)
        process.kill()
        process.wait()
        os.kill(command, 0)
        os.kill(command, signal.SIGKILL)

    (left,) = (path for path in (home / "footprint").iterdir() if path.name != ".open")
    run("true")
    assert read_result(left)["status"] == "interrupted"
    assert verify_receipts(left) == []

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

import ayni.footprint
from ayni.files import read_json
from ayni.footprint import measure
from ayni.footprint.measuring.measurement import MeasurementWarning
from ayni.footprint.measuring.measurement_folder import read_result
from ayni.footprint.measuring.open_measurements import MeasurementNestingError, NotMeasuringError
from ayni.footprint.receipts.verification import verify_receipts


def folders(home: Path) -> list[Path]:
    """The measurements of a home, the oldest first."""
    return sorted(path for path in (home / "footprint").iterdir() if path.name != ".open")


def run_python(code: str, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A program of its own, as a person would write it; AYNI_HOME is set by the fixture."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **options,
    )


def test_a_block_has_energy_with_interval_tier_carbon_and_a_receipt_that_verifies(home: Path) -> None:
    with measure("work", zone="DE") as m:
        sum(range(100_000))

    assert m.energy_joules is not None and m.interval is not None
    assert m.interval[0] < m.energy_joules < m.interval[1]
    assert m.grams_co2e is not None and m.tier in ("W0", "W1", "W1+", "W2", "W3")
    assert m.receipt is not None and m.receipt["job"] == "work"
    assert m.folder is not None and verify_receipts(m.folder) == []
    assert str(m).startswith(str(m.footprint)) and m.tier in str(m) and "annual mean, DE" in str(m)


def test_before_and_while_it_runs_nothing_is_known_and_nothing_is_0(home: Path) -> None:
    m = measure("work", save=False)
    assert (m.energy_joules, m.interval, m.grams_co2e, m.tier, m.receipt) == (None,) * 5
    assert repr(m) == "<Measurement 'work': not measured>"

    with m:
        assert (str(m), m.energy_joules) == ("still measuring", None)


def test_an_exception_of_the_block_passes_and_what_was_measured_is_kept(home: Path) -> None:
    with pytest.raises(ZeroDivisionError), measure("work") as m:
        _ = 1 / 0

    assert m.folder is not None and m.energy_joules is not None
    assert read_result(m.folder)["status"] == "failed"
    assert verify_receipts(m.folder) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "interrupted"), (SystemExit(0), "finished"), (SystemExit("no"), "failed")],
)
def test_how_a_block_was_left_is_its_status(home: Path, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)), measure("work") as m:
        raise error

    assert m.folder is not None and read_result(m.folder)["status"] == status


def test_steps_split_the_block_and_a_step_with_a_block_of_its_own_gives_way_again(home: Path) -> None:
    with measure("work", save=False) as m:
        m.step("epoch")
        with m.step("validation"):
            m.count(2500, "1k images")
        m.count(1, "epoch")

    assert [receipt["step"] for receipt in m.receipts] == ["run", "epoch", "validation"]
    assert len(m.receipts[1]["windows"]["ranges"]) == 2
    units = [receipt["functional_unit"] for receipt in m.receipts]
    assert units == [None, {"name": "epoch", "count": 1.0}, {"name": "1k images", "count": 2500.0}]


def test_a_step_whose_block_outlives_the_measurement_does_no_harm(home: Path) -> None:
    m = measure("work", save=False).start()
    with m.step("late"):
        m.stop()

    assert [receipt["step"] for receipt in m.receipts] == ["run", "late"]


def test_a_step_of_what_does_not_run_is_an_error(home: Path) -> None:
    m = measure("work", save=False)
    for call in (lambda: m.step("epoch"), lambda: m.count(1, "epoch")):
        with pytest.raises(NotMeasuringError, match="inside the `with` block"):
            call()


def test_a_measurement_may_begin_again_when_it_has_ended(home: Path) -> None:
    m = measure("work")
    with m:
        pass
    first = m.folder
    m.start()
    m.stop()
    m.stop()

    assert m.folder != first and m.energy_joules is not None


def test_a_measurement_that_runs_cannot_begin_again(home: Path) -> None:
    with measure("work", save=False) as m:
        with pytest.raises(MeasurementNestingError, match="runs already"), m:
            pass
        m.step("still-well")

    assert len(m.receipts) == 2


def test_an_inner_measurement_ends_before_the_outer_one(home: Path) -> None:
    with measure("outer") as outer, measure("inner") as inner:
        pass

    assert outer.energy_joules is not None and inner.energy_joules is not None
    assert inner.energy_joules < outer.energy_joules


def test_ending_the_outer_one_first_is_an_error_and_keeps_both(home: Path) -> None:
    outer, inner = measure("outer").start(), measure("inner").start()

    with pytest.raises(MeasurementNestingError, match="'inner' began inside 'outer'"):
        outer.stop()

    assert not inner.is_running and inner.energy_joules is not None and outer.energy_joules is not None
    inner.stop()


def test_another_thread_may_not_measure_beside_and_is_told_before_it_works(home: Path) -> None:
    errors: list[BaseException] = []

    def beside() -> None:
        try:
            with measure("beside", save=False):
                errors.append(AssertionError("it began"))
        except MeasurementNestingError as error:
            errors.append(error)

    with measure("work", save=False):
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()

    assert [str(error)[:29] for error in errors] == ["The measurement 'beside' begi"]


def test_tasks_may_not_measure_beside_each_other_but_inside(home: Path) -> None:
    async def part(name: str, ready: asyncio.Event) -> str | None:
        with measure(name, save=False):
            ready.set()
            await asyncio.sleep(0.05)
            return name

    async def all_parts() -> list[object]:
        with measure("all", save=False):
            ready = asyncio.Event()
            first = asyncio.create_task(part("first", ready))
            await ready.wait()
            second = asyncio.create_task(part("second", asyncio.Event()))
            return list(await asyncio.gather(first, second, return_exceptions=True))

    first, second = asyncio.run(all_parts())

    assert first == "first"
    assert isinstance(second, MeasurementNestingError)


def test_a_decorated_function_is_measured_at_each_call(home: Path) -> None:
    @measure("double")
    def double(number: int) -> int:
        """Twice."""
        return 2 * number

    assert (double(2), double(3), double.__doc__) == (4, 6, "Twice.")
    assert len(folders(home)) == 2
    assert double.measurement.energy_joules is not None  # type: ignore[attr-defined]


def test_calls_inside_a_call_are_part_of_it(home: Path) -> None:
    @measure("fibonacci")
    def fibonacci(number: int) -> int:
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert fibonacci(8) == 21
    assert len(folders(home)) == 1


def test_calls_side_by_side_in_threads_are_one_measurement(home: Path) -> None:
    meeting = threading.Barrier(4)

    @measure("meet")
    def meet() -> None:
        meeting.wait(60)

    threads = [threading.Thread(target=meet) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(folders(home)) == 1


def test_an_async_function_is_measured_until_it_has_ended(home: Path) -> None:
    @measure("nap")
    async def nap(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async def naps() -> list[float]:
        return await asyncio.gather(nap(0.1), nap(0.2))

    assert inspect.iscoroutinefunction(nap)
    assert asyncio.run(naps()) == [0.1, 0.2]
    (folder,) = folders(home)
    assert read_result(folder)["footprint"]["wall_seconds"] >= 0.2


def test_a_decorated_function_that_fails_keeps_what_was_measured(home: Path) -> None:
    @measure("fail")
    def fail() -> None:
        raise OSError("the data are gone")

    with pytest.raises(OSError, match="the data are gone"):
        fail()

    assert [read_result(folder)["status"] for folder in folders(home)] == ["failed"]


def test_a_generator_is_refused_because_it_works_later(home: Path) -> None:
    def numbers() -> Any:
        yield 1

    with pytest.raises(ValueError, match="is a generator"):
        measure("work")(numbers)


def test_a_failure_of_the_meter_is_a_warning_and_never_stops_the_work(home: Path) -> None:
    with pytest.warns(MeasurementWarning, match="Measuring 'work'"), measure("work") as m:
        assert m.folder is not None
        windows = m.folder / "meter" / "windows.jsonl"
        windows.unlink()
        windows.mkdir()

    assert m.energy_joules is None and str(m) == "not measured"


def test_a_forked_child_leaves_the_measurement_to_its_parent(home: Path) -> None:
    with measure("work") as m:
        child = os.fork()
        if child == 0:
            # No assertion of pytest may travel on in two processes.
            m.step("of-the-child")
            m.count(1, "epoch")
            own = measure("own", save=False)
            with own:
                pass
            os._exit(0 if own.energy_joules is not None and not m.is_running else 1)
        _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    assert [receipt["step"] for receipt in m.receipts] == ["run"]
    assert m.folder is not None and verify_receipts(m.folder) == []


def test_the_cpu_time_of_children_is_counted_dead_ones_included(home: Path) -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    with measure("work", save=False) as m:
        for _ in range(2):
            subprocess.run([sys.executable, "-c", burn], check=True)

    assert m.footprint is not None and m.footprint.cpu_seconds >= 0.95 * 0.6


STARTED = """
    import sys, time
    from ayni.footprint import measure
    m = measure("work", zone="DE").start()
    m.step("second")
    print("ready", flush=True)
"""


def test_a_process_that_ends_keeps_what_was_not_ended(home: Path) -> None:
    answer = run_python(STARTED + "\n    sys.exit(3)", home)

    assert answer.returncode == 3, answer.stderr
    (folder,) = folders(home)
    assert read_result(folder)["status"] == "interrupted"
    assert verify_receipts(folder) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_kill_keeps_what_was_measured_and_still_kills(home: Path, number: signal.Signals) -> None:
    code = textwrap.dedent(STARTED + "\n    time.sleep(600)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(60) == -number

    (folder,) = folders(home)
    assert read_result(folder)["status"] == "interrupted"
    assert len(list((folder / "receipts").iterdir())) == 2
    assert verify_receipts(folder) == []


def test_who_handles_a_signal_keeps_handling_it(home: Path) -> None:
    code = """
        import os, signal
        from ayni.footprint import measure
        signal.signal(signal.SIGTERM, lambda *_: print("mine"))
        with measure("work", save=False):
            os.kill(os.getpid(), signal.SIGTERM)
        with measure("work", save=False):
            signal.signal(signal.SIGHUP, lambda *_: print("later"))
        os.kill(os.getpid(), signal.SIGHUP)
    """
    answer = run_python(code, home)

    assert (answer.stdout, answer.returncode) == ("mine\nlater\n", 0), answer.stderr


def test_when_it_has_ended_signals_are_as_before(home: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with measure("work", save=False):
        assert before is not signal.SIG_DFL or signal.getsignal(signal.SIGTERM) is not before

    assert signal.getsignal(signal.SIGTERM) is before


def test_measuring_prints_nothing_and_opens_no_socket(home: Path) -> None:
    code = """
        import sys
        def watch(event, arguments):
            if event == "socket.__new__" or event == "socket.connect":
                print("a socket", event, file=sys.stderr)
        sys.addaudithook(watch)
        from ayni.footprint import measure
        with measure("work", zone="DE"):
            pass
    """
    answer = run_python(code, home)

    assert (answer.stdout, answer.stderr, answer.returncode) == ("", "", 0)


def test_importing_the_package_is_cheap_and_brings_nothing_heavy() -> None:
    heavy = "{'numpy', 'torch', 'psutil', 'asyncio'}"
    code = f"import sys, ayni.footprint; print(sorted(set(sys.modules) & {heavy}))"

    assert run_python(code, Path()).stdout == "[]\n"
    assert dir(ayni.footprint) == ayni.footprint.__all__ == ["measure"]
    assert ayni.footprint.measure is measure


def test_the_receipt_of_a_measurement_is_the_file_that_was_signed(home: Path) -> None:
    with measure("work") as m:
        pass

    assert m.folder is not None
    assert read_json(m.folder / "receipts" / "0001-run.json") == m.receipt

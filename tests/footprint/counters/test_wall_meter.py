import itertools
import sys
from pathlib import Path

import pytest

from ayni.footprint.counters.meters import MeterUnavailableError, energy_between
from ayni.footprint.counters.wall_meter import WallCounter, WallSource, ask


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def file_meter(path: Path, text: str, **changes: float | str) -> tuple[WallCounter, Clock]:
    path.write_text(text)
    clock = Clock()
    return WallCounter(WallSource(file=str(path), **changes), now=clock), clock


def python_says(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("231.5 W\n", ("watts", 231.5)),
        ("231500 mW", ("watts", 231.5)),
        ("0.2315kW", ("watts", 231.5)),
        ("  12 J ", ("joules", 12.0)),
        ("2 Wh", ("joules", 7200.0)),
        ("1e-3 kWh", ("joules", 3600.0)),
        ("5000000 microjoules", ("joules", 5.0)),
    ],
)
def test_a_number_with_its_unit_is_understood(tmp_path: Path, text: str, expected: tuple[str, float]) -> None:
    (tmp_path / "meter").write_text(text)

    quantity, value = ask(WallSource(file=str(tmp_path / "meter")))

    assert (quantity, value) == (expected[0], pytest.approx(expected[1]))


def test_a_bare_number_has_the_declared_unit_as_with_the_kernels_power_files(tmp_path: Path) -> None:
    (tmp_path / "power1_average").write_text("187000000\n")

    assert ask(WallSource(file=str(tmp_path / "power1_average"), unit="microwatts")) == ("watts", 187.0)


@pytest.mark.parametrize("text", ["231.5", "", "no reading", "5 MW", "-3 W", "nan W", "1 2 W", "inf J"])
def test_what_is_no_number_with_a_known_unit_is_refused_with_what_was_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "meter").write_text(text)

    with pytest.raises(MeterUnavailableError, match="one number with a unit"):
        ask(WallSource(file=str(tmp_path / "meter")))


def test_a_counter_of_joules_gives_the_difference_exactly(tmp_path: Path) -> None:
    meter, clock = file_meter(tmp_path / "meter", "1000 J")
    before = meter.read()

    clock.seconds = 5.0
    (tmp_path / "meter").write_text("1750.5 J")

    assert energy_between(before, meter.read()) == 750_500_000


def test_a_counter_of_joules_that_fell_was_reset_and_the_energy_is_unknown(tmp_path: Path) -> None:
    meter, clock = file_meter(tmp_path / "meter", "1000 J")
    before = meter.read()

    clock.seconds = 1.0
    (tmp_path / "meter").write_text("3 J")
    after = meter.read()
    clock.seconds = 2.0
    (tmp_path / "meter").write_text("13 J")

    assert energy_between(before, after) is None
    assert energy_between(after, meter.read()) == 10_000_000


def test_watts_are_integrated_by_the_trapezoid_rule(tmp_path: Path) -> None:
    meter, clock = file_meter(tmp_path / "meter", "100 W")
    before = meter.read()

    # A ramp from 100 to 200 W in 4 s holds 600 J, whatever it is sampled at.
    for second in (1.0, 1.5, 3.0, 4.0):
        clock.seconds = second
        (tmp_path / "meter").write_text(f"{100 + 25 * second} W")
        after = meter.read()

    assert energy_between(before, after) == 600_000_000


def test_a_reader_between_two_askings_sees_the_last_power_and_the_counter_never_falls(tmp_path: Path) -> None:
    meter, clock = file_meter(tmp_path / "meter", "100 W", period_seconds=1.0)
    meter.read()
    (tmp_path / "meter").write_text("0 W")

    clock.seconds = 0.9
    held = meter.read().microjoules
    clock.seconds = 1.0
    corrected = meter.read().microjoules

    # 90 J were held; the trapezoid says 50 J, so the counter waits for the energy to catch up.
    assert held == corrected == 90_000_000


def test_watts_asked_too_late_are_a_gap_and_not_a_guess(tmp_path: Path) -> None:
    meter, clock = file_meter(tmp_path / "meter", "100 W", longest_gap_seconds=10.0)
    before = meter.read()

    clock.seconds = 11.0
    late = meter.read()
    clock.seconds = 12.0

    assert energy_between(before, late) is None
    assert energy_between(late, meter.read()) == 100_000_000


def test_a_source_that_dies_and_comes_back_leaves_every_window_in_between_unknown(tmp_path: Path) -> None:
    meter, clock = file_meter(tmp_path / "meter", "100 W")
    readings = [meter.read()]
    for second, text in enumerate(["100 W", "broken", "100 W", "100 W"], start=1):
        clock.seconds = float(second)
        (tmp_path / "meter").write_text(text)
        readings.append(meter.read())

    energies = [energy_between(*pair) for pair in itertools.pairwise(readings)]
    assert energies == [100_000_000, None, None, 100_000_000]


def test_a_command_is_run_without_a_shell_and_its_answer_read(tmp_path: Path) -> None:
    source = WallSource(command=python_says("print('42 W')"), timeout_seconds=60)

    assert ask(source) == ("watts", 42.0)


def test_a_command_that_fails_is_quoted_and_named_without_its_arguments() -> None:
    source = WallSource(
        command=python_says("import sys; sys.exit('no such plug')  # password=secret"), timeout_seconds=60
    )

    with pytest.raises(MeterUnavailableError, match="ended with code 1 and said: no such plug") as caught:
        ask(source)
    assert "secret" not in str(caught.value)


def test_a_command_that_hangs_is_given_up() -> None:
    source = WallSource(command=python_says("import time; time.sleep(60)"), timeout_seconds=0.2)

    with pytest.raises(MeterUnavailableError, match=r"no answer within 0\.2 s"):
        ask(source)


def test_a_command_that_is_not_there_is_named() -> None:
    with pytest.raises(MeterUnavailableError, match="no-such-meter"):
        ask(WallSource(command=("no-such-meter",)))


def test_the_tier_is_w0_with_the_declared_class_and_no_argument_reaches_a_receipt(tmp_path: Path) -> None:
    source = WallSource(command=(*python_says("print('5 W')"), "--key=secret"), accuracy_percent=2.0)

    trust = WallCounter(source).trust

    assert (trust.tier, trust.low_factor, trust.high_factor) == ("W0", 0.9804, 1.02)
    assert trust.scope == "whole machine at the wall"
    assert "secret" not in trust.method


@pytest.mark.parametrize(
    "values",
    [{}, {"command": ("a",), "file": "b"}, {"file": "b", "unit": "MW"}, {"file": "b", "accuracy_percent": 0}],
)
def test_a_source_that_cannot_be_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"wall meter|accuracy"):
        WallSource(**values)


def test_a_source_survives_json() -> None:
    source = WallSource(command=("ipmi", "power"), unit="W", accuracy_percent=1.0)

    assert WallSource.from_json(source.to_json()) == source

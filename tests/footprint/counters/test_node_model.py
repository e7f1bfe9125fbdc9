import csv
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.counters.meters import MeterUnavailableError, Trust
from ayni.footprint.counters.node_model import (
    NodeCalibrationError,
    NodeModel,
    PowerCurve,
    PowerPoint,
    WallLine,
    fit_curve,
    fit_wall_line,
    mean_error,
    read_node_model,
    write_node_model,
)

PROFILES = Path(__file__).parents[3] / "benchmarks" / "data" / "cpu_profiles.csv"
RAPL = Trust(tier="W1", low_factor=0.91, high_factor=1.10, method="RAPL", scope="processor and memory")


def points_on(idle: float, full: float, exponent: float, *clocks: float | None) -> list[PowerPoint]:
    loads = [0.02, 0.1, 0.25, 0.5, 0.75, 1.0]
    shares = clocks or (None,) * len(loads)
    return [
        PowerPoint(load=load, frequency_share=clock, watts=idle + full * load**exponent * (clock or 1.0))
        for load, clock in zip(loads, shares, strict=True)
    ]


def node_model(**changes: object) -> NodeModel:
    points = tuple(points_on(10.0, 40.0, 0.5))
    values = {
        "processor": "Some CPU",
        "num_cpus": 8,
        "calibrated_at": "2026-01-02T03:04:05+00:00",
        "reference": RAPL,
        "curve": fit_curve(points),
        "highest_megahertz": None,
        "wall_line": WallLine(base_watts=86.0, factor=1.2),
        "points": points,
        "mean_error": 0.01,
    }
    return NodeModel(**values | changes)


@given(idle=st.floats(1.0, 100.0), full=st.floats(5.0, 300.0), step=st.integers(0, 40))
def test_points_that_lie_on_a_curve_give_that_curve_back(idle: float, full: float, step: int) -> None:
    exponent = (20 + 2 * step) / 100

    curve = fit_curve(points_on(idle, full, exponent))

    assert mean_error(curve, points_on(idle, full, exponent)) < 1e-3


def test_the_clock_explains_points_that_load_alone_does_not() -> None:
    clocks = (0.4, 1.0, 0.4, 0.9, 0.5, 1.0)
    points = points_on(10.0, 40.0, 0.5, *clocks)
    blind = [PowerPoint(load=point.load, watts=point.watts) for point in points]

    assert mean_error(fit_curve(points), points) < 1e-3
    assert mean_error(fit_curve(blind), blind) > 0.05


def test_a_node_whose_idle_power_is_all_explained_by_load_is_fitted_at_the_edge() -> None:
    # a = 0: Newton's method alone would stall before it.
    curve = fit_curve(points_on(0.0, 50.0, 0.6))

    assert curve.idle_watts == pytest.approx(0.0, abs=0.1)
    assert mean_error(curve, points_on(0.0, 50.0, 0.6)) < 0.01


def test_no_nearby_curve_fits_better_in_log_error() -> None:
    with PROFILES.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "E5-2620" in row["processor"]]
    points = [
        PowerPoint(
            load=float(row["load"]), watts=float(row["watts"]), frequency_share=float(row["megahertz"]) / 2607
        )
        for row in rows
    ]
    curve = fit_curve(points)

    def loss(idle: float, full: float) -> float:
        terms = [(point.load**curve.exponent * (point.frequency_share or 1.0), point) for point in points]
        return sum(math.log((idle + full * term) / point.watts) ** 2 for term, point in terms)

    best = loss(curve.idle_watts, curve.full_watts)
    for idle_factor in (0.98, 1.0, 1.02):
        for full_factor in (0.98, 1.0, 1.02):
            assert loss(curve.idle_watts * idle_factor, curve.full_watts * full_factor) >= best - 1e-12


def test_a_calibrated_node_is_never_said_to_draw_more_or_less_than_it_did() -> None:
    curve = PowerCurve(idle_watts=1.0, full_watts=100.0, exponent=1.0, lowest_watts=12.0, highest_watts=60.0)

    assert [curve.watts(load) for load in (0.0, 0.3, 1.0)] == [12.0, 31.0, 60.0]


@pytest.mark.parametrize(
    "points",
    [
        points_on(10, 40, 0.5)[:3],
        [PowerPoint(load=0.5 + 0.01 * number, watts=30.0) for number in range(6)],
        [PowerPoint(load=number / 5, watts=0.0) for number in range(6)],
    ],
    ids=["too few", "too much alike", "no power"],
)
def test_points_that_say_nothing_are_refused(points: list[PowerPoint]) -> None:
    with pytest.raises(NodeCalibrationError):
        fit_curve(points)


def test_two_meters_side_by_side_give_the_line_from_component_to_wall() -> None:
    points = [
        PowerPoint(load=watts / 100, watts=86.0 + 1.2 * watts, component_watts=watts)
        for watts in (20.0, 40.0, 60.0, 80.0, 100.0)
    ]

    line = fit_wall_line(points)

    assert line is not None
    assert (line.base_watts, line.factor) == (pytest.approx(86.0), pytest.approx(1.2))


def test_a_wall_that_the_component_does_not_explain_gives_no_line() -> None:
    falling = [PowerPoint(load=0.5, watts=100.0 - number, component_watts=number) for number in range(5)]
    level = [PowerPoint(load=0.5, watts=100.0 + number, component_watts=5.0) for number in range(5)]

    assert fit_wall_line(falling) is None
    assert fit_wall_line(level) is None
    assert fit_wall_line(points_on(1, 2, 1.0)) is None


def test_a_calibration_survives_its_file_and_only_on_its_own_machine(tmp_path: Path) -> None:
    model = node_model()
    write_node_model(tmp_path, model)

    assert read_node_model(tmp_path, num_cpus=8, processor="Some CPU") == model
    with pytest.raises(MeterUnavailableError, match="8 CPUs of Some CPU; this machine has 16 of Other"):
        read_node_model(tmp_path, num_cpus=16, processor="Other")


def test_no_calibration_is_none_and_a_damaged_one_says_how_to_make_it_again(tmp_path: Path) -> None:
    assert read_node_model(tmp_path, num_cpus=8) is None

    path = write_node_model(tmp_path, node_model())
    stored = json.loads(path.read_text())
    for text in ("{", "[]", json.dumps(stored | {"schema": "ayni/node-model/9"}), '{"schema": 1}'):
        path.write_text(text)
        with pytest.raises(MeterUnavailableError, match="ayni footprint calibrate"):
            read_node_model(tmp_path, num_cpus=8, processor="Some CPU")


def test_the_model_is_tier_w2_with_the_error_of_its_own_meter_added() -> None:
    blind = node_model().power_model()
    clocked = node_model(highest_megahertz=3000.0).power_model()

    assert (blind.trust.tier, blind.uses_frequency, clocked.uses_frequency) == ("W2", False, True)
    assert (blind.trust.low_factor, blind.trust.high_factor) == (0.59, 1.9)
    assert (clocked.trust.low_factor, clocked.trust.high_factor) == (0.67, 1.5)
    assert "calibrated on this node on 2026-01-02 with 6 loads against: RAPL" in blind.trust.method
    assert blind.trust.scope == RAPL.scope


def test_the_model_draws_what_its_curve_says() -> None:
    model = node_model()

    for load in (0.1, 0.5, 1.0):
        joules = model.power_model().joules(wall_seconds=3.0, busy_cpu_seconds=load * 8 * 3.0)
        assert joules == pytest.approx(3.0 * model.curve.watts(load))

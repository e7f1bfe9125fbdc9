import math

import pytest

from ayni.footprint.grid.basis import Basis
from ayni.footprint.impacts.quantities import Quantity
from ayni.footprint.impacts.sci import FunctionalUnit, SciScore


def score_of(unit: FunctionalUnit, **others: Quantity | None) -> SciScore:
    parts = {
        "operational_grams": Quantity(value=300, low=200, high=400),
        "embodied_grams": Quantity(value=100, low=50, high=200),
        "it_kwh": Quantity.exact(0.5),
        **others,
    }
    return SciScore(unit=unit, basis=Basis(), measured_on="AMD EPYC", **parts)


def test_the_score_is_operation_and_making_by_unit() -> None:
    score = score_of(FunctionalUnit(name="1k images", count=4000)).grams_per_unit

    assert score is not None
    assert score.value == 100
    assert score.low == pytest.approx((400 - math.hypot(100, 50)) / 4)
    assert score.high == pytest.approx((400 + math.hypot(100, 100)) / 4)


@pytest.mark.parametrize(
    ("name", "count", "number"), [("run", 1, 1), ("epoch", 3, 3), ("1k tokens", 500, 0.5)]
)
def test_units_are_counted_as_declared(name: str, count: float, number: float) -> None:
    assert FunctionalUnit(name=name, count=count).number == number


@pytest.mark.parametrize("part", ["operational_grams", "embodied_grams"])
def test_a_score_with_an_unknown_part_is_unknown(part: str) -> None:
    score = score_of(FunctionalUnit(name="run", count=1), **{part: None})

    assert score.grams_per_unit is None
    assert score.to_json()["sci_grams_co2e_per_unit"] is None


def test_energy_by_thousand_queries_is_printed_without_stars() -> None:
    data = score_of(FunctionalUnit(name="1k requests", count=2000)).to_json()

    assert data["watt_hours_per_unit"]["value"] == 250
    assert data["comparable_with_ai_energy_score"] is False
    assert not any("star" in name for name in data)


def test_a_unit_that_nobody_knows_or_that_was_not_done_is_refused() -> None:
    with pytest.raises(ValueError, match="no functional unit; there are run, epoch"):
        FunctionalUnit(name="smiles", count=1)
    for count in (0, -1, math.nan):
        with pytest.raises(ValueError, match="at least one"):
            FunctionalUnit(name="run", count=count)

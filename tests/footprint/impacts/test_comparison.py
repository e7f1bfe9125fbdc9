import math
import random

import pytest

from ayni.footprint.impacts.comparison import compare_quantities, compare_repeats
from ayni.footprint.impacts.quantities import Quantity


def test_a_difference_far_beyond_what_runs_repeat_to_is_seen() -> None:
    comparison = compare_repeats([9.0, 9.1, 8.9, 9.05, 8.95], [10.0, 10.1, 9.9, 10.05, 9.95])

    assert comparison.answer == "less"
    assert comparison.ratio == pytest.approx(0.9, rel=1e-3)
    assert compare_repeats([10.0, 10.1, 9.9, 10.05, 9.95], [9.0, 9.1, 8.9, 9.05, 8.95]).answer == "more"


def test_runs_that_repeat_badly_cannot_tell() -> None:
    comparison = compare_repeats([5, 9, 13, 8, 10], [6, 10, 14, 9, 11])

    assert comparison.answer == "cannot tell"
    assert comparison.low < 1 < comparison.high


def test_a_factor_of_the_meter_that_is_in_all_runs_changes_nothing() -> None:
    first, second = [9.0, 9.5, 9.2, 9.4, 9.1], [10.0, 10.4, 9.9, 10.2, 10.1]

    half_right = compare_repeats([2 * value for value in first], [2 * value for value in second])

    assert half_right.low == pytest.approx(compare_repeats(first, second).low)
    assert half_right.ratio == pytest.approx(compare_repeats(first, second).ratio)


def test_the_interval_is_students_for_equal_spreads() -> None:
    # Logarithms -2 .. 2 and -1 .. 3, in hundredths: variance 2.5e-4, eight degrees of freedom, t = 1.860
    first = [math.exp(step / 100) for step in range(-2, 3)]
    second = [math.exp(step / 100) for step in range(-1, 4)]

    comparison = compare_repeats(first, second)

    assert comparison.ratio == pytest.approx(math.exp(-0.01))
    assert comparison.high == pytest.approx(math.exp(-0.01 + 1.860 * math.sqrt(2 * 2.5e-4 / 5)))


@pytest.mark.parametrize("spread", [0.02, 0.3])
def test_the_interval_holds_the_truth_nine_times_in_ten(spread: float) -> None:
    rng = random.Random(7)
    runs = [[rng.lognormvariate(0.0, spread) for _ in range(5)] for _ in range(2000)]

    held = sum(
        compare_repeats(first, second).answer == "cannot tell"
        for first, second in zip(runs[::2], runs[1::2], strict=True)
    )

    assert 0.87 <= held / 1000 <= 0.95


def test_equal_runs_are_equal() -> None:
    assert compare_repeats([3.0] * 5, [3.0] * 5).answer == "cannot tell"
    assert compare_repeats([3.0] * 5, [4.0] * 5).answer == "less"


def test_too_few_runs_or_unknown_energies_are_refused() -> None:
    with pytest.raises(ValueError, match="4 and 5 runs are too few"):
        compare_repeats([1.0] * 4, [1.0] * 5)
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="above 0"):
            compare_repeats([1.0] * 4 + [bad], [1.0] * 5)


def test_different_meters_are_compared_with_their_whole_intervals() -> None:
    model = Quantity.within(28.0, low_factor=0.45, high_factor=2.6)
    counter = Quantity.within(20.0, low_factor=0.9, high_factor=1.1)

    comparison = compare_quantities(model, counter)

    assert comparison.answer == "cannot tell"
    assert comparison.low == pytest.approx(1.4 / math.exp(math.hypot(math.log(1 / 0.45), math.log(1.1))))
    assert compare_quantities(counter.times(0.1), model).answer == "less"
    with pytest.raises(ValueError, match="above 0"):
        compare_quantities(Quantity(value=1, low=0, high=2), counter)

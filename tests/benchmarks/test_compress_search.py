"""When a point of another tool counts as covered; the tools themselves are not run here."""

import numpy as np
import pytest
from benchmarks.compress_search import Point, covering


def point(accuracy: float, bytes_ratio: float, latency_ratio: float, *, num: int = 1000) -> Point:
    right = [1.0] * round(accuracy * num) + [0.0] * round((1 - accuracy) * num)
    return Point(qualities=right, bytes_ratio=bytes_ratio, latency_ratio=latency_ratio)


def test_a_point_is_covered_by_one_that_is_as_good_in_everything() -> None:
    theirs = point(0.98, 0.25, 0.30)

    assert covering({"same": point(0.98, 0.25, 0.30)}, theirs) == ("same",)
    assert covering({"smaller": point(0.99, 0.10, 0.20)}, theirs) == ("smaller",)
    assert covering({"larger": point(0.99, 0.26, 0.20)}, theirs) == ()


@pytest.mark.parametrize(("latency", "is_covered"), [(0.314, True), (0.316, False)])
def test_five_percent_of_latency_are_noise(latency: float, is_covered: bool) -> None:
    ours = {"ours": point(0.98, 0.25, latency)}

    assert bool(covering(ours, point(0.98, 0.25, 0.30))) == is_covered


@pytest.mark.parametrize(("accuracy", "is_covered"), [(0.979, True), (0.960, False)])
def test_accuracy_is_equal_within_the_interval_of_the_paired_difference(
    accuracy: float, is_covered: bool
) -> None:
    ours = {"ours": point(accuracy, 0.25, 0.30)}

    assert bool(covering(ours, point(0.98, 0.25, 0.30))) == is_covered


def test_cosines_are_compared_sentence_by_sentence() -> None:
    cosines = np.random.default_rng(0).uniform(0.95, 1.0, size=128)
    theirs = Point(qualities=list(cosines), bytes_ratio=0.5, latency_ratio=0.5)
    noise = 1e-4 * np.where(np.arange(128) % 2, 1.0, -1.0)
    ours = {
        "noisy": Point(qualities=list(cosines + noise), bytes_ratio=0.5, latency_ratio=0.5),
        # A thousandth of what the sentences differ by, and the same for each of them: that is no noise.
        "worse": Point(qualities=list(cosines - 1e-4), bytes_ratio=0.5, latency_ratio=0.5),
    }

    assert covering(ours, theirs) == ("noisy",)

"""The front meets brute force, the hypervolume its closed forms."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.compress.pareto import Direction, coverage, hypervolume, pareto_front

BETTER: dict[str, Direction] = {"accuracy": "higher", "bytes": "lower"}
TERMS = ("x", "y", "z")
LOWER: dict[str, Direction] = dict.fromkeys(TERMS, "lower")

# Few distinct values, so that ties are common.
clouds = st.lists(st.tuples(*[st.integers(0, 4)] * 3), max_size=12).map(
    lambda rows: {
        f"p{index}": dict(zip(TERMS, map(float, row), strict=True)) for index, row in enumerate(rows)
    }
)


def point(accuracy: float | None, num_bytes: float | None) -> dict[str, float | None]:
    return {"accuracy": accuracy, "bytes": num_bytes}


def test_a_variant_that_is_worse_in_everything_names_who_beats_it() -> None:
    points = {
        "full": point(0.99, 100),
        "int8": point(0.98, 25),
        "bad": point(0.97, 30),
        "worst": point(0.5, 200),
    }

    front = pareto_front(points, BETTER)

    assert front.names == ("full", "int8")
    assert front.dominated == {"bad": ("int8",), "worst": ("full", "int8", "bad")}


def test_equal_points_stay_together() -> None:
    points = {"a": point(0.9, 10), "b": point(0.9, 10)}

    assert pareto_front(points, BETTER).names == ("a", "b")


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_an_unknown_value_is_neither_good_nor_bad(unknown: float | None) -> None:
    points = {"known": point(0.9, 10), "unknown": point(0.99, unknown), "silent": {"accuracy": 1.0}}

    front = pareto_front(points, BETTER)

    assert front.names == ("known",)
    assert front.unrated == ("unknown", "silent")
    assert front.to_json()["unrated"] == ["unknown", "silent"]


def test_other_terms_do_not_count() -> None:
    points = {"a": {"bytes": 1.0, "seconds": 9.0}, "b": {"bytes": 2.0, "seconds": 1.0}}

    assert pareto_front(points, {"bytes": "lower"}).names == ("a",)


def test_nothing_has_an_empty_front() -> None:
    assert pareto_front({}, BETTER).names == ()
    assert hypervolume({}, BETTER, point(0.0, 1.0)) == 0


@given(clouds)
def test_the_front_is_that_of_brute_force(points: dict[str, dict[str, float]]) -> None:
    front = pareto_front(points, LOWER)

    def beats(one: str, other: str) -> bool:
        mine, theirs = (tuple(points[name][term] for term in TERMS) for name in (one, other))
        return all(map(lambda a, b: a <= b, mine, theirs)) and mine != theirs

    for name in points:
        beaten_by = tuple(other for other in points if beats(other, name))
        assert (name in front.names) == (not beaten_by)
        assert front.dominated.get(name, ()) == beaten_by
        # Whoever is beaten is beaten by someone on the front.
        assert name in front.names or set(beaten_by) & set(front.names)


@given(clouds)
def test_the_hypervolume_counts_the_unit_cubes_that_are_dominated(
    points: dict[str, dict[str, float]],
) -> None:
    corners = itertools.product(range(5), repeat=3)
    cubes = sum(
        any(all(value[term] <= corner[axis] for axis, term in enumerate(TERMS)) for value in points.values())
        for corner in corners
    )

    assert hypervolume(points, LOWER, dict.fromkeys(TERMS, 5.0)) == pytest.approx(cubes)


def test_the_hypervolume_of_two_terms_by_hand() -> None:
    # Boxes towards (accuracy 0.5, bytes 10): 0.4 x 2 and 0.2 x 8, of which 0.2 x 2 is common.
    points = {"a": point(0.9, 8), "b": point(0.7, 2), "beaten": point(0.6, 3), "outside": point(0.4, 1)}

    assert hypervolume(points, BETTER, point(0.5, 10)) == pytest.approx(0.8 + 1.6 - 0.4)


@given(clouds, st.tuples(*[st.integers(0, 4)] * 3))
def test_another_point_never_shrinks_the_hypervolume(
    points: dict[str, dict[str, float]], another: tuple[int, ...]
) -> None:
    reference = dict.fromkeys(TERMS, 5.0)
    more = {**points, "another": dict(zip(TERMS, map(float, another), strict=True))}

    assert hypervolume(more, LOWER, reference) >= hypervolume(points, LOWER, reference) - 1e-9


def test_twenty_points_of_four_terms_are_no_trouble() -> None:
    terms = ("a", "b", "c", "d")
    # All on one sphere: the worst case, where nothing dominates anything.
    angles = [
        (math.sin(3 * i), math.cos(5 * i), math.sin(7 * i + 1), math.cos(11 * i + 2)) for i in range(20)
    ]
    points = {
        str(i): {term: 1 - abs(value) / math.hypot(*row) for term, value in zip(terms, row, strict=True)}
        for i, row in enumerate(angles)
    }

    volume = hypervolume(points, dict.fromkeys(terms, "lower"), dict.fromkeys(terms, 1.0))

    assert 0 < volume < 1


def test_a_reference_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="finite value of each of accuracy, bytes"):
        hypervolume({"a": point(0.9, 1)}, BETTER, point(0.5, None))


def test_a_front_needs_terms_and_directions() -> None:
    with pytest.raises(ValueError, match="at least one term"):
        pareto_front({}, {})
    with pytest.raises(ValueError, match="'up'"):
        pareto_front({}, {"bytes": "up"})  # type: ignore[dict-item]


def test_our_front_covers_theirs_where_one_of_ours_is_at_least_as_good() -> None:
    ours = {"int8": point(0.98, 25), "pruned": point(0.95, 10)}
    theirs = {
        "same": point(0.98, 25),
        "worse": point(0.94, 12),
        "better": point(0.99, 25),
        "unknown": point(None, 1),
    }

    assert coverage(ours, theirs, BETTER) == {"same": ("int8",), "worse": ("pruned",), "better": ()}

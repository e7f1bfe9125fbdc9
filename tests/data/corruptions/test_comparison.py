"""Mean corruption error: the paper's formula by hand, and what has no ratio."""

import numpy as np
import pytest

from ayni.data.corruptions.comparison import CorruptionSummary, mean_corruption_error
from ayni.data.corruptions.errors import CorruptionErrors
from ayni.data.corruptions.kinds import KINDS


def make_errors(model: str, clean: float, table: np.ndarray, num: int = 100) -> CorruptionErrors:
    errors = {kind: tuple(map(float, row)) for kind, row in zip(KINDS, table, strict=True)}
    return CorruptionErrors(model=model, num_examples=num, clean_error=clean, errors=errors)


def random_errors(model: str, seed: int, num: int = 400) -> CorruptionErrors:
    rng = np.random.default_rng(seed)
    wrong = rng.random((76, num)) < rng.uniform(0.1, 0.6, (76, 1))
    wrong[0] &= rng.random(num) < 0.2
    shares = wrong.mean(1)
    found = make_errors(model, float(shares[0]), shares[1:].reshape(15, 5), num)
    return CorruptionErrors(**{**{name: getattr(found, name) for name in found.__slots__}, "wrong": wrong})


def test_a_model_against_itself_is_one_hundred_percent() -> None:
    own = random_errors("own", 1)

    found = mean_corruption_error(own, reference=own)

    assert [found.mce_percent, found.relative_mce_percent] == pytest.approx([100, 100])
    assert list(found.intervals["mce_percent"]) == pytest.approx([100, 100])


def test_the_numbers_are_those_of_the_paper_s_formula() -> None:
    rng = np.random.default_rng(0)
    own, other = rng.uniform(0.2, 0.5, (15, 5)), rng.uniform(0.4, 0.9, (15, 5))

    found = mean_corruption_error(
        make_errors("own", 0.1, own), reference=make_errors("logistic regression", 0.3, other)
    )

    assert found.reference == "logistic regression"
    assert [found.clean_error, found.mean_error] == pytest.approx([0.1, own.mean()])
    ce = [sum(a) / sum(b) for a, b in zip(own, other, strict=True)]
    relative = [(sum(a) - 0.5) / (sum(b) - 1.5) for a, b in zip(own, other, strict=True)]
    assert found.mce_percent == pytest.approx(100 * np.mean(ce))
    assert found.relative_mce_percent == pytest.approx(100 * np.mean(relative))
    assert found.ce_percent["fog"] == pytest.approx(100 * ce[KINDS.index("fog")])


def test_kinds_that_do_the_reference_no_harm_are_left_out_and_named() -> None:
    own, other = np.full((15, 5), 0.4), np.full((15, 5), 0.5)
    other[3], other[4] = 0.1, 0.0

    found = mean_corruption_error(make_errors("own", 0.1, own), reference=make_errors("ref", 0.1, other))

    assert found.left_out == (KINDS[3], KINDS[4])
    assert found.relative_mce_percent == pytest.approx(100 * 0.3 / 0.4)
    assert found.ce_percent[KINDS[4]] is None


def test_a_reference_that_never_errs_has_no_ratio_at_all() -> None:
    own = make_errors("own", 0.1, np.full((15, 5), 0.4))

    found = mean_corruption_error(own, reference=make_errors("ref", 0.0, np.zeros((15, 5))))

    assert (found.mce_percent, found.relative_mce_percent) == (None, None)
    assert found.mean_error == pytest.approx(0.4)


def test_the_interval_of_an_error_is_about_that_of_a_share() -> None:
    own = random_errors("own", 1)

    low, high = mean_corruption_error(own, reference=random_errors("ref", 2)).intervals["clean_error"]

    half = 1.96 * (own.clean_error * (1 - own.clean_error) / 400) ** 0.5
    assert low < own.clean_error < high
    assert (high - low) / 2 == pytest.approx(half, rel=0.2)


def test_other_examples_are_refused_and_a_summary_survives_json() -> None:
    own, other = random_errors("own", 1), random_errors("ref", 2)
    found = mean_corruption_error(own, reference=other)

    assert CorruptionSummary.from_json(found.to_json()) == found
    with pytest.raises(ValueError, match="the same ones"):
        mean_corruption_error(own, reference=random_errors("ref", 2, num=10))

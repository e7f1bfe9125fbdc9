from functools import reduce

import pytest

from ayni.market.policy import LeasePolicy
from ayni.market.reputation import BitwiseComparator, Reputation, Result, ToleranceComparator

POLICY = LeasePolicy(least_check_rate=0.05, trust_halves_at=20)


def after(*checks: bool) -> Reputation:
    return reduce(lambda found, passed: found.after(passed=passed), checks, Reputation())


def test_a_new_site_is_always_checked_and_a_trusted_one_seldom_but_never_not() -> None:
    assert Reputation().check_rate(POLICY) == 1
    assert after(*[True] * 20).check_rate(POLICY) == 0.5
    assert after(*[True] * 10_000).check_rate(POLICY) == 0.05


def test_every_passed_check_lowers_the_rate_until_the_least() -> None:
    rates = [after(*[True] * n).check_rate(POLICY) for n in range(400)]

    assert rates == sorted(rates, reverse=True)
    assert len(set(rates[:380])) == 380


def test_one_failed_check_takes_all_trust() -> None:
    found = after(*[True] * 500, False)

    assert found.check_rate(POLICY) == 1
    assert found.failed == 1
    assert found.after(passed=True).passed_since_failure == 1


@pytest.mark.parametrize(
    ("claimed", "again", "bitwise", "close"),
    [
        (b"abc", b"abc", True, False),
        (b"abc", b"abd", False, False),
        ({"loss": 1.0}, {"loss": 1.0}, True, True),
        ({"loss": 1.009}, {"loss": 1.0}, False, True),
        ({"loss": 1.02}, {"loss": 1.0}, False, False),
        ({"loss": float("nan")}, {"loss": 1.0}, False, False),
        ({"loss": float("inf")}, {"loss": float("inf")}, True, False),
        ({"loss": 1.0}, {"accuracy": 1.0}, False, False),
        ({"loss": 1.0, "extra": 1.0}, {"loss": 1.0}, False, False),
    ],
)
def test_results_agree_as_the_comparator_says(
    claimed: Result, again: Result, bitwise: bool, close: bool
) -> None:
    assert BitwiseComparator().agrees(claimed, again) == bitwise
    assert ToleranceComparator(relative=0.01).agrees(claimed, again) == close


@pytest.mark.parametrize("wrong", [-0.1, float("nan"), float("inf")])
def test_a_tolerance_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError):
        ToleranceComparator(relative=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_seconds": 0},
        {"grace_seconds": float("inf")},
        {"least_check_rate": 0},
        {"verification_share": 1.1},
        {"trust_halves_at": 0},
    ],
)
def test_an_absurd_lease_policy_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        LeasePolicy(**wrong)  # type: ignore[arg-type]

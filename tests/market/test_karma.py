import pytest

from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.karma import allocate, credits_after, weight_of


def test_weights_are_between_one_half_and_two() -> None:
    policy = ClearingPolicy(credit_scale_reference_hours=10.0)

    weights = [weight_of(credits, policy=policy) for credits in (-1e9, -10.0, 0.0, 5.0, 10.0, 1e9)]

    assert weights == pytest.approx([0.5, 0.5, 1.0, 2**0.5, 2.0, 2.0])
    assert weight_of(1e9, policy=ClearingPolicy(uses_credits=False)) == 1.0


def test_who_lends_earns_what_who_borrows_spends() -> None:
    after = credits_after(
        {"a": 10.0}, lent_reference_hours={"b": 4.0}, borrowed_reference_hours={"a": 4.0}, decay=0.1
    )

    assert after == {"a": pytest.approx(5.0), "b": 4.0}
    with pytest.raises(ValueError, match="50%"):
        credits_after({}, lent_reference_hours={}, borrowed_reference_hours={}, decay=0.5)


def test_borrowers_with_more_credits_are_served_first() -> None:
    # Fair share 2, half of it guaranteed: c donates one slice, and three are shared.
    period = allocate(
        {"a": 3, "b": 3, "c": 0}, credits={"a": 6.0, "b": 3.0, "c": 5.0}, fair_share=2, guaranteed=0.5
    )

    assert period.allocated == {"a": 3, "b": 3, "c": 0}
    assert period.credits == {"a": 6.0 + 1 - 2, "b": 3.0 + 1 - 2, "c": 5.0 + 1 + 1}

    scarce = allocate(
        {"a": 6, "b": 6, "c": 1}, credits={"a": 9.0, "b": 1.0, "c": 0.0}, fair_share=2, guaranteed=0.5
    )

    assert scarce.allocated == {"a": 4, "b": 1, "c": 1}
    assert sum(scarce.allocated.values()) == 6


def test_impossible_shares_are_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha 1\.5"):
        allocate({"a": 1}, credits={}, fair_share=1, guaranteed=1.5)

from dataclasses import replace

import pytest

pytest.importorskip("numpy")

from tests.market.test_clearing import GPU, bid, market, offer

from ayni.market.clearing import clear_round
from ayni.market.fairness import envy_count, fairness_of, finish_time_ratios, jain_index, share_ratios


def test_jain_is_one_where_all_have_as_much_and_one_nth_where_one_has_all() -> None:
    assert jain_index([2.0, 2.0, 2.0]) == pytest.approx(1.0)
    assert jain_index([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain_index([0.0]) is None


def test_dominant_shares_are_of_the_resource_that_a_member_uses_most() -> None:
    # 8 + 24 cores, and one accelerator of each kind: a has all accelerators "g" for 4 of 4 slots.
    plain = replace(GPU, name="cpu", cores=24, accelerator=None)
    pool = market(
        [bid("a", 90, classes=("gpu",)), bid("b", 90, classes=("cpu",), work_reference_hours=2.0)],
        [offer("g"), offer("c", machine_class=plain)],
    )

    found = fairness_of(pool, clear_round(pool).result)

    assert found.dominant_shares == {"member-a": 1.0, "member-b": pytest.approx(0.5 * 24 / 32)}
    assert found.num_envious == 0
    assert found.least_share_ratio is None  # nobody waits


def test_who_waits_with_less_envies_who_has_more() -> None:
    pool = market([bid("a", 90), bid("b", 80)], [offer()])

    found = fairness_of(pool, clear_round(pool).result)

    assert found.num_envious == 1
    assert found.least_share_ratio == 0.0
    assert found.jain == pytest.approx(0.5)


def test_machines_of_clouds_count_for_nobody() -> None:
    pool = market([bid("a", 90)], [offer(source="cloud:any")])

    assert fairness_of(pool, clear_round(pool).result).dominant_shares == {"member-a": 0.0}


def test_weights_are_entitlements() -> None:
    ratios = share_ratios({"a": 0.4, "b": 0.2, "c": 0.1}, {"a": 0.8, "b": 0.2, "c": 0.0})

    assert ratios == {"a": pytest.approx(0.5), "b": pytest.approx(1.0)}
    assert envy_count(ratios, waiting={"a", "c"}) == 1
    assert envy_count(ratios, waiting={"b"}) == 0


def test_finish_time_ratios_are_above_one_for_who_is_worse_off_than_alone() -> None:
    assert finish_time_ratios({"a": 6.0, "b": 2.0}, {"a": 3.0, "b": 4.0, "c": 0.0}) == {"a": 2.0, "b": 0.5}

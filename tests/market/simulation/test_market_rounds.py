"""The market as a policy: where jobs go, what is promised, and that owners get their machines back."""

from dataclasses import replace

import numpy as np
import pytest

from ayni.market.simulation.engine import replay
from ayni.market.simulation.forecast import RecentHours
from ayni.market.simulation.market_books import foreseen_at_once
from ayni.market.simulation.market_rounds import MarketRounds
from ayni.market.simulation.market_rules import MarketRules, carbon_blind
from ayni.market.simulation.measures import measure_jobs

from ..small_pools import HOUR, make_demand, make_pool, make_site, starts

RULES = MarketRules(slot_seconds=3600)


def test_a_job_goes_to_the_greener_site_when_asks_are_equal() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[500.0], [50.0]])
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=0.0)

    found = replay(pool, demand, MarketRounds(pool, demand, rules=RULES))

    assert starts(found) == [(0, "b", 0.0)]


def test_the_carbon_blind_market_stays_where_it_is_cheapest() -> None:
    pool = make_pool(
        make_site("a", 1), make_site("b", 1, ask_microcredits_per_hour=1_000_001), grams=[[500.0], [50.0]]
    )
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=0.0)

    found = replay(pool, demand, MarketRounds(pool, demand, rules=carbon_blind(RULES)))

    assert starts(found) == [(0, "a", 0.0)]


def test_a_job_with_slack_waits_for_green_machines_that_are_taken() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[500.0], [50.0]])
    demand = make_demand(pool, ("b", 0.0, 2.0, 1), ("a", 0.0, 2.0, 1), slack_hours=9.0)

    found = replay(pool, demand, MarketRounds(pool, demand, rules=RULES))

    assert starts(found) == [(0, "b", 0.0), (1, "b", 2.0)]


def test_a_long_job_moves_when_its_lease_ends_and_a_greener_site_is_free() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[500.0], [50.0]])
    demand = make_demand(pool, ("b", 0.0, 20.0, 1), ("a", 1.0, 48.0, 1), slack_hours=2.0)
    # Without a limit it begins at once on the machines that are free; in the middle of a lease it stays.
    rules = replace(RULES, cap_share=None, move_saving=None, last_call_hours=0.5)

    found = replay(pool, demand, MarketRounds(pool, demand, rules=rules))

    assert starts(found)[1:] == [(1, "a", 1.0), (1, "b", 25.0)]


def test_a_running_job_moves_as_soon_as_greener_machines_are_free() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[500.0], [50.0]])
    demand = make_demand(pool, ("b", 0.0, 20.0, 1), ("a", 1.0, 48.0, 1), slack_hours=2.0)
    policy = MarketRounds(pool, demand, rules=replace(RULES, cap_share=None, last_call_hours=0.5))

    found = replay(pool, demand, policy)

    assert starts(found)[1:] == [(1, "a", 1.0), (1, "b", 20.0)] and policy.books.num_moved_on == 1
    # The lease that was left is taken back: what is promised is what ran.
    assert policy.books.expected_grams_J[1] == pytest.approx(19 * 500 + 29 * 50, rel=0.02)


def test_a_running_job_rests_in_heavy_hours_as_long_as_its_slack_lasts() -> None:
    # Twelve green hours, then twelve heavy ones, every day.
    pool = make_pool(make_site("a", 1), grams=[[50.0] * 12 + [500.0] * 12])
    demand = make_demand(pool, ("a", 0.0, 20.0, 1), slack_hours=15.0)
    policy = MarketRounds(pool, demand, rules=RULES)

    found = replay(pool, demand, policy)

    assert policy.books.num_given_back == 1
    assert [start for _, _, start in starts(found)] == [0.0, 24.0]
    assert measure_jobs(found).is_in_time_J.all()


def test_an_owner_that_can_wait_no_longer_gets_its_machines_back() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[50.0], [500.0]], restart_seconds=600.0)
    # B's long job is on a's machine when a's job of no slack comes, and b's other job is on b's own.
    demand = make_demand(pool, ("b", 0.0, 30.0, 1), ("b", 0.0, 30.0, 1), ("a", 3.0, 5.0, 1), slack_hours=0.0)
    policy = MarketRounds(pool, demand, rules=RULES)

    found = replay(pool, demand, policy)

    assert (2, "a", 3.0) in starts(found) and policy.books.num_reclaimed == 1


def test_who_lost_its_machines_pays_for_what_it_used_only() -> None:
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=[[50.0], [500.0]])
    demand = make_demand(pool, ("b", 0.0, 30.0, 1), ("b", 0.0, 30.0, 1), ("a", 3.0, 5.0, 1), slack_hours=0.0)
    policy = MarketRounds(pool, demand, rules=RULES)

    found = replay(pool, demand, policy)

    # Sellers earn the ask times the hours that were used, whoever used them.
    hours = measure_jobs(found).machine_hours_J.sum()
    assert sum(policy.books.earned_microcredits_M) == pytest.approx(hours * 1_000_000, rel=0.05)
    assert sum(policy.books.paid_microcredits_M) >= sum(policy.books.earned_microcredits_M)


def test_what_was_promised_is_kept_beside_what_came_true() -> None:
    # Yesterday b was green; today it is not.
    truth = [[500.0] * 24, [400.0] * 24]
    pool = make_pool(make_site("a", 1), make_site("b", 1), grams=truth)
    demand = make_demand(pool, ("a", 0.0, 2.0, 1), slack_hours=0.0)
    before = np.array([[500.0] * 24, [100.0] * 24])
    policy = MarketRounds(pool, demand, rules=RULES, before_SH=before)

    found = replay(pool, demand, policy)

    assert policy.books.expected_at_once_grams_J.tolist() == pytest.approx([1000.0])
    assert policy.books.expected_grams_J.tolist() == pytest.approx([200.0])
    assert measure_jobs(found).grams_J.tolist() == pytest.approx([800.0])


def test_the_foreseen_counterfactual_is_the_forecast_of_the_job_at_home() -> None:
    pool = make_pool(make_site("a", 1), grams=[[100.0, 200.0, 300.0, *[0.0] * 21]])
    demand = make_demand(pool, ("a", 0.5, 2.0, 3))

    grams = foreseen_at_once(pool, demand, RecentHours(pool.grams_per_kwh_SH), job=0, now_hour=0)

    # Half of the first hour, the second, half of the third; three machines of a kilowatt.
    assert grams == pytest.approx(3 * (50 + 200 + 150))


def test_a_job_beyond_the_horizon_runs_to_its_end() -> None:
    pool = make_pool(make_site("a", 1))
    demand = make_demand(pool, ("a", 0.0, 100.0, 1), slack_hours=1.0, can_suspend=False)

    policy = MarketRounds(pool, demand, rules=RULES)

    found = replay(pool, demand, policy)

    assert starts(found) == [(0, "a", 0.0)] and found.pieces.end_seconds_P.tolist() == [100.0 * HOUR]
    assert policy.books.num_leases == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot_seconds": 1700},
        {"segment_hours": 0.0},
        {"segment_hours": 60.0},
        {"cap_share": 0.0},
        {"cap_share": 1.5},
        {"lookahead_hours": -1.0},
        {"move_saving": -0.1},
    ],
)
def test_impossible_rules_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        MarketRules(**wrong)  # type: ignore[arg-type]


def test_blind_rules_differ_in_carbon_alone() -> None:
    blind = carbon_blind(RULES)

    assert blind.clearing.carbon_microcredits_per_kilogram == 0 and blind.cap_share is None
    assert blind.move_saving is None
    assert blind.slot_seconds == RULES.slot_seconds and blind.segment_hours == RULES.segment_hours

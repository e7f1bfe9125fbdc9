"""A simulation object as `simulate_pool` returns it, small and with round numbers."""

from typing import Any

import pytest

MEASURES: dict[str, Any] = {
    "num_jobs": 100,
    "reference_hours": 1000.0,
    "machine_hours": 1010.0,
    "cost_microcredits": 400_000_000,
    "transfer_microcredits": 1_000_000,
    "grams": 200_000.0,
    "at_once_grams": 210_000.0,
    "waiting_mean_seconds": 3600.0,
    "waiting_p50_seconds": 600.0,
    "waiting_p95_seconds": 9000.0,
    "turnaround_mean_seconds": 20_000.0,
    "slowdown_p95": 2.0,
    "jobs_in_time": 99,
    "reference_hours_in_time": 990.0,
    "worth_in_time_microcredits": 3_000_000_000,
    "grams_lost": 5000.0,
    "jobs_lost": 12,
    "microcredits_per_reference_hour": 400_000.0,
    "grams_per_reference_hour": 200.0,
    "realised_saving": 0.0476,
}


def policy(name: str, *, share: float = 1.0, **changes: Any) -> dict[str, Any]:
    measures = {**MEASURES, **changes}
    return {
        "name": name,
        "meaning": f"what {name} does",
        "measures": measures,
        "welfare_microcredits": 2_000_000_000.0,
        "utilisation": 0.5,
        "members": {"lima": measures, "<b>": measures},
        "fairness": {
            "share_ratios": {"lima": share, "<b>": 1.2},
            "min_share_ratio": share,
            "jain_index": 0.98,
            "envy_count": 1 if share < 1 else 0,
            "finish_time_ratios": {"lima": 1.0, "<b>": 0.9},
            "max_finish_time_ratio": 1.0,
        },
        "days": [
            {"day": day, "reference_hours": 500.0, "grams": 1e5 - 1e4 * day, "cost_microcredits": 2e8}
            for day in range(2)
        ],
        "num_events": 300,
        "num_rounds": 0,
        "market": None,
    }


@pytest.fixture
def view() -> dict[str, Any]:
    """Alone, two baselines and a market that emits 30 % less at 1 % lower cost."""
    market = policy(
        "market", grams_per_reference_hour=140.0, microcredits_per_reference_hour=396_000.0, share=1.05
    )
    market["market"] = {
        "expected_saving": 0.31,
        "paid_microcredits": {"lima": 5_000_000, "<b>": 2_000_000},
        "earned_microcredits": {"lima": 1_000_000, "<b>": 4_000_000},
        "carbon_microcredits": 500_000,
        "surplus_microcredits": 1_500_000,
        "num_leases": 120,
        "num_moves": 60,
        "num_reclaimed": 2,
        "num_refusals": 9,
        "largest_round": 40,
    }
    return {
        "name": "two-of-us",
        "seed": 7,
        "start": "2026-03-02T00:00:00+00:00",
        "num_jobs": 100,
        "reference_hours": 1000.0,
        "hours_of_releases": 48.0,
        "num_machines": 30,
        "load": 0.69,
        "sites": [
            {
                "name": "hall",
                "member": "lima",
                "zone": "CL-SIC",
                "machine_class": "gpu",
                "num_machines": 30,
                "watts": 400.0,
                "throughput": 1.0,
                "pue": 1.2,
                "wear_microcredits_per_hour": 300_000,
                "ask_microcredits_per_hour": 340_000,
                "reliability": 1.0,
            }
        ],
        "machines_by_member": {"lima": 20, "<b>": 10},
        "carbon_microcredits_per_kilogram": 190_000,
        "assumptions": {"slack_hours": 24.0},
        "market_rules": {"slot_minutes": 30, "cap_share": None},
        "counting": "life-cycle",
        "policies": [
            policy("alone"),
            policy("easy-backfill", share=0.9, waiting_mean_seconds=60.0),
            policy("lowest-price", grams_per_reference_hour=260.0, microcredits_per_reference_hour=380_000.0),
            market,
        ],
        "bounds": {
            "welfare": {"value": 2_500_000_000.0},
            "cost": {"cost_microcredits": 350_000_000.0},
            "carbon": {"grams": 90_000.0},
        },
    }

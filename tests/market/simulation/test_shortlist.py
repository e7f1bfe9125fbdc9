"""Whose bids a round takes up, and whose it leaves for the next."""

from typing import Any

import numpy as np

from ayni.market.simulation.shortlist import TIMES_FREE, Candidates, shortlist


def candidate(job: int, *, key: float = 1.0, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {"gang": 1, "deadline": 1.0, "sites": None, "home": -1, "is_urgent": False}
    return {"job": job, "key": key, **values, **changes}


def jobs_of(rows: list[dict[str, Any]], free: list[int]) -> list[int]:
    candidates = Candidates(
        job_N=np.array([row["job"] for row in rows]),
        gang_N=np.array([row["gang"] for row in rows]),
        key_N=np.array([row["key"] for row in rows]),
        deadline_N=np.array([row["deadline"] for row in rows]),
        sites=[row["sites"] for row in rows],
        home_N=np.array([row["home"] for row in rows]),
        is_urgent_N=np.array([row["is_urgent"] for row in rows]),
    )
    return [int(rows[number]["job"]) for number in shortlist(candidates, np.array(free))]


def test_the_best_keys_are_taken_up_until_they_could_fill_the_free_machines_several_times() -> None:
    candidates = [candidate(job, key=float(job)) for job in range(20)]

    assert jobs_of(candidates, [1, 1]) == list(range(20 - 2 * TIMES_FREE, 20))


def test_better_keys_for_wider_places_do_not_push_out_bids_for_narrow_ones() -> None:
    narrow = frozenset({0})
    wide = [candidate(job, key=10.0) for job in range(9)]

    # Nine wide ones want both machines; the narrow one is counted against its own site alone.
    assert 9 in jobs_of([*wide, candidate(9, sites=narrow)], [1, 1])


def test_bids_for_narrow_places_count_for_wider_ones() -> None:
    narrow = [candidate(job, key=10.0, sites=frozenset({0})) for job in range(2 * TIMES_FREE)]

    assert jobs_of([*narrow, candidate(99)], [2, 0]) == list(range(2 * TIMES_FREE))
    assert 99 in jobs_of([*narrow, candidate(99)], [2, 1])


def test_who_bids_for_its_own_free_machines_is_taken_up_by_deadline_whatever_its_key() -> None:
    rich = [candidate(job, key=10.0) for job in range(2 * TIMES_FREE)]
    owners = [candidate(50 + job, key=0.1, deadline=float(job), home=1) for job in range(5)]

    taken = jobs_of([*rich, *owners], [1, 1])

    assert [job for job in taken if job >= 50] == [50, 51, 52]
    # Not if the gang does not fit there.
    assert 61 not in jobs_of([*rich, candidate(61, key=0.1, home=1, gang=2)], [1, 1])


def test_urgent_bids_are_taken_up_and_push_nobody_out() -> None:
    urgent = [candidate(job, key=10.0, is_urgent=True) for job in range(9)]

    assert jobs_of([*urgent, candidate(9)], [0, 1]) == list(range(10))
    assert jobs_of([*urgent, candidate(9)], [0, 0]) == list(range(9))

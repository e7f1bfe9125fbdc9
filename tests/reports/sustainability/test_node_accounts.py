import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ayni.footprint.sums.entries import entry_of_receipt
from ayni.reports.sustainability.node_accounts import node_accounts, without_overlaps

GOLDEN = Path(__file__).parent.parent.parent / "footprint" / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)
HOUR = timedelta(hours=1)


def test_steps_that_follow_each_other_add_up_to_their_node_exactly() -> None:
    later = replace(ENTRY, step="compress", started_at=ENTRY.ended_at, ended_at=ENTRY.ended_at + HOUR)

    (account,) = node_accounts([later, ENTRY])

    assert account["node"] == "node-1"
    assert account["node_microjoules"] == 10_000_000_000_000 == sum(account["parts"].values())
    assert account["parts"]["unreserved_idle_microjoules"] == 800_000_000_000
    assert (account["receipts"], account["num_overlapping"], account["num_unknown"]) == (2, 0, 0)


def test_accounts_of_one_time_are_not_added() -> None:
    beside = replace(ENTRY, run="other", started_at=ENTRY.started_at + HOUR)
    alone = replace(ENTRY, run="later", started_at=ENTRY.ended_at, ended_at=ENTRY.ended_at + HOUR)

    (account,) = node_accounts([ENTRY, beside, alone])

    assert account["num_overlapping"] == 2
    assert account["node_microjoules"] == 5_000_000_000_000


def test_machines_have_accounts_of_their_own_and_do_not_overlap() -> None:
    accounts = node_accounts([ENTRY, replace(ENTRY, node="node-2")])

    assert [(account["node"], account["num_overlapping"]) for account in accounts] == [
        ("node-1", 0),
        ("node-2", 0),
    ]


def test_an_account_that_is_unknown_is_told_and_not_zero() -> None:
    (account,) = node_accounts([replace(ENTRY, node_account=None)])

    assert (account["node_microjoules"], account["num_unknown"]) == (None, 1)


def test_accounts_that_only_some_receipts_have_are_added() -> None:
    reserved = {**(ENTRY.node_account or {}), "other_reservations_microjoules": 7}
    later = replace(ENTRY, node_account=reserved, started_at=ENTRY.ended_at, ended_at=ENTRY.ended_at + HOUR)

    (account,) = node_accounts([ENTRY, later])

    assert account["parts"]["other_reservations_microjoules"] == 7


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=12))
def test_the_sweep_finds_what_comparing_all_pairs_finds(spans: list[tuple[int, int]]) -> None:
    entries = [
        replace(
            ENTRY,
            run=str(index),
            started_at=ENTRY.started_at + start * HOUR,
            ended_at=ENTRY.started_at + (start + length) * HOUR,
        )
        for index, (start, length) in enumerate(spans)
    ]

    expected = {
        one.run
        for one in entries
        if not any(
            one is not other and one.started_at < other.ended_at and other.started_at < one.ended_at
            for other in entries
        )
    }
    assert {entry.run for entry in without_overlaps(entries)} == expected

"""Rounds are kept whole and once; budgets are set, changed and taken away."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ayni.database import Database
from ayni.market.award import Award, Reservation
from ayni.market.lease_events import LeaseTerms
from ayni.market.metering import LeasePrice
from ayni.market.movements import Lease
from ayni.market.round_store import DamagedRoundError, RoundMovedOnError, RoundStore, rounds_table

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def award(id: str) -> Award:
    window = (START, START + timedelta(hours=1))
    terms = LeaseTerms(
        lease=Lease(lease_id=f"{id}.1", run=id, member="me", site="lab", site_member="uni"),
        price=LeasePrice(
            reserved_unit_seconds=3600,
            seller_microcredits=5,
            climate_microcredits=1,
            payment_microcredits=7,
        ),
        windows=(window,),
        escrow_microcredits=9,
    )
    return Award(
        terms=terms,
        placed_at=START,
        site="lab",
        machine_class="gpu",
        machines=1,
        reserved=(Reservation(offer="o", machines=1, start=window[0], end=window[1]),),
        work_reference_hours=1.0,
        zone=None,
        kilowatts=0.3,
        grams=None,
        at_once=None,
    )


@pytest.fixture
def store(tmp_path: Path) -> RoundStore:
    return RoundStore(Database(tmp_path / "state.db"))


def test_awards_are_read_back_as_they_were_kept(store: RoundStore) -> None:
    store.add(store.next_number(), [award("a"), award("b")], at=START)
    store.add(store.next_number(), [award("c")], at=START)

    assert store.awards() == [award("a"), award("b"), award("c")]
    assert store.next_number() == 3


def test_a_number_is_given_once_and_the_same_round_may_come_twice(store: RoundStore) -> None:
    store.add(1, [award("a")], at=START)
    store.add(1, [award("a")], at=START)

    with pytest.raises(RoundMovedOnError, match=r"Another round \(1\) was booked"):
        store.add(1, [award("b")], at=START)
    assert store.awards() == [award("a")]


def test_a_round_that_cannot_be_read_says_which(store: RoundStore) -> None:
    store.add(1, [award("a")], at=START)
    with store._database.transaction() as connection:
        connection.execute(rounds_table.update().values(content='{"awards": [{"terms": 1}]}'))

    with pytest.raises(DamagedRoundError, match="of the round 1 cannot be read"):
        store.awards()


def test_the_last_budget_counts_and_none_takes_it_away(store: RoundStore) -> None:
    store.set_budget("me", "2026-11", grams=5.0, at=START)
    store.set_budget("me", "2026-11", grams=7.0, at=START)
    store.set_budget("me", "2026-12", grams=1.0, at=START)
    store.set_budget("uni", "2026-11", grams=2.0, at=START)
    store.set_budget("uni", "2026-11", grams=None, at=START)

    assert [(each.member, each.grams) for each in store.budgets(month="2026-11")] == [("me", 7.0)]
    assert [each.month for each in store.budgets()] == ["2026-11", "2026-12"]

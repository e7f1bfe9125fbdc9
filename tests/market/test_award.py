"""From offers and bids to settled leases: what the round promised is what the ledger moves."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.database import Database
from ayni.market.award import Award, award_round
from ayni.market.bids import Bid
from ayni.market.clearing import clear_round
from ayni.market.clearing_policy import ClearingPolicy
from ayni.market.double_entry import AccountNameError
from ayni.market.horizon import Horizon
from ayni.market.lease_events import (
    CheckPassed,
    CheckpointSaved,
    Event,
    LeaseOffered,
    TickMetered,
    WindowBegan,
    WorkFailed,
    WorkFinished,
    WorkStarted,
)
from ayni.market.lease_runner import LeaseRunner, RecordedOrders
from ayni.market.lease_store import DatabaseLeaseStore, InMemoryLeaseStore, LeaseStore
from ayni.market.ledger import Ledger, LedgerStore
from ayni.market.ledger_check import check_book
from ayni.market.machine_classes import MachineClass
from ayni.market.offers import Offer
from ayni.market.policy import LeasePolicy
from ayni.market.reputation import Reputation
from ayni.market.rounds import MarketRound, RunningLease
from ayni.market.store import DatabaseLedgerStore, InMemoryLedgerStore

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
POLICY = LeasePolicy()
GRANT = 50_000_000
V100 = MachineClass(
    name="v100",
    cores=8,
    memory_bytes=2**35,
    accelerator="V100",
    watts=300.0,
    reference_throughput={"any": 1.0},
)
CARBON = {"DE": [400.0] * 24, "NO": [30.0] * 24}


def offer(id: str, member: str, ask: float, **changes: Any) -> Offer:
    values: dict[str, Any] = {
        "id": id,
        "site": f"site-{member}",
        "member": member,
        "machine_class": V100,
        "count": 1,
        "windows": ((START, START + timedelta(hours=24)),),
        "ask_microcredits_per_machine_hour": round(ask * 1e6),
        "zone": "DE",
        "pue": 1.0,
    }
    return Offer(**values | changes)


def bid(id: str, worth: float, *, hours: float = 4.0, **changes: Any) -> Bid:
    values: dict[str, Any] = {
        "id": id,
        "member": f"{id}-member",
        "work_reference_hours": hours,
        "release": START,
        "deadline": START + timedelta(hours=hours + 0.5),
        "worth_microcredits": round(worth * 1e6),
    }
    return Bid(**values | changes)


def round_of(bids: list[Bid], offers: list[Offer], **changes: Any) -> MarketRound:
    horizon = Horizon(start=START, num_slots=24, tail_seconds=7 * 86_400)
    return MarketRound(bids=bids, offers=offers, horizon=horizon, carbon=CARBON, **changes)


def awards_of(
    market: MarketRound, *, reputation: Reputation | None = None, balance: int = GRANT
) -> dict[str, Award]:
    members = {each.member for each in [*market.bids, *market.offers]}
    found = award_round(
        market,
        clear_round(market).result,
        lease_ids={each.id: f"{each.id}.1" for each in market.bids},
        reputations={each.site: reputation or Reputation() for each in market.offers},
        balances_microcredits=dict.fromkeys(members, balance),
        policy=POLICY,
    )
    return {each.job: each for each in found}


class Books:
    """A ledger and a lease book on the same kind of store."""

    def __init__(self, ledger_store: LedgerStore, lease_store: LeaseStore) -> None:
        self.ledger_store, self.lease_store = ledger_store, lease_store
        self.ledger = Ledger(ledger_store, now=lambda: START)
        self.runner = self.new_runner()

    def new_runner(self) -> LeaseRunner:
        return LeaseRunner(
            policy=POLICY,
            store=self.lease_store,
            ledger=self.ledger,
            sites=RecordedOrders(),
            now=lambda: START,
            rng=random.Random(7),
        )

    def grant(self, *members: str, amount: int = GRANT) -> None:
        for member in members:
            self.ledger.grant_once(member, amount_microcredits=amount, policy="new-member")

    def offer(self, *awards: Award) -> None:
        self.runner.tell(
            *(LeaseOffered(lease_id=each.lease_id, at=START, terms=each.terms) for each in awards)
        )

    def run(self, award: Award, *, share: float = 1.0, ticks: int = 7) -> None:
        """Work in ticks of unlike length up to a share of what is reserved."""
        id, at = award.lease_id, award.terms.windows[0][0]
        units = round(award.terms.price.reserved_unit_seconds * share)
        self.tell(WindowBegan(lease_id=id, at=at), WorkStarted(lease_id=id, at=at))
        edges = [units * number**2 // ticks**2 for number in range(ticks + 1)]
        for number in range(ticks):
            length = edges[number + 1] - edges[number]
            self.tell(TickMetered(lease_id=id, at=at, number=number + 1, unit_seconds=length))

    def finish(self, award: Award) -> None:
        id = award.lease_id
        self.tell(WorkFinished(lease_id=id, at=START))
        state = self.runner.book.states.get(id)
        if state is not None and state.settling == "checking":
            self.tell(CheckPassed(lease_id=id, at=START))

    def tell(self, *events: Event) -> None:
        self.runner.tell(*events)

    def balance(self, account: str) -> int:
        return self.ledger.balance(account)

    def prove(self) -> None:
        with self.ledger_store.reading() as book:
            assert check_book(book).problems == []
        assert sum(self.ledger.balances().values()) == 0


@pytest.fixture(params=["memory", "database"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Books:
    if request.param == "memory":
        return Books(InMemoryLedgerStore(), InMemoryLeaseStore())
    database = Database(tmp_path / "state.db")
    return Books(DatabaseLedgerStore(database), DatabaseLeaseStore(database))


def contested() -> MarketRound:
    """One machine of the lab's, wanted by two for the same hours: the winner pays the other's worth."""
    return round_of([bid("rich", 20.0), bid("poor", 8.0)], [offer("lab-1", "lab", 0.5)])


def test_a_round_is_settled_to_the_last_microcredit(books: Books) -> None:
    (award,) = awards_of(contested()).values()
    books.grant("rich-member", "lab")

    books.offer(award)
    books.run(award)
    books.finish(award)

    # The loser bids 8 for the same work, and 8 is the least worth that goes before it but for the tie.
    payment = award.terms.price.payment_microcredits
    assert award.job == "rich"
    assert payment == pytest.approx(8_000_000, abs=1)
    ask, grams = 4 * 500_000, 4 * 0.3 * 400.0
    climate = round(grams * 190_000 / 1000)
    rest = payment - ask - climate
    assert books.balance("member:rich-member:available") == GRANT - payment
    assert books.balance("member:lab:available") == GRANT + ask
    assert books.balance("coop:climate") == climate
    assert books.balance("coop:verification") == int(rest * POLICY.verification_share)
    assert books.balance("coop:surplus") == rest - int(rest * POLICY.verification_share)
    books.prove()


def test_sellers_are_paid_for_what_was_metered_and_no_more(books: Books) -> None:
    (award,) = awards_of(contested()).values()
    books.grant("rich-member", "lab")
    books.offer(award)

    books.run(award, share=0.25)
    books.finish(award)

    assert books.balance("member:lab:available") == GRANT + 4 * 500_000 // 4
    assert books.balance("member:rich-member:available") == GRANT - books_paid(award, 0.25)
    books.prove()


def books_paid(award: Award, share: float) -> int:
    units = round(award.terms.price.reserved_unit_seconds * share)
    return sum(award.terms.price.parts_until(units, verification_share=POLICY.verification_share))


def test_a_seller_that_fails_half_way_is_paid_up_to_its_last_checkpoint(books: Books) -> None:
    (award,) = awards_of(contested()).values()
    books.grant("rich-member", "lab")
    books.offer(award)
    id, units = award.lease_id, award.terms.price.reserved_unit_seconds // 4
    books.tell(WindowBegan(lease_id=id, at=START), WorkStarted(lease_id=id, at=START))
    books.tell(TickMetered(lease_id=id, at=START, number=1, unit_seconds=units))
    books.tell(CheckpointSaved(lease_id=id, at=START, tick=1))
    books.tell(TickMetered(lease_id=id, at=START, number=2, unit_seconds=units))

    books.tell(WorkFailed(lease_id=id, at=START, reason="power cut", is_sites_fault=True))
    books.tell(CheckPassed(lease_id=id, at=START))

    price = award.terms.price
    assert books.balance("member:lab:available") == GRANT + price.seller_microcredits // 4
    # The carbon of the lost quarter was emitted: its charge stays with the climate fund.
    lost_climate = price.climate_microcredits // 2 - price.climate_microcredits // 4
    assert books.balance("member:rich-member:available") == GRANT - books_paid(award, 0.25) - lost_climate
    assert books.balance(f"member:rich-member:escrow:{id}") == 0
    books.prove()


def test_a_buyer_that_cannot_pay_is_refused_with_a_sentence_and_nothing_is_half_done(books: Books) -> None:
    (award,) = awards_of(contested()).values()
    books.grant("lab")
    books.grant("rich-member", amount=1_000_000)

    books.offer(award)

    stored = books.lease_store
    reasons = [each.event for each in _events(stored) if type(each.event).__name__ == "EscrowRefused"]
    assert len(reasons) == 1
    assert "rich-member needs" in reasons[0].reason  # type: ignore[union-attr]
    assert "and has 1." in reasons[0].reason  # type: ignore[union-attr]
    assert books.runner.book.states == {}
    assert books.balance("member:rich-member:available") == 1_000_000
    books.prove()


def _events(store: LeaseStore) -> list[Any]:
    return store.every_event()  # type: ignore[attr-defined, no-any-return]


def test_the_same_round_booked_twice_is_booked_once(books: Books) -> None:
    market = round_of([bid("a", 9.0), bid("b", 8.0)], [offer("lab-1", "lab", 0.5, count=2)])
    awards = list(awards_of(market).values())
    books.grant("a-member", "b-member", "lab")
    books.offer(*awards)
    before, num_events = books.ledger.balances(), len(_events(books.lease_store))

    books.offer(*awards)
    books.runner = books.new_runner()
    books.runner.recover()
    books.offer(*awards)

    assert books.ledger.balances() == before
    assert len(_events(books.lease_store)) == num_events
    books.prove()


def test_own_machines_cost_their_ask_to_oneself(books: Books) -> None:
    mine = offer("own-1", "me", 0.5, reliability=0.9)
    (award,) = awards_of(round_of([bid("job", 9.0, member="me")], [mine])).values()
    books.grant("me")
    books.offer(award)
    books.run(award)
    books.finish(award)

    assert not award.is_lent
    assert (award.terms.check_rate, award.terms.bond_microcredits) == (0.0, 0)
    assert books.balance("member:me:available") == GRANT - award.terms.price.climate_microcredits
    assert books.balance("coop:surplus") == 0
    books.prove()


def test_a_cloud_is_paid_in_money(books: Books) -> None:
    cloud = offer("gcp-1", "gcp", 3.0, source="cloud:gcp", count=1000)
    (award,) = awards_of(round_of([bid("job", 90.0)], [cloud])).values()
    books.grant("job-member")
    books.offer(award)
    books.run(award)
    books.finish(award)

    assert award.terms.lease.site_member == "cloud:gcp"
    assert award.terms.bond_microcredits == 0
    assert books.balance("external:cloud") == 4 * 3_000_000
    books.prove()


def test_a_trusted_seller_stakes_so_that_cheating_does_not_pay_and_a_poor_one_is_checked_more() -> None:
    trusted = Reputation(passed_since_failure=20)

    (staked,) = awards_of(contested(), reputation=trusted).values()
    (poor,) = awards_of(contested(), reputation=trusted, balance=0).values()

    gain = staked.terms.price.seller_microcredits
    assert staked.terms.check_rate == pytest.approx(0.5)
    assert staked.terms.bond_microcredits == gain
    assert (poor.terms.check_rate, poor.terms.bond_microcredits) == (1.0, 0)


def test_suspended_work_has_a_window_for_each_piece() -> None:
    grams = [900.0, 900.0, 30.0, 900.0, 30.0, *[900.0] * 19]
    wanted = bid("job", 90.0, hours=1.8, can_suspend=True, deadline=START + timedelta(hours=12))
    policy = ClearingPolicy(carbon_microcredits_per_kilogram=50_000_000, restart_hours=0.05)
    market = replace(round_of([wanted], [offer("lab-1", "lab", 0.5)], policy=policy), carbon={"DE": grams})

    (award,) = awards_of(market).values()

    hour = timedelta(hours=1)
    assert award.terms.windows == (
        (START + 2 * hour, START + 3 * hour),
        (START + 4 * hour, START + 5 * hour),
    )
    assert award.terms.price.reserved_unit_seconds == round(1.85 * 3600)
    assert [(each.start, each.end) for each in award.reserved] == list(award.terms.windows)


def test_a_gang_spans_offers_of_one_site_and_each_keeps_its_own_count() -> None:
    market = round_of(
        [bid("job", 90.0, hours=12.0, gang=3, deadline=START + timedelta(hours=5))],
        [
            offer("a", "lab", 0.5, count=2, machine_ids=("1", "2")),
            offer("b", "lab", 0.5, count=2, machine_ids=("3", "4")),
        ],
        leases=[
            RunningLease(
                id="x", offer="a", member="m", machines=1, start=START, end=START + timedelta(minutes=30)
            )
        ],
    )

    (award,) = awards_of(market).values()

    assert {(each.offer, each.machines) for each in award.reserved} == {("a", 1), ("b", 2)}
    assert award.machines == 3


def test_work_that_ends_in_the_tail_holds_its_machines_until_it_ends() -> None:
    long = offer("lab-1", "lab", 0.5, windows=((START, START + timedelta(days=30)),))
    wanted = bid("job", 90.0, hours=30.5, deadline=START + timedelta(hours=31))

    (award,) = awards_of(round_of([wanted], [long])).values()

    assert award.terms.windows == ((START, START + timedelta(hours=31)),)
    assert [(each.start, each.end) for each in award.reserved] == [(START, START + timedelta(hours=31))]


def test_the_escrow_lasts_until_the_windows_end_but_never_beyond_what_the_bid_pays() -> None:
    short = bid("job", 90.0, hours=0.5)
    tight = replace(short, worth_microcredits=350_000)

    (roomy,) = awards_of(round_of([short], [offer("lab-1", "lab", 0.5)])).values()
    (capped,) = awards_of(round_of([tight], [offer("lab-1", "lab", 0.5)])).values()

    assert roomy.terms.escrow_microcredits == 2 * roomy.terms.price.payment_microcredits
    assert capped.terms.escrow_microcredits == 350_000


def test_an_award_is_what_its_json_says() -> None:
    for award in awards_of(contested()).values():
        assert Award.from_json(award.to_json()) == award


def test_a_name_that_no_account_carries_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(AccountNameError, match="mem ber"):
        awards_of(round_of([bid("job", 9.0, member="mem ber")], [offer("lab-1", "lab", 0.5)]))


def test_what_is_awarded_is_taken_in_the_next_round() -> None:
    market = round_of([bid("first", 20.0)], [offer("lab-1", "lab", 0.5)])
    (award,) = awards_of(market).values()

    again = awards_of(replace(market, bids=[bid("second", 90.0)], leases=award.running()))
    freed = awards_of(replace(market, bids=[bid("second", 90.0)], leases=award.running(until=START)))

    assert again == {}
    assert list(freed) == ["second"]


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0.3, 30), st.integers(1, 3), st.floats(0.2, 9)), min_size=1, max_size=6),
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "cloud"]), st.integers(1, 4), st.floats(0.1, 3)), max_size=4
    ),
    st.floats(0.8, 1.0),
)
def test_any_round_can_be_booked_and_pays_everybody_what_was_promised(
    wants: list[tuple[float, int, float]], sells: list[tuple[str, int, float]], reliability: float
) -> None:
    offers = [
        offer(
            f"o{index}",
            member,
            ask,
            count=count,
            site=f"site-{index}",
            reliability=reliability,
            source="cloud:x" if member == "cloud" else "member",
        )
        for index, (member, count, ask) in enumerate(sells)
    ]
    bids = [
        bid(f"j{index}", worth, gang=gang, hours=hours, member=("a", "b", "c")[index % 3])
        for index, (worth, gang, hours) in enumerate(wants)
    ]
    bids = [replace(each, deadline=START + timedelta(hours=20)) for each in bids]
    books = Books(InMemoryLedgerStore(), InMemoryLeaseStore())
    books.grant("a", "b", "c", amount=10**9)
    awards = list(awards_of(round_of(bids, offers), balance=10**9).values())

    books.offer(*awards)
    for award in awards:
        books.run(award, ticks=3)
        books.finish(award)

    due = dict.fromkeys(("a", "b", "c"), 0)
    for award in awards:
        due[award.terms.lease.member] -= award.terms.price.payment_microcredits
        if award.terms.lease.site_member in due:
            due[award.terms.lease.site_member] += award.terms.price.seller_microcredits
    assert {name: books.balance(f"member:{name}:available") - 10**9 for name in due} == due
    assert books.balance("coop:climate") == sum(each.terms.price.climate_microcredits for each in awards)
    for award in awards:
        for start in {each.start for each in award.reserved}:
            at_once = [each.machines for each in award.reserved if each.start <= start < each.end]
            assert sum(at_once) == award.machines
    books.prove()

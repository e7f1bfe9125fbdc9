import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ayni.database import Database
from ayni.market import double_entry, movements
from ayni.market.double_entry import GRANTS, AccountNameError, OverdrawnAccountError, available, escrow
from ayni.market.ledger import (
    ClosedLeaseError,
    InsufficientCreditsError,
    Lease,
    Ledger,
    LedgerStore,
    ReusedIdError,
)
from ayni.market.store import DatabaseLedgerStore, InMemoryLedgerStore


def lease(lease_id: str = "r1", *, member: str = "me", site_member: str = "lab") -> Lease:
    return Lease(lease_id=lease_id, run=lease_id, member=member, site="own", site_member=site_member)


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgresql", marks=pytest.mark.cluster)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LedgerStore]:
    if request.param == "memory":
        yield InMemoryLedgerStore()
        return
    is_file = request.param == "sqlite"
    database = Database(
        tmp_path / "state.db" if is_file else request.getfixturevalue("postgresql").new_database()
    )
    yield DatabaseLedgerStore(database)
    database.close()


@pytest.fixture
def ledger(store: LedgerStore) -> Ledger:
    seconds = itertools.count()
    ledger = Ledger(store, now=lambda: datetime.fromtimestamp(next(seconds), UTC))
    ledger.grant_once("me", amount_microcredits=100, policy="new-member")
    return ledger


def test_a_job_is_paid_from_escrow_and_the_rest_comes_back(ledger: Ledger) -> None:
    ledger.hold(lease(), amount_microcredits=60)
    ledger.draw(lease(), receipt_hash="h1", amount_microcredits=25, memo="train")
    ledger.draw(lease(), receipt_hash="h2", amount_microcredits=10, climate_microcredits=5, memo="compress")
    ledger.release(lease())
    ledger.pay_out(lease())

    assert ledger.balance(available("me")) == 100 - 40
    assert ledger.balance(available("lab")) == 35
    assert ledger.balance(double_entry.CLIMATE_FUND) == 5
    assert ledger.balance(escrow("me", "r1")) == 0
    assert ledger.balance(GRANTS) == -100
    assert ledger.check() == []
    kinds = [row["kind"] for row in ledger.transactions("r1")]
    assert kinds == ["hold", "draw", "draw", "release", "pay-out"]
    assert double_entry.check_transactions(ledger.transactions("r1")) == []


def test_everything_called_twice_happens_once(ledger: Ledger) -> None:
    steps: list[Callable[[], object]] = [
        lambda: ledger.grant_once("me", amount_microcredits=100, policy="new-member"),
        lambda: ledger.hold(lease(), amount_microcredits=60),
        lambda: ledger.draw(lease(), receipt_hash="h1", amount_microcredits=25, memo="train"),
        lambda: ledger.release(lease()),
        lambda: ledger.pay_out(lease()),
    ]
    first = [step() for step in steps]

    again = [step() for step in steps]

    assert again == first
    assert ledger.balance(available("me")) == 75
    assert len(ledger.transactions("r1")) == 4


def test_the_same_id_for_something_else_is_refused(ledger: Ledger) -> None:
    ledger.hold(lease(), amount_microcredits=60)
    ledger.draw(lease(), receipt_hash="h1", amount_microcredits=25, memo="train")

    with pytest.raises(ReusedIdError, match="Nothing was booked"):
        ledger.hold(lease(), amount_microcredits=61)
    with pytest.raises(ReusedIdError):
        ledger.draw(lease(), receipt_hash="h1", amount_microcredits=24, memo="train")
    with pytest.raises(ReusedIdError):
        ledger.hold(lease(member="lab"), amount_microcredits=60)

    assert ledger.balance(escrow("me", "r1")) == 35


def test_a_policy_grants_once_also_after_its_amount_changed(ledger: Ledger) -> None:
    ledger.grant_once("me", amount_microcredits=500, policy="new-member")
    ledger.grant_once("you", amount_microcredits=500, policy="new-member")

    assert ledger.balance(available("me")) == 100
    assert ledger.balance(available("you")) == 500


def test_an_organisation_is_granted_once_however_many_members_it_founds(ledger: Ledger) -> None:
    for name in ("a", "b", "c"):
        ledger.grant_once(name, amount_microcredits=70, policy="new-member", organisation="uni.example")

    assert [ledger.balance(available(name)) for name in ("a", "b", "c")] == [70, 0, 0]


def test_a_member_cannot_hold_more_than_it_has(ledger: Ledger) -> None:
    ledger.hold(lease("r1"), amount_microcredits=60)

    with pytest.raises(InsufficientCreditsError, match=r"me needs 5e-05 credits and has 4e-05") as caught:
        ledger.hold(lease("r2"), amount_microcredits=50)

    assert caught.value.shortfall_microcredits == 10
    assert caught.value.exit_code == 2
    assert ledger.transactions("r2") == []


def test_a_lease_cannot_cost_more_than_its_escrow(ledger: Ledger) -> None:
    ledger.hold(lease(), amount_microcredits=60)

    with pytest.raises(OverdrawnAccountError):
        ledger.draw(lease(), receipt_hash="h1", amount_microcredits=60, climate_microcredits=1, memo="")

    assert ledger.balance(escrow("me", "r1")) == 60
    assert ledger.check() == []


def test_nothing_is_drawn_from_a_settled_lease(ledger: Ledger) -> None:
    ledger.hold(lease(), amount_microcredits=60)
    ledger.release(lease())

    with pytest.raises(ClosedLeaseError, match="r1 is settled"):
        ledger.draw(lease(), receipt_hash="late", amount_microcredits=1, memo="")
    with pytest.raises(ClosedLeaseError):
        ledger.hold_more(lease(), held_microcredits=60, amount_microcredits=1)
    assert ledger.hold(lease(), amount_microcredits=60)["kind"] == "hold"


def test_what_is_empty_moves_nothing(ledger: Ledger) -> None:
    assert ledger.release(lease()) is None
    assert ledger.pay_out(lease()) is None
    assert ledger.held(lease()) is None
    assert ledger.balance("member:nobody:available") == 0


@pytest.mark.parametrize("amount", [0, -5])
def test_nothing_and_less_than_nothing_cannot_be_moved(ledger: Ledger, amount: int) -> None:
    with pytest.raises(ValueError, match="micro-credits"):
        ledger.hold(lease(), amount_microcredits=amount)
    with pytest.raises(ValueError, match="micro-credits"):
        ledger.grant_once("you", amount_microcredits=amount, policy="p")


def test_a_negative_draw_cannot_bring_credits_back(ledger: Ledger) -> None:
    ledger.hold(lease(), amount_microcredits=60)

    for site, climate in ((-5, 10), (10, -5)):
        with pytest.raises(ValueError, match="draw"):
            ledger.draw(
                lease(), receipt_hash="h", amount_microcredits=site, climate_microcredits=climate, memo=""
            )


def test_a_members_name_cannot_reach_into_another_account(ledger: Ledger) -> None:
    with pytest.raises(AccountNameError):
        ledger.hold(lease(member="me:escrow:r0"), amount_microcredits=1)


def test_a_batch_sees_what_the_movements_before_it_in_the_batch_did(ledger: Ledger) -> None:
    wanted = [
        movements.hold(lease("r1"), amount_microcredits=70),
        movements.hold(lease("r2"), amount_microcredits=70),
        movements.release(lease("r1")),
        movements.hold(lease("r3"), amount_microcredits=70),
        movements.pay_out(lease("r3")),
    ]

    answers = ledger.book_all(wanted)

    assert isinstance(answers[1], InsufficientCreditsError)
    assert [answers[n]["kind"] for n in (0, 2, 3)] == ["hold", "release", "hold"]  # type: ignore[index]
    assert answers[4] is None
    assert ledger.balance(escrow("me", "r3")) == 70
    assert ledger.check() == []


def test_a_batch_told_again_answers_the_same_and_books_nothing(ledger: Ledger) -> None:
    wanted = [movements.hold(lease(f"r{n}"), amount_microcredits=5) for n in range(10)]
    first = ledger.book_all([*wanted, *wanted])

    again = ledger.book_all(wanted)

    assert first == again + again
    assert ledger.balance(available("me")) == 50


def test_the_transactions_of_a_member_are_those_that_moved_its_credits(ledger: Ledger) -> None:
    for member in ("mexico", "m_", "lab"):
        ledger.grant_once(member, amount_microcredits=50, policy="new-member")
    ledger.hold(lease("r1"), amount_microcredits=60)
    ledger.hold(lease("r2", member="mexico"), amount_microcredits=10)
    ledger.draw(lease("r1"), receipt_hash="h", amount_microcredits=5, memo="")
    ledger.pay_out(lease("r1"))

    assert [row["id"] for row in ledger.transactions_of("me")] == [
        "grant:new-member:me",
        "hold:r1",
        "draw:r1:h",
    ]
    assert [row["id"] for row in ledger.transactions_of("lab")] == ["grant:new-member:lab", "pay-out:r1"]
    assert [row["id"] for row in ledger.transactions_of("m_")] == ["grant:new-member:m_"]
    assert ledger.transactions_of("nobody") == []


def test_more_ids_and_accounts_than_one_statement_may_name_are_found(store: LedgerStore) -> None:
    ledger = Ledger(store)
    wanted = [movements.grant(f"m{n}", amount_microcredits=n + 1, policy="p") for n in range(6000)]

    ledger.book_all(wanted)

    assert len([row for row in ledger.book_all(wanted) if row is not None]) == 6000
    assert len(ledger.balances()) == 6001
    assert ledger.check() == []


class LedgerMachine(RuleBasedStateMachine):
    """Any order of calls on two ledgers, one of them in memory only: same outcome, always sound."""

    members = st.sampled_from(["me", "you"])
    leases = st.sampled_from(["r1", "r2"])
    amounts = st.integers(-1, 120)

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(InMemoryLedgerStore())

    def _try(self, call: Callable[[], object]) -> None:
        before = self.ledger.check(), len(self.ledger._store.entries)  # type: ignore[attr-defined]
        try:
            call()
        except (ValueError, OverdrawnAccountError, InsufficientCreditsError, ReusedIdError, ClosedLeaseError):
            assert len(self.ledger._store.entries) == before[1]  # type: ignore[attr-defined]

    @rule(member=members, amount=amounts)
    def grant(self, member: str, amount: int) -> None:
        self._try(lambda: self.ledger.grant_once(member, amount_microcredits=amount, policy="p"))

    @rule(member=members, name=leases, amount=amounts)
    def hold(self, member: str, name: str, amount: int) -> None:
        self._try(lambda: self.ledger.hold(lease(name, member=member), amount_microcredits=amount))

    @rule(member=members, name=leases, amount=amounts, climate=amounts, receipt=st.sampled_from("abc"))
    def draw(self, member: str, name: str, amount: int, climate: int, receipt: str) -> None:
        self._try(
            lambda: self.ledger.draw(
                lease(name, member=member),
                receipt_hash=receipt,
                amount_microcredits=amount,
                climate_microcredits=climate,
                memo="",
            )
        )

    @rule(member=members, name=leases)
    def close(self, member: str, name: str) -> None:
        self._try(lambda: self.ledger.release(lease(name, member=member)))
        self._try(lambda: self.ledger.pay_out(lease(name, member=member)))

    @invariant()
    def is_sound(self) -> None:
        assert self.ledger.check() == []


TestLedgerInAnyOrder = LedgerMachine.TestCase
TestLedgerInAnyOrder.settings = settings(max_examples=20, stateful_step_count=15, deadline=None)

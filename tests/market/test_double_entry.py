import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.double_entry import (
    GRANTS,
    AccountNameError,
    Entry,
    OverdrawnAccountError,
    Posting,
    Transaction,
    available,
    check_transactions,
    earned,
    escrow,
    next_entry,
    refuse_overdraft,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def move(id: str, source: str, target: str, amount: int, *, run: str | None = "r1") -> Transaction:
    postings = (
        Posting(account=source, amount_microcredits=-amount),
        Posting(account=target, amount_microcredits=amount),
    )
    return Transaction(id=id, kind="move", run=run, memo="", postings=postings)


def book_of(*transactions: Transaction) -> list[dict[str, Any]]:
    entries: list[Entry] = []
    for transaction in transactions:
        before = {"sequence": entries[-1].sequence + 1, "previous_hash": entries[-1].hash} if entries else {}
        entries.append(next_entry(transaction, at=NOW, **before))  # type: ignore[arg-type]
    return json.loads(json.dumps([entry.to_json() for entry in entries]))


def sound_book() -> list[dict[str, Any]]:
    return book_of(
        move("grant", GRANTS, available("me"), 100, run=None),
        move("hold", available("me"), escrow("me", "r1"), 40),
        move("draw", escrow("me", "r1"), earned("own", "r1"), 30),
        move("release", escrow("me", "r1"), available("me"), 10),
        move("pay-out", earned("own", "r1"), available("me"), 30),
    )


def test_a_sound_book_and_the_part_of_one_run_have_no_problem() -> None:
    book = sound_book()

    assert check_transactions(book, is_whole_book=True) == []
    assert check_transactions(book[1:]) == []
    assert check_transactions([], is_whole_book=True) == []


def test_an_entry_survives_json() -> None:
    for row in sound_book():
        assert Entry.from_json(row).to_json() == row


def test_every_changed_value_of_every_transaction_is_found() -> None:
    book = sound_book()

    for row in range(len(book)):
        for name in [*book[row], "extra"]:
            changed = json.loads(json.dumps(book))
            changed[row][name] = "changed"
            assert check_transactions(changed), (row, name)
    for posting in range(2):
        changed = json.loads(json.dumps(book))
        changed[2]["postings"][posting]["amount_microcredits"] *= 2
        assert check_transactions(changed)


@pytest.mark.parametrize("removed", [0, 1, 2, 3])
def test_a_removed_transaction_is_missed_in_the_whole_book(removed: int) -> None:
    book = sound_book()
    del book[removed]

    assert any(
        "missing" in problem or "leaves" in problem
        for problem in check_transactions(book, is_whole_book=True)
    )


def test_swapped_and_repeated_transactions_are_found() -> None:
    first, second, third, *rest = sound_book()

    assert check_transactions([first, third, second, *rest])
    assert check_transactions([first, second, second, third, *rest])


def test_a_transaction_replaced_by_a_well_made_one_breaks_the_chain() -> None:
    book = sound_book()
    forged = next_entry(
        move("hold", available("me"), escrow("me", "r1"), 41),
        at=NOW,
        sequence=2,
        previous_hash=book[0]["hash"],
    )
    book[1] = forged.to_json()

    assert "does not follow" in " ".join(check_transactions(book))


def test_an_account_below_zero_is_found_though_every_hash_fits() -> None:
    whole = book_of(move("a", available("me"), available("you"), 5))
    lease = book_of(move("a", escrow("me", "r1"), available("me"), 5))

    assert "leaves member:me:available at -5" in check_transactions(whole, is_whole_book=True)[0]
    assert check_transactions(whole) == [], "a run's file does not hold the history of its members"
    assert "escrow" in check_transactions(lease)[0]


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.floats(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["sequence", "id", "postings", "account", "hash", "at"]), inner, max_size=6
        )
    ),
)


@given(st.lists(hostile, min_size=1, max_size=3))
def test_whatever_a_file_holds_is_answered_with_problems_and_never_raises(rows: list[Any]) -> None:
    assert check_transactions(rows, is_whole_book=True)


@given(
    field=st.sampled_from(
        ["sequence", "id", "run", "at", "memo", "kind", "postings", "hash", "previous_hash"]
    ),
    value=hostile,
)
def test_a_hostile_value_in_a_sound_transaction_never_raises(field: str, value: Any) -> None:
    book = sound_book()
    original, book[2][field] = book[2][field], value

    assert check_transactions(book) or (type(value) is type(original) and value == original)


@pytest.mark.parametrize("amounts", [(5, -4), (5,), (), (0, 0), (1.5, -1.5), (True, -1), (2**53, -(2**53))])
def test_a_transaction_that_does_not_sum_to_zero_in_whole_numbers_cannot_be_made(
    amounts: tuple[Any, ...],
) -> None:
    with pytest.raises(ValueError, match=r"posting|sum|more than"):
        Transaction(
            id="x",
            kind="x",
            run=None,
            memo="",
            postings=tuple(Posting(account=f"a{i}", amount_microcredits=a) for i, a in enumerate(amounts)),
        )


def test_a_transaction_names_an_account_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        move("x", available("me"), available("me"), 5)


def test_only_the_source_of_grants_may_be_overdrawn() -> None:
    refuse_overdraft(move("g", GRANTS, available("me"), 100), {})
    refuse_overdraft(move("a", available("me"), available("you"), 5), {available("me"): 5})

    with pytest.raises(OverdrawnAccountError, match="holds 4 micro-credits and 5"):
        refuse_overdraft(move("a", available("me"), available("you"), 5), {available("me"): 4})


@pytest.mark.parametrize("name", ["", "a:b", "me\n", "../x", "é", " me", "-x", "a" * 129])
def test_a_name_that_could_pass_for_another_account_is_refused(name: str) -> None:
    for account in (lambda: available(name), lambda: escrow("me", name), lambda: earned(name, "r1")):
        with pytest.raises(AccountNameError, match="letters"):
            account()


def test_an_entry_needs_a_time_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        next_entry(move("a", "x", "y", 1), at=datetime(2026, 1, 1))  # noqa: DTZ001

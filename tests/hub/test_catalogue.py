"""Names lead to repositories for ever, and pages of listings neither repeat nor leave out."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection

from ayni.hub import catalogue
from ayni.hub.names import RepositoryNameError
from ayni.hub.repository import Moved, NameTakenError, Repository, RepositoryGoneError

__all__ = ["connection"]


def make(connection: sa.Connection, name: str, kind: str = "model", days: int = 0) -> Repository:
    when = WHEN + timedelta(days=days)
    return catalogue.create(connection, kind, name, visibility="public", when=when)  # type: ignore[arg-type]


def test_a_repository_is_found_whatever_the_case(connection: sa.Connection) -> None:
    made = make(connection, "Me/Digits")

    assert catalogue.find(connection, "model", "me/DIGITS") == made
    assert catalogue.find(connection, "dataset", "Me/Digits") is None
    assert (made.namespace, made.is_private) == ("Me", False)


def test_kinds_do_not_share_names(connection: sa.Connection) -> None:
    model, data = make(connection, "me/digits"), make(connection, "me/digits", "dataset")

    assert model.id != data.id
    assert catalogue.names(connection, "dataset") == ["me/digits"]


def test_a_name_is_given_once(connection: sa.Connection) -> None:
    make(connection, "me/digits")

    with pytest.raises(NameTakenError, match="it is there already"):
        make(connection, "me/digits")
    with pytest.raises(NameTakenError):
        make(connection, "Me/Digits")
    with pytest.raises(RepositoryNameError):
        make(connection, "digits")


def test_an_old_name_leads_to_the_new_one_and_is_not_given_again(connection: sa.Connection) -> None:
    made = make(connection, "me/digits")

    moved = catalogue.move(connection, made, "lab/digits", when=WHEN)
    again = catalogue.move(connection, moved, "lab/numbers", when=WHEN)

    assert again.id == made.id
    for old in ("me/digits", "lab/digits"):
        assert catalogue.find(connection, "model", old) == Moved(repository=again)
        with pytest.raises(NameTakenError, match="it leads to lab/numbers"):
            make(connection, old)


def test_a_repository_may_take_back_its_own_name_and_no_other(connection: sa.Connection) -> None:
    made, other = make(connection, "me/digits"), make(connection, "me/letters")
    moved = catalogue.move(connection, made, "me/numbers", when=WHEN)

    back = catalogue.move(connection, moved, "me/digits", when=WHEN)

    assert catalogue.find(connection, "model", "me/digits") == back
    with pytest.raises(NameTakenError):
        catalogue.move(connection, other, "me/numbers", when=WHEN)


def test_the_name_of_a_deleted_repository_stays_taken(connection: sa.Connection) -> None:
    made = make(connection, "me/digits")
    catalogue.delete(connection, made, when=WHEN)

    with pytest.raises(RepositoryGoneError, match="not given again"):
        catalogue.find(connection, "model", "me/digits")
    with pytest.raises(RepositoryGoneError):
        make(connection, "me/digits")
    assert catalogue.names(connection, "model") == []


def test_settings_change_one_by_one(connection: sa.Connection) -> None:
    made = make(connection, "me/digits")

    hidden = catalogue.change(connection, made, visibility="private")
    gated = catalogue.change(connection, hidden, gated="auto")

    assert (gated.visibility, gated.gated) == ("private", "auto")


@pytest.mark.parametrize("is_descending", [True, False])
@pytest.mark.parametrize("sort", ["updated_at", "name", "num_likes"])
def test_pages_hold_everything_once_also_where_the_sorted_value_is_the_same(
    connection: sa.Connection, sort: str, is_descending: bool
) -> None:
    made = {make(connection, f"me/r{number}", days=number % 3).name for number in range(10)}

    seen, cursor = [], None
    while True:
        found = catalogue.page(
            connection,
            "model",
            sort=sort,  # type: ignore[arg-type]
            is_descending=is_descending,
            limit=3,
            cursor=cursor,
        )
        seen += [each.name for each in found.repositories]
        cursor = found.cursor
        if cursor is None:
            break

    assert len(seen) == 10
    assert set(seen) == made


def test_a_search_takes_words_as_they_are(connection: sa.Connection) -> None:
    for name in ("me/tiny-bert", "lab/bert-base", "me/100percent", "me/x_y"):
        make(connection, name)

    def found(**options: object) -> list[str]:
        page = catalogue.page(connection, "model", sort="name", is_descending=False, **options)  # type: ignore[arg-type]
        return [each.name for each in page.repositories]

    assert found(search="BERT") == ["lab/bert-base", "me/tiny-bert"]
    assert found(search="bert tiny") == ["me/tiny-bert"]
    assert found(search="%") == []
    assert found(search="_") == ["me/x_y"]
    assert found(namespace="ME") == ["me/100percent", "me/tiny-bert", "me/x_y"]

"""The table of permissions, spelled out again by hand, and its two forms (decision, condition) agreeing."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.hub.hub_rows import WHEN
from tests.hub.member_rows import repository as make_repository

from ayni.database import Database
from ayni.hub import catalogue
from ayni.hub.callers import ANONYMOUS, Caller
from ayni.hub.permissions import (
    ACTIONS,
    STANDINGS,
    TABLE,
    Action,
    Decision,
    allowed,
    readable,
    standing,
    visible,
)
from ayni.hub.repository import Repository
from ayni.hub.tables import repositories_table

TIME = datetime(2026, 1, 2, tzinfo=UTC)


def repository(name: str = "lab/digits", *, visibility: str = "public", gated: str = "no") -> Repository:
    return Repository(
        id=7,
        kind="model",
        name=name,
        visibility=visibility,  # type: ignore[arg-type]
        gated=gated,  # type: ignore[arg-type]
        created_at=TIME,
        updated_at=TIME,
    )


CALLERS = {
    "anonymous": ANONYMOUS,
    "outsider": Caller(user="eve", roles={"other": "admin"}),
    "read": Caller(user="rea", roles={"lab": "read"}),
    "contributor": Caller(user="con", roles={"lab": "contributor"}),
    "write": Caller(user="wri", roles={"lab": "write"}),
    "admin": Caller(user="adm", roles={"lab": "admin"}),
    "root": Caller(user="root", is_admin=True),
}

# y yes, f forbidden, h hidden, g gated, a anonymous; a letter for each of CALLERS, written without TABLE.
WORDS = {"y": "yes", "f": "forbidden", "h": "hidden", "g": "gated", "a": "anonymous"}
EXPECTED = {
    #                      public    private   gated
    "public": ("yyyyyyy", "hhyyyyy", "yyyyyyy"),
    "identity.read": ("ayyyyyy", "hhyyyyy", "ayyyyyy"),
    "identity.write": ("ayyyyyy", "hhyyyyy", "ayyyyyy"),
    "hub.administer": ("affffff", "hhfffff", "affffff"),
    "namespace.administer": ("affffyy", "hhfffyy", "affffyy"),
    "repository.list": ("yyyyyyy", "hhyyyyy", "yyyyyyy"),
    "repository.see": ("yyyyyyy", "hhyyyyy", "yyyyyyy"),
    "repository.create": ("afffyyy", "hhffyyy", "afffyyy"),
    "repository.settings": ("affffyy", "hhfffyy", "affffyy"),
    "repository.move": ("affffyy", "hhfffyy", "affffyy"),
    "repository.delete": ("affffyy", "hhfffyy", "affffyy"),
    "content.read": ("yyyyyyy", "hhyyyyy", "ggyyyyy"),
    "content.propose": ("ayyyyyy", "hhfyyyy", "agyyyyy"),
    "content.write": ("afffyyy", "hhffyyy", "afffyyy"),
    "content.rewrite": ("affffyy", "hhfffyy", "affffyy"),
    "discussion.write": ("ayyyyyy", "hhyyyyy", "ayyyyyy"),
    "discussion.moderate": ("afffyyy", "hhffyyy", "afffyyy"),
    "access.request": ("ayyyyyy", "hhyyyyy", "ayyyyyy"),
    "access.answer": ("afffyyy", "hhffyyy", "afffyyy"),
}
REPOSITORIES = (
    repository(),
    repository(visibility="private"),
    repository(gated="manual"),
)


def test_the_table_knows_every_action_and_standing() -> None:
    assert set(TABLE) == set(ACTIONS) == set(EXPECTED)
    assert all(len(row) == len(STANDINGS) for row in TABLE.values())


@pytest.mark.parametrize("action", ACTIONS)
def test_every_cell_is_as_written_down(action: Action) -> None:
    for kind, expected in zip(REPOSITORIES, EXPECTED[action], strict=True):
        found = {name: allowed(caller, action, kind) for name, caller in CALLERS.items()}
        assert found == dict(zip(CALLERS, (WORDS[letter] for letter in expected), strict=True)), kind


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("kind", REPOSITORIES)
@pytest.mark.parametrize("name", [*CALLERS])
def test_a_token_to_read_changes_nothing(action: Action, kind: Repository, name: str) -> None:
    import dataclasses

    full = CALLERS[name]
    limited = dataclasses.replace(full, scope="read")
    reads = ("public", "identity.read", "repository.list", "repository.see", "content.read")
    before, after = allowed(full, action, kind), allowed(limited, action, kind)

    assert after == ("forbidden" if before == "yes" and action not in reads else before)


def test_who_was_let_in_reads_a_gated_repository_and_no_private_one() -> None:
    eve = Caller(user="eve", granted=frozenset({7}))

    assert allowed(eve, "content.read", repository(gated="manual")) == "yes"
    assert allowed(eve, "content.propose", repository(gated="auto")) == "yes"
    assert allowed(eve, "content.write", repository(gated="auto")) == "forbidden"
    assert allowed(eve, "content.read", repository(visibility="private", gated="auto")) == "hidden"


def test_a_role_in_the_repository_wins_over_the_one_in_its_namespace() -> None:
    less = Caller(user="wri", roles={"lab": "write"}, repository_roles={7: "read"})
    more = Caller(user="eve", repository_roles={7: "write"})

    assert allowed(less, "content.write", repository(visibility="private")) == "forbidden"
    assert allowed(more, "content.write", repository(visibility="private")) == "yes"
    assert standing(Caller(user="root", is_admin=True, repository_roles={7: "read"}), repository()) == "admin"


def test_a_member_is_admin_of_its_own_namespace_whatever_the_case() -> None:
    assert allowed(Caller(user="Ada"), "repository.delete", repository("ADA/digits")) == "yes"
    assert allowed(Caller(user="ada"), "repository.delete", repository("adam/digits")) == "forbidden"


def test_a_fine_grained_token_is_an_outsiders_elsewhere() -> None:
    here = Caller(user="adm", roles={"lab": "admin"}, scoped_to=frozenset({7}))
    elsewhere = Caller(
        user="adm",
        roles={"lab": "admin"},
        scoped_to=frozenset({8}),
        repository_roles={7: "admin"},
        granted=frozenset({7}),
    )

    assert allowed(here, "repository.delete", repository()) == "yes"
    assert allowed(elsewhere, "content.read", repository()) == "yes"
    assert allowed(elsewhere, "content.read", repository(visibility="private")) == "hidden"
    assert allowed(elsewhere, "content.read", repository(gated="auto")) == "gated"
    for action in ("content.propose", "discussion.write", "access.request", "content.write"):
        assert allowed(elsewhere, action, repository()) == "forbidden"  # type: ignore[arg-type]


def test_a_fine_grained_token_gives_away_nothing_it_does_not_have() -> None:
    root = Caller(user="root", is_admin=True, scoped_to=frozenset({7}))

    for action in ("hub.administer", "identity.write", "namespace.administer", "repository.create"):
        assert allowed(root, action, namespace="root") == "forbidden"  # type: ignore[arg-type]
    assert allowed(root, "identity.read") == "yes"
    private = repository(visibility="private")
    assert allowed(root, "content.write", private) == "yes"
    assert standing(Caller(user="root", is_admin=True, scoped_to=frozenset()), private) == "outsider"


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("anonymous", "lab", "anonymous"),
        ("outsider", "lab", "forbidden"),
        ("read", "lab", "forbidden"),
        ("contributor", "lab", "forbidden"),
        ("write", "lab", "yes"),
        ("write", "LAB", "yes"),
        ("admin", "lab", "yes"),
        ("root", "lab", "yes"),
        ("outsider", "eve", "yes"),
        ("outsider", None, "forbidden"),
    ],
)
def test_who_makes_repositories_where(name: str, namespace: str | None, expected: Decision) -> None:
    assert allowed(CALLERS[name], "repository.create", namespace=namespace) == expected


def test_only_admins_of_the_hub_administer_it() -> None:
    found = {name: allowed(caller, "hub.administer") for name, caller in CALLERS.items()}

    assert found.pop("anonymous") == "anonymous"
    assert found.pop("root") == "yes"
    assert set(found.values()) == {"forbidden"}


NAMES = ("ada", "lab", "other")
ROLES = st.sampled_from(["admin", "write", "contributor", "read"])
NUMBERS = st.frozensets(st.integers(1, 12))
ANYBODY = st.just(ANONYMOUS) | st.builds(
    Caller,
    user=st.sampled_from(["ada", "Ada", "eve"]),
    scope=st.sampled_from(["read", "write"]),
    scoped_to=st.none() | NUMBERS,
    is_admin=st.booleans(),
    roles=st.dictionaries(st.sampled_from(NAMES[1:]), ROLES),
    repository_roles=st.dictionaries(st.integers(1, 12), ROLES, max_size=3),
    granted=NUMBERS,
)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a public, a private, a gated and a private gated repository in each namespace."""
    path = tmp_path_factory.mktemp("shelf") / "state.db"
    database = Database(path)
    with database.transaction() as connection:
        for name in NAMES:
            for visibility in ("public", "private"):
                for gated in ("no", "manual"):
                    made = make_repository(
                        connection, f"{name.title()}/{visibility}-{gated}", visibility=visibility, gated=gated
                    )
        gone = make_repository(connection, "lab/gone")
        catalogue.delete(connection, gone, when=WHEN)
        assert made.id == 12
    database.close()
    return path


@settings(max_examples=150, deadline=None)
@given(caller=ANYBODY)
def test_listings_show_exactly_what_may_be_seen_and_read(shelf: Path, caller: Caller) -> None:
    engine = sa.create_engine(f"sqlite:///{shelf}")
    with engine.connect() as connection:
        all_of_them = catalogue.page(connection, "model").repositories
        seen = catalogue.page(connection, "model", visible=visible(caller)).repositories
        query = sa.select(repositories_table.c.id).where(
            readable(caller), repositories_table.c.deleted_at.is_(None)
        )
        read = set(connection.scalars(query))
    engine.dispose()

    assert len(all_of_them) == 12
    assert {each.id for each in seen} == {
        each.id for each in all_of_them if allowed(caller, "repository.see", each) == "yes"
    }
    assert read == {each.id for each in all_of_them if allowed(caller, "content.read", each) == "yes"}

"""Names are given once, roles are what they were set to, and somebody is always left to administer."""

import pytest
import sqlalchemy as sa
from tests.hub.hub_rows import WHEN, connection
from tests.hub.member_rows import organisation, repository, user

from ayni.hub import members, tokens
from ayni.hub.members import (
    RESERVED_NAMES,
    LastAdminError,
    NamespaceNameError,
    NamespaceTakenError,
    UnknownNamespaceError,
)

__all__ = ["connection"]


def test_a_member_is_found_whatever_the_case(connection: sa.Connection) -> None:
    made = members.add(connection, "Ada", kind="user", now=WHEN, full_name="Ada Lovelace", email="a@b.org")

    assert members.find(connection, "aDa") == made
    assert (made.full_name, made.email, made.key) == ("Ada Lovelace", "a@b.org", "ada")
    assert members.find(connection, "ben") is None


def test_users_and_organisations_share_one_space_of_names(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    organisation(connection, "lab", ada)

    for name in ("lab", "LAB", "Ada"):
        with pytest.raises(NamespaceTakenError, match="it is there already"):
            user(connection, name)


def test_the_name_of_who_was_removed_is_not_given_again(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    members.remove(connection, ada, now=WHEN)

    assert members.find(connection, "ada") is None
    with pytest.raises(NamespaceTakenError, match="it was removed"):
        user(connection, "Ada")


def test_a_name_with_repositories_is_given_only_on_purpose(connection: sa.Connection) -> None:
    repository(connection, "Me/digits")
    repository(connection, "me_too/digits")

    with pytest.raises(NamespaceTakenError, match="1 repositories"):
        user(connection, "me")
    assert members.add(connection, "me", kind="user", now=WHEN, takes_over=True).name == "me"
    assert user(connection, "metoo")


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a..b", "a b", "a.git", "x" * 97, "..", "\u00e4da"])
def test_names_that_cannot_be_part_of_an_address_are_refused(connection: sa.Connection, name: str) -> None:
    with pytest.raises(NamespaceNameError):
        user(connection, name)


def test_addresses_of_the_hub_itself_are_nobodys_name(connection: sa.Connection) -> None:
    assert {"api", "datasets", "spaces", "models", "cas", "settings"} <= RESERVED_NAMES
    for name in ("api", "Datasets"):
        with pytest.raises(NamespaceNameError, match="addresses of the hub"):
            user(connection, name)


def test_a_user_is_not_taken_for_an_organisation(connection: sa.Connection) -> None:
    user(connection, "ada")

    with pytest.raises(UnknownNamespaceError, match="organisation"):
        members.get(connection, "ada", "organisation")


def test_roles_are_what_they_were_set_to_last(connection: sa.Connection) -> None:
    ada, ben = user(connection, "ada"), user(connection, "ben")
    lab = organisation(connection, "Lab", ada)

    members.set_role(connection, lab, ben, "read")
    members.set_role(connection, lab, ben, "write")

    assert members.roles_of(connection, ben.id) == {"lab": "write"}
    assert [(each.name, role) for each, role in members.members_of(connection, lab)] == [
        ("ada", "admin"),
        ("ben", "write"),
    ]
    assert members.organisations_of(connection, ben) == [(lab, "write")]
    members.set_role(connection, lab, ben, None)
    assert members.roles_of(connection, ben.id) == {}


def test_a_role_in_one_repository_is_its_own(connection: sa.Connection) -> None:
    ben, digits = user(connection, "ben"), repository(connection, "ada/digits")

    members.set_repository_role(connection, digits.id, ben, "write")

    assert members.repository_roles_of(connection, ben.id) == {digits.id: "write"}
    assert members.roles_in_repository(connection, digits.id) == [(ben, "write")]
    members.set_repository_role(connection, digits.id, ben, None)
    assert members.repository_roles_of(connection, ben.id) == {}


@pytest.mark.parametrize("role", ["write", None])
def test_an_organisation_keeps_an_admin(connection: sa.Connection, role: str | None) -> None:
    ada, ben = user(connection, "ada"), user(connection, "ben")
    lab = organisation(connection, "lab", ada)

    with pytest.raises(LastAdminError, match="lab"):
        members.set_role(connection, lab, ada, role)  # type: ignore[arg-type]
    with pytest.raises(LastAdminError, match="lab"):
        members.remove(connection, ada, now=WHEN)

    members.set_role(connection, lab, ben, "admin")
    members.set_role(connection, lab, ada, role)  # type: ignore[arg-type]
    assert members.roles_of(connection, ada.id).get("lab") == role


def test_the_hub_keeps_an_admin(connection: sa.Connection) -> None:
    root = user(connection, "root", is_admin=True)
    ada = user(connection, "ada")

    with pytest.raises(LastAdminError):
        members.set_hub_admin(connection, root, False)
    with pytest.raises(LastAdminError):
        members.remove(connection, root, now=WHEN)

    members.set_hub_admin(connection, ada, True)
    members.set_hub_admin(connection, root, False)
    assert not members.get(connection, "root").is_admin
    members.remove(connection, members.get(connection, "root"), now=WHEN)


def test_who_is_removed_has_no_role_and_no_token_left(connection: sa.Connection) -> None:
    ada, ben = user(connection, "ada"), user(connection, "ben")
    lab = organisation(connection, "lab", ada)
    digits = repository(connection, "lab/digits")
    members.set_role(connection, lab, ben, "write")
    members.set_repository_role(connection, digits.id, ben, "admin")
    tokens.issue(connection, ben.id, name="laptop", scope="write", now=WHEN)

    members.remove(connection, ben, now=WHEN)

    assert members.members_of(connection, lab) == [(ada, "admin")]
    assert members.roles_in_repository(connection, digits.id) == []
    assert tokens.of_user(connection, ben.id) == []
    assert members.by_id(connection, ben.id) is None


def test_a_removed_organisation_gives_nobody_a_role(connection: sa.Connection) -> None:
    ada = user(connection, "ada")
    lab = organisation(connection, "lab", ada)

    members.remove(connection, lab, now=WHEN)

    assert members.roles_of(connection, ada.id) == {}
    assert members.everybody(connection, "organisation") == []
    assert members.everybody(connection, "user") == [ada]

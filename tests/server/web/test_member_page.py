import pytest
from tests.server.web.conftest import Place
from tests.server.web.visitors import rows, words


def test_members_of_the_hub_see_who_is_in_an_organisation(shared_place: Place) -> None:
    page = shared_place.visitor("outsider").page("/lab")

    assert "The Lab" in page
    assert rows(page) == ["admin admin", "contributor contributor", "reader read", "writer write"]


def test_who_is_nobody_sees_public_repositories_and_no_people(shared_place: Place) -> None:
    page = shared_place.visitor().page("/lab")

    assert "lab/" in words(page)
    assert "The Lab" not in page
    assert "contributor" not in page


def test_a_user_shows_its_organisations(shared_place: Place) -> None:
    page = words(shared_place.visitor("reader").page("/admin"))

    assert "Member admin" in page
    assert "The Lab admin" in page


@pytest.mark.parametrize("name", ["reader", "nobody-of-this-name"])
def test_a_name_without_public_repositories_looks_like_nobodys_to_strangers(
    shared_place: Place, name: str
) -> None:
    reply = shared_place.visitor().get(f"/{name}")

    assert reply.status_code == 404
    assert reply.text.replace(name, "x") == shared_place.visitor().get("/x").text


@pytest.mark.parametrize("path", ["/LAB", "/Lab"])
def test_names_are_found_in_any_case(shared_place: Place, path: str) -> None:
    assert "The Lab" in shared_place.visitor("reader").page(path)


@pytest.mark.parametrize("path", ["/api", "/static", "/settings", "/cas", "/lfs"])
def test_addresses_of_the_hub_are_nobodys(shared_place: Place, path: str) -> None:
    assert shared_place.visitor().get(path).status_code == 404

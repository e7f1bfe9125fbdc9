import re

import pytest
from tests.server.web.conftest import Place
from tests.server.web.visitors import words

PAGE = "/settings/tokens"


def made(page: str) -> str:
    found = re.search(r"<code>(hf_\w{46})</code>", page)
    assert found is not None, words(page)
    return found[1]


def test_a_new_token_is_shown_once_and_works(place: Place) -> None:
    visitor = place.visitor("writer")

    reply = visitor.post(PAGE, name="laptop", scope="write", days="30", repositories="")
    token = made(reply.text)

    assert reply.headers["Cache-Control"] == "no-store"
    assert place.client.get("/api/whoami-v2", token=token).json()["name"] == "writer"
    assert token not in visitor.page(PAGE)
    assert "laptop" in visitor.page(PAGE)
    place.lab.pass_time(days=31)
    assert place.client.get("/api/whoami-v2", token=token).status_code == 401


def test_a_token_may_be_good_for_some_repositories_alone(place: Place) -> None:
    visitor = place.visitor("reader")

    reply = visitor.post(PAGE, name="one", scope="read", days="", repositories="model:lab/private\n")
    token = made(reply.text)

    assert place.client.get("/api/models/lab/private", token=token).status_code == 200
    assert "1 repository" in words(visitor.page(PAGE))


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": ""}, "name: String should have at least 1 character"),
        ({"repositories": "lab/x"}, "is no repository; write model:owner/name"),
        ({"repositories": "model:other/none"}, "there is no model"),
        ({"scope": "all"}, "scope: Input should be"),
    ],
)
def test_a_mistake_is_told_beside_the_form_which_keeps_what_was_typed(
    place: Place, fields: dict[str, str], problem: str
) -> None:
    visitor = place.visitor("writer")

    given = {"name": "mine", "scope": "read", "days": "90", "repositories": "", **fields}
    reply = visitor.post(PAGE, **given)

    assert reply.status_code == 422
    assert problem in words(reply.text)
    assert f'value="{given["name"]}"' in reply.text
    assert '<option value="90" selected>' in reply.text


def test_a_token_is_revoked_from_the_page_and_noted(place: Place) -> None:
    visitor = place.visitor("writer")
    token = made(visitor.post(PAGE, name="old", scope="read", days="").text)
    number = place.client.get("/api/v1/tokens", token=token).json()[-1]["number"]

    assert visitor.post(f"{PAGE}/revoke", number=str(number)).status_code == 303

    assert place.client.get("/api/whoami-v2", token=token).status_code == 401
    log = place.client.get("/api/v1/audit-log", token=place.lab.tokens["root"]).json()
    assert [line["action"] for line in log[:2]] == ["token.revoke", "token.issue"]


def test_nobody_revokes_the_tokens_of_another(place: Place) -> None:
    number = place.client.get("/api/v1/tokens", token=place.lab.tokens["writer"]).json()[0]["number"]

    assert place.visitor("reader").post(f"{PAGE}/revoke", number=str(number)).status_code == 404
    assert place.client.get("/api/whoami-v2", token=place.lab.tokens["writer"]).status_code == 200


@pytest.mark.parametrize("who", ["limited", "elsewhere"])
def test_a_limited_token_gives_nobody_another(place: Place, who: str) -> None:
    visitor = place.visitor(who)

    assert "A new token" in visitor.page(PAGE)
    assert '<form method="post" action="/settings/tokens"' not in visitor.page(PAGE)
    assert visitor.post(PAGE, name="more", scope="write", days="").status_code == 403

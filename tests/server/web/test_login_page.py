import pytest
from tests.server.web.conftest import Place

from ayni.server.web.login_page import own_path


def test_logging_in_leads_where_the_visitor_came_from(place: Place) -> None:
    visitor = place.visitor()
    way = visitor.get("/settings/tokens")
    assert way.headers["location"] == "/login?next=%2Fsettings%2Ftokens"
    assert 'name="next" value="/settings/tokens"' in visitor.page("/login?next=%2Fsettings%2Ftokens")

    reply = visitor.post("/login", token=str(place.lab.tokens["reader"]), next="/settings/tokens")

    assert reply.headers["location"] == "/settings/tokens"
    assert "Your tokens" in visitor.page("/settings/tokens")


def test_a_token_that_is_not_good_logs_nobody_in_and_is_not_shown_again(place: Place) -> None:
    visitor = place.visitor()

    reply = visitor.post("/login", token="hf_wrong<script>", next="/models")

    assert reply.status_code == 422
    assert "not known here" in reply.text
    assert "hf_wrong" not in reply.text
    assert 'aria-invalid="true"' in reply.text
    assert "ayni_session" not in visitor.cookies


def test_logging_out_ends_it(place: Place) -> None:
    visitor = place.visitor("reader")

    reply = visitor.post("/logout")

    assert reply.headers["location"] == "/"
    assert "ayni_session" not in visitor.cookies
    assert "Log in" in visitor.page("/")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/lab/digits?a=b", "/lab/digits?a=b"),
        ("", "/"),
        ("https://e.example", "/"),
        ("//e.example", "/"),
        ("/\\e.example", "/"),
        ("/ /x", "/"),
        ("/a\nLocation: x", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\\b", "/"),
    ],
)
def test_nobody_is_led_to_another_host(text: str, path: str) -> None:
    assert own_path(text) == path

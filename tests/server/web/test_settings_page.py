import pytest
from tests.server.web.conftest import Place
from tests.server.web.visitors import words

PAGE = "/lab/public/settings"


def test_who_sees_and_reads_is_changed_and_stands_in_the_audit_log(place: Place) -> None:
    visitor = place.visitor("admin")

    reply = visitor.post(PAGE, visibility="private", gated="manual")

    assert "The settings were changed." in words(visitor.page(reply.headers["location"]))
    said = place.client.get("/api/models/lab/public", token=place.lab.tokens["admin"]).json()
    assert (said["private"], said["gated"]) == (True, "manual")
    assert place.client.get("/api/models/lab/public", token=None).status_code == 401
    log = place.client.get("/api/v1/audit-log", token=place.lab.tokens["root"]).json()
    assert "repository.settings" in str(log)


def test_the_form_shows_what_is_set_and_a_form_that_says_less_changes_nothing(place: Place) -> None:
    visitor = place.visitor("admin")

    assert visitor.post("/lab/gated/settings", visibility="private").status_code == 400

    page = visitor.page("/lab/gated/settings")
    assert '<option value="public" selected>' in page and '<option value="manual" selected>' in page


def test_a_move_leaves_the_old_name_leading_there(place: Place) -> None:
    visitor = place.visitor("admin")

    reply = visitor.post(f"{PAGE}/move", to="lab/renamed")

    assert reply.headers["location"] == "/lab/renamed/settings?done=moved"
    assert visitor.get("/lab/public").headers["location"] == "/lab/renamed"


@pytest.mark.parametrize(
    ("to", "status", "problem"),
    [
        ("renamed", 400, "Write the new name as OWNER/NAME"),
        ("lab/private", 409, "lab/private"),
        ("lab/a b", 409, "a b"),
        ("other/renamed", 403, "You may not make repositories of other"),
    ],
)
def test_a_name_that_cannot_be_is_told_beside_the_form(
    place: Place, to: str, status: int, problem: str
) -> None:
    visitor = place.visitor("admin")

    reply = visitor.post(f"{PAGE}/move", to=to)

    assert (reply.status_code, problem in words(reply.text)) == (status, True), words(reply.text)
    assert f'value="{to}"' in reply.text
    assert visitor.get("/lab/public").status_code == 200


def test_a_repository_goes_only_when_its_name_was_typed(place: Place) -> None:
    visitor = place.visitor("admin")

    for typed in ("", "public", "lab/PUBLIC"):
        assert visitor.post(f"{PAGE}/delete", name=typed).status_code == 400
    still = visitor.get("/lab/public").status_code
    reply = visitor.post(f"{PAGE}/delete", name="lab/public")

    assert (still, reply.status_code, reply.headers["location"]) == (200, 303, "/lab")
    assert visitor.get("/lab/public").status_code in (404, 410)
    taken = place.client.post(
        "/api/repos/create", json={"name": "public", "organization": "lab"}, token=place.lab.tokens["admin"]
    )
    assert taken.status_code == 409


def test_the_tab_is_there_for_admins_alone_and_forms_need_their_proof(place: Place) -> None:
    admin, writer = place.visitor("admin"), place.visitor("writer")

    assert PAGE in admin.page("/lab/public")
    assert PAGE not in writer.page("/lab/public")
    for path, fields in {
        PAGE: {"visibility": "private", "gated": "no"},
        f"{PAGE}/move": {"to": "lab/renamed"},
        f"{PAGE}/delete": {"name": "lab/public"},
    }.items():
        assert admin.post(path, proof="another", **fields).status_code == 403
        assert writer.post(path, **fields).status_code == 403
    assert place.client.get("/api/models/lab/public", token=None).status_code == 200

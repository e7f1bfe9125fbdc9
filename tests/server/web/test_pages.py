from pathlib import Path

import pytest
from tests.server.hub_app import Client, make_hub
from tests.server.web.conftest import Place
from tests.server.web.visitors import FORM, words

from ayni.server.app import make_app
from ayni.server.routing import Route
from ayni.server.web.pages import POLICY, Pages
from ayni.server.web.table import PAGE_ROUTES


def test_a_page_forbids_scripts_and_pictures_from_elsewhere(shared_place: Place) -> None:
    for path in ("/", "/models", "/lab/public", "/login", "/nobody-here", "/lab/public/blob/main/no.txt"):
        reply = shared_place.visitor().get(path)

        assert reply.headers["Content-Security-Policy"] == POLICY
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "same-origin"
        assert reply.headers["Cache-Control"] == "private, no-cache"
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


def test_bytes_of_a_file_keep_the_policy_that_runs_nothing(shared_place: Place) -> None:
    reply = shared_place.visitor().get("/lab/public/raw/main/secret.txt")

    assert reply.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_a_form_without_the_proof_of_this_visitor_changes_nothing(place: Place) -> None:
    visitor, other = place.visitor("admin"), place.visitor("writer")
    proofs = place.client.app.pages.sessions
    for proof in ("", "x", proofs.proof(""), proofs.proof(other.cookies["ayni_session"])):
        reply = visitor.post("/lab/public/like", proof=proof)

        assert reply.status_code == 403
        assert "nothing was changed" in reply.text
    assert "Likes 0" in words(visitor.page("/lab/public"))
    assert visitor.post("/lab/public/like").status_code == 303
    assert "Likes 1" in words(visitor.page("/lab/public"))


def test_a_form_that_another_site_sent_is_refused_even_with_its_proof(place: Place) -> None:
    visitor = place.visitor("admin")
    body = f"proof={place.client.app.pages.sessions.proof(visitor.cookies['ayni_session'])}"

    replies = [
        place.client.send(
            "POST",
            "/lab/public/like",
            token=None,
            content=body,
            headers={**FORM, "Cookie": f"ayni_session={visitor.cookies['ayni_session']}", **more},
        )
        for more in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-origin"})
    ]

    assert [reply.status_code for reply in replies] == [403, 303]


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{}", "application/json", 400),
        (b"a=1", "multipart/form-data; boundary=x", 400),
        (b"\xff\xfe=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=1&" * 300, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * (1 << 20), "application/x-www-form-urlencoded", 413),
    ],
)
def test_a_body_that_is_no_form_is_refused_with_a_page(
    shared_place: Place, content: bytes, kind: str, status: int
) -> None:
    reply = shared_place.client.send(
        "POST", "/login", token=None, content=content, headers={"Content-Type": kind}
    )

    assert reply.status_code == status
    assert "<h1>This did not work</h1>" in reply.text


def test_a_token_in_a_header_opens_no_page(shared_place: Place) -> None:
    reply = shared_place.client.get("/lab/private", token=shared_place.lab.tokens["admin"])

    assert reply.status_code == 404


def test_a_cookie_opens_no_api(shared_place: Place) -> None:
    reply = shared_place.visitor("admin").get("/api/models/lab/private")

    assert reply.status_code == 401


def test_revoking_the_token_ends_the_session_at_once(place: Place) -> None:
    visitor = place.visitor("admin")
    number = place.client.get("/api/v1/tokens", token=place.lab.tokens["admin"]).json()[0]["number"]
    assert "Log out" in visitor.page("/")

    place.client.send("DELETE", f"/api/v1/tokens/{number}", token=place.lab.tokens["admin"])

    assert "Log out" not in visitor.page("/")
    assert "ayni_session" not in visitor.cookies


def test_a_session_ends_after_two_weeks(place: Place) -> None:
    visitor = place.visitor("admin")

    place.lab.pass_time(days=13)
    assert "Log out" in visitor.page("/")
    place.lab.pass_time(days=2)
    assert "Log out" not in visitor.page("/")


def test_cookies_are_out_of_reach_of_scripts_and_of_other_sites(place: Place) -> None:
    visitor = place.visitor()
    lines = visitor.get("/login").headers.get_list("set-cookie") or place.client.send(
        "GET", "/login", token=None
    ).headers.get_list("set-cookie")
    lines += visitor.post("/login", token=str(place.lab.tokens["admin"])).headers.get_list("set-cookie")

    assert len(lines) == 2
    assert all("HttpOnly" in line and "SameSite=lax" in line and "Path=/" in line for line in lines)


def test_over_https_cookies_are_bound_to_this_host(tmp_path: Path) -> None:
    hub = make_hub(tmp_path, base_url="https://hub.example")
    pages = Pages(hub, PAGE_ROUTES)

    assert pages.session_cookie == "__Host-ayni_session"
    assert pages.visitor_cookie == "__Host-ayni_visitor"
    hub.database.close()


def test_who_only_looks_gets_no_cookie(shared_place: Place) -> None:
    for path in ("/", "/models", "/lab/public"):
        assert not shared_place.client.send("GET", path, token=None).headers.get_list("set-cookie")


def test_an_old_name_leads_to_the_same_page_under_the_new_one_for_who_may_see_it(place: Place) -> None:
    for name in ("public", "private"):
        body = {"fromRepo": f"lab/{name}", "toRepo": f"lab/new-{name}"}
        place.client.post("/api/repos/move", token=place.lab.tokens["admin"], json=body)

    found = place.visitor().get("/lab/public/tree/main?x=1")
    hidden = place.visitor().get("/lab/private/tree/main")

    assert (found.status_code, found.headers["location"]) == (308, "/lab/new-public/tree/main?x=1")
    assert hidden.status_code == 404
    assert "new-private" not in hidden.text


def test_a_deleted_repository_has_no_page(place: Place) -> None:
    body = {"name": "public", "organization": "lab"}
    place.client.send("DELETE", "/api/repos/delete", token=place.lab.tokens["admin"], json=body)

    assert place.visitor("admin").get("/lab/public").status_code == 404


def test_a_mistake_of_ours_is_a_page_without_what_went_wrong_inside(client: Client) -> None:
    def fail(_visit: object) -> None:
        raise RuntimeError("where the disk is: /secret/path")

    broken = Route(method="GET", pattern="/broken", action="public", subject="none", handler=fail)
    client.app.pages = Pages(client.app.hub, (broken,))

    reply = client.get("/broken", token=None)

    assert reply.status_code == 500
    assert "<h1>This did not work</h1>" in reply.text
    assert reply.headers["X-Request-Id"] in reply.text
    assert "secret" not in reply.text


@pytest.mark.parametrize(
    "path",
    ["/lab/public?x=%00", "/lab/pub%00lic", "/%FF", "/lab/public/tree/main/%FF", "/a/b/c/d/e", "/%2e%2e"],
)
def test_addresses_that_are_no_text_are_not_there(shared_place: Place, path: str) -> None:
    reply = shared_place.visitor().get(path)

    assert reply.status_code in (400, 404)
    assert "Traceback" not in reply.text


def test_the_api_keeps_its_own_addresses(shared_place: Place) -> None:
    client = shared_place.client
    assert client.get("/api/nothing", token=None).headers["content-type"] == "application/json"
    assert client.get("/api/v1/health", token=None).json() == {"status": "ok"}
    assert client.get("/api/models", token=None).headers["content-type"] == "application/json"
    assert client.send("DELETE", "/models", token=None).status_code == 405
    assert client.send("HEAD", "/models", token=None).status_code == 200


def test_a_hub_with_callers_in_memory_has_pages_as_well(client: Client) -> None:
    assert client.get("/", token=None).status_code == 200
    assert make_app(client.app.hub).pages.match("GET", b"/models") is not None


@pytest.mark.parametrize("name", ["site.css", "htmx.min.js", "icon.svg"])
def test_files_of_the_pages_are_kept_by_browsers_for_ever_and_come_compressed(
    shared_place: Place, name: str
) -> None:
    visitor = shared_place.visitor()
    page = visitor.page("/")
    address = next(part for part in page.split('"') if part.startswith(f"/static/{name}"))

    reply = visitor.get(address, **{"Accept-Encoding": "gzip"})
    again = visitor.get(address, **{"If-None-Match": reply.headers["etag"]})

    assert reply.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert reply.headers["Content-Encoding"] == "gzip"
    assert again.status_code == 304
    assert visitor.get(f"/static/{name}").headers["Cache-Control"] == "public, max-age=60"
    assert visitor.get("/static/site.css.j2").status_code == 404
    assert visitor.get("/static/..%2f__init__.py").status_code == 404

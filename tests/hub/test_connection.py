import httpx
import pytest

from ayni.hub.connection import (
    HubConnection,
    HubFailedError,
    HubRefusedError,
    HubUnreachableError,
    HubUrlError,
    check_url,
)

URL = "https://hub.example.org"


def connect(answer: object, token: str | None = "hf_x") -> tuple[HubConnection, list[float]]:
    pauses: list[float] = []
    transport = httpx.MockTransport(answer)  # type: ignore[arg-type]
    return HubConnection(URL, token, transport=transport, pause=pauses.append), pauses


@pytest.mark.parametrize(
    "url",
    [
        "hub.example.org",
        "ftp://hub",
        "https://",
        "https://hub/path",
        "https://hub?x=1",
        "https://me:hf_secret@hub.example.org",
        "http://hub.example.org",
        "http://[::1",
    ],
)
def test_an_address_that_cannot_be_or_would_show_the_token_is_refused(url: str) -> None:
    with pytest.raises(HubUrlError) as caught:
        check_url(url, has_token=True)
    assert "hf_secret" not in str(caught.value)


def test_on_this_machine_no_tls_is_needed() -> None:
    check_url("http://127.0.0.1:8000", has_token=True)
    check_url("http://hub.example.org", has_token=False)


def test_a_busy_hub_is_asked_again_after_as_long_as_it_says() -> None:
    replies = [httpx.Response(503, headers={"Retry-After": "7"}), httpx.Response(200, json={"ok": 1})]
    connection, pauses = connect(lambda _: replies.pop(0))

    assert connection.ask("GET", "/x") == {"ok": 1}
    assert pauses == [7.0]


def test_what_makes_something_is_not_sent_twice() -> None:
    sent = []
    connection, _ = connect(lambda request: sent.append(request) or httpx.Response(503))

    with pytest.raises(HubFailedError):
        connection.ask("POST", "/x", json={})
    assert len(sent) == 1


def test_a_refusal_says_the_hubs_own_words() -> None:
    headers = {"X-Error-Message": "Repository ada/x not found.", "X-Error-Code": "RepoNotFound"}
    connection, _ = connect(lambda _: httpx.Response(404, headers=headers))

    with pytest.raises(HubRefusedError, match="ada/x not found") as caught:
        connection.ask("GET", "/x")
    assert (caught.value.status, caught.value.code) == (404, "RepoNotFound")


def test_no_answer_is_told_with_the_address() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    connection, pauses = connect(fail)

    with pytest.raises(HubUnreachableError, match=URL):
        connection.ask("GET", "/x")
    assert len(pauses) == 3


def test_pages_stay_with_the_host_that_the_token_is_for() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        link = {"Link": '<https://evil.example.org/next?cursor=2>; rel="next"'} if len(asked) == 1 else {}
        return httpx.Response(200, json=[len(asked)], headers=link)

    connection, _ = connect(answer)

    assert list(connection.pages("/api/models", limit=1)) == [1, 2]
    assert str(asked[1]) == f"{URL}/next?cursor=2"


def test_the_token_does_not_follow_a_redirect_to_another_host() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "hub.example.org":
            return httpx.Response(302, headers={"Location": "https://cdn.example.org/file"})
        return httpx.Response(200, content=request.headers.get("authorization", "none").encode())

    connection, _ = connect(answer)

    with connection.download("/file") as reply:
        assert b"".join(reply.iter_bytes()) == b"none"

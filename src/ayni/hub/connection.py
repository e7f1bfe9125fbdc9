"""A connection to a hub over HTTP, by httpx: this hub's own API, and that of the Hugging Face Hub.

A token goes to the host that it was given for and to no other, and never readable over the network. What was
asked and can be asked again without harm is asked again when a hub is busy.

Not covered: what the addresses mean; each caller knows its own.
"""

import ipaddress
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ayni.errors import AyniError, MissingExtraError, UserError

if TYPE_CHECKING:
    import httpx

SECONDS_TO_WAIT = 60.0
ATTEMPTS = 4
_LONGEST_PAUSE_SECONDS = 30.0
_BUSY = (429, 502, 503, 504)
_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE")
_LARGEST_JSON_BYTES = 64 << 20


class HubUrlError(UserError):
    """The address of a hub cannot be used."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(f"{url!r} is no hub to connect to: {reason}. Write it as https://hub.example.org.")


class HubUnreachableError(AyniError):
    """No answer came from a hub."""

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        super().__init__(
            f"The hub {url} does not answer: {reason}. Nothing more was changed there; check the address and "
            "that it runs, then run the command again."
        )


class HubRefusedError(UserError):
    """A hub did not do what it was asked for. `status` is that of HTTP, `code` the X-Error-Code."""

    def __init__(self, url: str, status: int, message: str, code: str | None = None) -> None:
        self.status = status
        self.code = code
        hint = " Set AYNI_HUB_TOKEN to a token of that hub." if status == 401 else ""
        super().__init__(f"The hub {url} refused ({status}): {message}{hint}")


class HubFailedError(AyniError):
    """A hub could not do what it was asked for, and it was not the caller's fault."""

    def __init__(self, url: str, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"The hub {url} failed ({status}): {message} Try again later, or ask its operator.")


class HubConnection:
    """Requests to one hub, in the name of one token. A context manager."""

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        transport: "httpx.BaseTransport | None" = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connect when the first request is sent.

        Args:
            url: of the hub, without a path.
            token: who asks; None = nobody.
            transport: what carries requests; the network by default.
            pause: waits so many seconds.

        Raises:
            HubUrlError: no address, or one over which a token would go readable.
            MissingExtraError: httpx is not installed.
        """
        check_url(url, has_token=token is not None)
        try:
            import httpx
        except ModuleNotFoundError as error:
            raise MissingExtraError(extra="hub", package="httpx") from error
        self.url = url.rstrip("/")
        self._pause = pause
        self._errors = httpx.HTTPError
        headers = {"User-Agent": "ayni-hub"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._client = httpx.Client(
            base_url=self.url,
            headers=headers,
            transport=transport,
            timeout=SECONDS_TO_WAIT,
            # httpx takes the token out when another host is redirected to.
            follow_redirects=True,
        )

    def __enter__(self) -> "HubConnection":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, **given: Any) -> Any:
        """The JSON of an answer; None where it has no content. `given` is as for httpx.

        Raises:
            HubRefusedError, HubFailedError, HubUnreachableError: it was not done.
        """
        reply = self.send(method, path, **given)
        return reply.json() if reply.content else None

    def send(self, method: str, path: str, **given: Any) -> "httpx.Response":
        """An answer that is no error; see `ask`."""
        with self._sent(method, path, **given) as reply:
            self._read(reply)
            return reply

    def pages(self, path: str, **params: Any) -> Iterator[Any]:
        """The entries of a listing, page after page.

        Raises:
            HubRefusedError, HubFailedError, HubUnreachableError: as `ask`.
        """
        at: str | None = path
        query: dict[str, Any] | None = {name: value for name, value in params.items() if value is not None}
        while at is not None:
            reply = self.send("GET", at, params=query)
            yield from reply.json()
            after = reply.links.get("next", {}).get("url")
            # Of the link only what follows the host: it stays the host that the token is for.
            at, query = (None if after is None else _without_host(after)), None

    @contextmanager
    def download(self, path: str, *, start: int = 0) -> "Iterator[httpx.Response]":
        """An answer whose body is not read yet, from a byte on; `iter_bytes` reads it.

        Raises:
            HubRefusedError, HubFailedError, HubUnreachableError: as `ask`, also while it is read.
        """
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with self._sent("GET", path, headers=headers) as reply:
            yield reply

    def put(self, url: str, pieces: Iterator[bytes], *, num_bytes: int) -> None:
        """Send bytes to a signed link, which is the permission: no token goes with it, whatever the host.

        Raises:
            HubRefusedError, HubFailedError, HubUnreachableError: they were not taken.
        """
        headers = {"Content-Length": str(num_bytes)}
        request = self._client.build_request("PUT", url, content=pieces, headers=headers)
        request.headers.pop("Authorization", None)
        try:
            self._refuse(self._client.send(request))
        except self._errors as error:
            raise HubUnreachableError(self.url, str(error) or type(error).__name__) from error

    @contextmanager
    def _sent(self, method: str, path: str, **given: Any) -> "Iterator[httpx.Response]":
        attempts = ATTEMPTS if method in _REPEATABLE and "content" not in given else 1
        for attempt in range(1, attempts + 1):
            is_last = attempt == attempts
            try:
                with self._client.stream(method, path, **given) as reply:
                    if reply.status_code not in _BUSY or is_last:
                        self._refuse(reply)
                        yield reply
                        return
                    seconds = _retry_after(reply, attempt)
            except self._errors as error:
                # An answer that has begun is the caller's to ask for again, from where it broke off.
                raise_now = is_last or _has_begun(error)
                if raise_now:
                    raise HubUnreachableError(self.url, str(error) or type(error).__name__) from error
                seconds = float(attempt)
            self._pause(seconds)

    def _refuse(self, reply: "httpx.Response") -> None:
        if reply.status_code < 400:
            return
        self._read(reply)
        message = reply.headers.get("x-error-message") or _error_in(reply)
        if reply.status_code >= 500 and reply.status_code != 501:
            raise HubFailedError(self.url, reply.status_code, message)
        raise HubRefusedError(self.url, reply.status_code, message, reply.headers.get("x-error-code"))

    def _read(self, reply: "httpx.Response") -> None:
        announced = reply.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > _LARGEST_JSON_BYTES:
            raise HubFailedError(self.url, reply.status_code, f"an answer of {announced} bytes is too long.")
        reply.read()


def check_url(url: str, *, has_token: bool) -> None:
    """Refuse what is no address of a hub, or would carry a token readable.

    Raises:
        HubUrlError: with the reason.
    """
    try:
        parsed = urllib.parse.urlsplit(url)
        host, _ = parsed.hostname or "", parsed.port
    except ValueError as error:
        raise HubUrlError(url, str(error)) from error
    if parsed.scheme not in ("http", "https") or not host:
        raise HubUrlError(url, "it does not begin with https://")
    if parsed.username or parsed.password:
        raise HubUrlError(url.replace(parsed.netloc, f"***@{host}"), "a token is no part of the address")
    if parsed.query or parsed.fragment or parsed.path.strip("/"):
        raise HubUrlError(url, "something stands behind the host")
    if has_token and parsed.scheme == "http" and not _is_this_machine(host):
        raise HubUrlError(url, "over http:// the token would cross the network readable")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _without_host(url: str) -> str:
    parsed = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(("", "", parsed.path, parsed.query, ""))


def _retry_after(reply: "httpx.Response", attempt: int) -> float:
    said = reply.headers.get("retry-after", "")
    return min(float(said) if said.isdecimal() else float(attempt), _LONGEST_PAUSE_SECONDS)


def _has_begun(error: Exception) -> bool:
    return type(error).__name__ in ("RemoteProtocolError", "ReadError", "ReadTimeout", "DecodingError")


def _error_in(reply: "httpx.Response") -> str:
    try:
        said = reply.json()
    except ValueError:
        return reply.text[:300] or reply.reason_phrase
    return str(said.get("error", said))[:1000] if isinstance(said, dict) else str(said)[:300]

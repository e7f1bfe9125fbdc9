"""Where the server listens: what is refused before anything is opened, and the socket.

    loopback                      allowed
    an address of the network     only with TLS, or behind a proxy that has it: tokens are passwords

The socket is bound before the hub is opened, so that a second server on the same port does nothing at all.

Not covered: names and certificates of a proxy.
"""

import errno
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from ayni.errors import UserError

_BACKLOG = 2_048
_EVERYWHERE = ("", "0.0.0.0", "::")


class PublicBindError(UserError):
    """The server would answer other machines without TLS."""

    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"{host or 'every address'} can be reached from other machines; tokens and files would cross "
            "the network readable. Give --tls-cert and --tls-key; or --behind-proxy with --url, where a "
            "proxy that has a certificate stands in front; or leave --host out, for this machine alone."
        )


class AddressInUseError(UserError):
    """The server cannot listen where it should."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        self.host = host
        self.port = port
        super().__init__(f"Cannot listen on {host}:{port}: {reason}.")


class CertificateError(UserError):
    """Certificate or key cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"TLS cannot be set up: {reason}. --tls-cert names the certificate with its chain and --tls-key "
            "its private key without a password, both as PEM."
        )


class NoAddressForLinksError(UserError):
    """Behind a proxy the server cannot know by which address it is reached."""

    def __init__(self) -> None:
        super().__init__(
            "--behind-proxy needs --url, the address that clients see, such as https://hub.example.org: "
            "links in answers begin with it. It is never taken from a request, which anybody may write."
        )


class BadUrlError(UserError):
    """The address for links is none."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(f"{url!r} is no address for links. Write it as https://hub.example.org[:port].")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where to listen, and how.

    Attributes:
        host: address or name; every address when empty.
        port: 0 = any that is free.
        url: by which clients reach the hub; None = host and port.
        is_behind_proxy: whether a proxy with TLS stands in front.
        certificate: PEM with its chain; None without TLS.
        private_key: PEM.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    url: str | None = None
    is_behind_proxy: bool = False
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def has_tls(self) -> bool:
        """Whether this process encrypts the connection."""
        return self.certificate is not None

    def check(self) -> None:
        """Refuse what would be unsafe or cannot work; nothing is opened.

        Raises:
            PublicBindError: other machines would reach it without TLS.
            NoAddressForLinksError, BadUrlError: no address for links, or none.
            CertificateError: the certificate or its key cannot be used.
        """
        if (self.certificate is None) != (self.private_key is None):
            raise CertificateError("--tls-cert and --tls-key are needed together")
        if not (is_loopback(self.host) or self.has_tls or self.is_behind_proxy):
            raise PublicBindError(self.host)
        if self.is_behind_proxy and self.url is None:
            raise NoAddressForLinksError
        if self.url is not None and not _is_url(self.url):
            raise BadUrlError(self.url)
        if self.certificate is not None:
            _try_certificate(self.certificate, self.private_key)

    def bind(self) -> socket.socket:
        """The socket, listening: who connects from now on waits until the hub is open.

        Raises:
            AddressInUseError: another program has the port, or it is not this machine's address.
        """
        try:
            family, _, _, _, address = socket.getaddrinfo(
                self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            bound = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise AddressInUseError(self.host, self.port, error.strerror or str(error)) from error
        try:
            # Or the port would be blocked for a minute after each stop.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(_BACKLOG)
        except (OSError, OverflowError) as error:
            bound.close()
            raise AddressInUseError(self.host, self.port, self._why(error)) from error
        return bound

    def address_for_links(self, bound: socket.socket) -> str:
        """What links begin with, without a slash at its end."""
        if self.url is not None:
            return self.url.rstrip("/")
        host = socket.getfqdn() if self.host in _EVERYWHERE else self.host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.has_tls else 'http'}://{host}:{bound.getsockname()[1]}"

    def _why(self, error: Exception) -> str:
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            return (
                f"another program listens there already. Stop it, or choose another port: --port "
                f"{self.port + 1}"
            )
        if code == errno.EACCES:
            return "ports below 1024 are for the system. Choose another: --port 8000"
        if code == errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        return getattr(error, "strerror", None) or str(error)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_url(url: str) -> bool:
    scheme, separator, rest = url.rstrip("/").partition("://")
    return scheme in ("http", "https") and bool(separator and rest) and not set(rest) & set("/?#@ ")


def _try_certificate(certificate: Path, private_key: Path | None) -> None:
    def no_password() -> str:
        raise CertificateError(f"{private_key} is locked by a password")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key, no_password)
    except OSError as error:
        raise CertificateError(f"{certificate}, {private_key}: {error.strerror or error}") from error

"""The network of an import: git over http(s), by dulwich and urllib3, with limits on the other side.

    bytes      all answers together are counted, those with the list of branches as well
    waiting    a minute without a byte ends it
    places     a redirect to an address of this machine or of a private network is not followed: the address
               behind a name is looked at once it is connected, so a name that changes its mind does not help
    servers    those that speak git's protocol; from plain folders of files one would fetch all history

The address that was named is connected to wherever it leads: whoever imports has named it.

Not covered: what lies behind a proxy of the environment, which connects by itself.
"""

import ipaddress
import socket
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import urlsplit

SECONDS_WITHOUT_A_BYTE = 60.0
_LIST_BYTES = 16 << 20
_PIECE_BYTES = 1 << 16


def open_http(
    url: str, *, max_bytes: int, allows_private: bool, too_large: Callable[[int], Exception]
) -> tuple[Any, str]:
    """A client of dulwich and the path that it takes, as `dulwich.client.get_transport_and_path`.

    Args:
        url: http or https, without a password.
        max_bytes: of all that the server sends; the list of its branches may come to 16 MiB beside.
        allows_private: whether redirects may lead to private addresses.
        too_large: makes the error for so many bytes.
    """
    from dulwich.client import default_urllib3_manager, get_transport_and_path
    from dulwich.config import ConfigFile

    named = urlsplit(url).hostname or ""
    # An empty configuration: that of the user may name programs to be run for passwords.
    config = ConfigFile()
    manager: Any = default_urllib3_manager(config, base_url=url, timeout=SECONDS_WITHOUT_A_BYTE)
    if not allows_private and not manager.proxy:
        manager.pool_classes_by_scheme = _careful_pools(named)
    client: Any
    client, path = get_transport_and_path(url, config=config, quiet=True, pool_manager=manager)
    client._http_request = _counted(client._http_request, max_bytes + _LIST_BYTES, too_large)
    return client, path


def _counted(ask: Callable[..., Any], most: int, too_large: Callable[[int], Exception]) -> Callable[..., Any]:
    num_bytes = 0

    def counted(url: str, *given: Any, **named: Any) -> Any:
        reply, read = ask(url, *given, **named)
        if "/info/refs" in url and not str(reply.content_type or "").startswith("application/x-git-"):
            reply.close()
            raise OSError("the server does not speak the protocol of git")

        def read_counted(size: int = _PIECE_BYTES) -> bytes:
            nonlocal num_bytes
            piece: bytes = read(size)
            num_bytes += len(piece)
            if num_bytes > most:
                reply.close()
                raise too_large(num_bytes)
            return piece

        return reply, read_counted

    return counted


@cache
def _careful_pools(named: str) -> dict[str, Any]:
    """Connections that are closed at once when a redirect led them to a private address."""
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def check(host: str, connected: socket.socket) -> socket.socket:
        address = connected.getpeername()[0]
        if host != named and not is_public(address):
            connected.close()
            raise OSError(f"it redirects to {host}, which is {address} in a private network")
        return connected

    class CarefulConnection(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return check(self.host, super()._new_conn())

    class CarefulTlsConnection(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return check(self.host, super()._new_conn())

    class CarefulPool(HTTPConnectionPool):
        ConnectionCls = CarefulConnection

    class CarefulTlsPool(HTTPSConnectionPool):
        ConnectionCls = CarefulTlsConnection

    return {"http": CarefulPool, "https": CarefulTlsPool}


def is_public(address: str) -> bool:
    """Whether an address can be reached from everywhere; those of IPv4 within IPv6 count as what they are."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_global and not found.is_multicast

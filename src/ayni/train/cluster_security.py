"""Certificates of a tls:// cluster, and what Dask's errors mean when no connection can be made.

Dask checks that both sides are signed by the same authority, and nothing else: no host names, no roles.
"""

import asyncio
import ssl
import time
from pathlib import Path
from typing import Any

import distributed
from distributed.comm.addressing import get_address_host_port

from ayni.errors import AyniError
from ayni.train.cluster_checks import (
    CertificateFileError,
    SchedulerRefusedError,
    SchedulerUnreachableError,
)
from ayni.train.strategy_config import TlsConfig


def make_security(tls: TlsConfig | None) -> Any:
    """Dask's security object; its files are read here, so that a wrong one is named.

    Raises:
        CertificateFileError: a file is missing or no certificate.
    """
    if tls is None:
        return None
    for name in ("ca_file", "certificate_file", "key_file"):
        path = Path(getattr(tls, name))
        if not path.is_file():
            raise CertificateFileError(name=name, path=str(path), reason="there is no such file")
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    except (ssl.SSLError, OSError) as error:
        paths = f"{tls.ca_file}, {tls.certificate_file} or {tls.key_file}"
        raise CertificateFileError(name="*", path=paths, reason=str(error)) from error
    make: Any = distributed.Security
    return make(
        tls_ca_file=tls.ca_file,
        tls_client_cert=tls.certificate_file,
        tls_client_key=tls.key_file,
        require_encryption=True,
    )


async def await_listener(address: str, seconds: float) -> None:
    """Return when somebody listens at an address. Dask would try much longer before it says anything.

    Raises:
        OSError: nobody listens, or there is no such host.
    """
    host, port = get_address_host_port(address)
    deadline = time.monotonic() + seconds
    while True:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 10)
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def connection_error(error: Exception, *, address: str) -> AyniError:
    """What it means that no client could be made: nobody there, or no trust."""
    reason = str(error) or type(error).__name__
    causes: list[BaseException] = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    is_tls = any(isinstance(cause, ssl.SSLError) or "SSL" in str(cause) for cause in causes)
    if address.startswith("tls://") and is_tls:
        return SchedulerRefusedError(address=address, reason=reason)
    return SchedulerUnreachableError(address=address, reason=reason)

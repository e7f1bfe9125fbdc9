"""uvicorn: accepts connections on a socket and hands requests to an application, until it is told to stop.

SIGTERM and Ctrl-C end it in order: no new connections, answers under way are finished within
`SECONDS_TO_FINISH`, then the application's own end (counts are written). That is a success, exit code 0.

Not covered: several processes on one socket, and starting again when it dies; systemd or a container does.
"""

import gc
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ayni.errors import MissingExtraError

SECONDS_TO_FINISH = 30
KEEP_ALIVE_SECONDS = 30
LARGEST_HEADERS_BYTES = 1 << 16


def run(
    app: Any,
    listening: socket.socket,
    *,
    certificate: Path | None = None,
    private_key: Path | None = None,
    max_connections: int | None = None,
    started: Callable[[], None] = lambda: None,
) -> None:
    """Serve until a signal comes; `started` is called once requests are answered.

    Args:
        app: an ASGI application.
        listening: a socket that is bound.
        certificate: PEM for TLS; None without.
        private_key: PEM.
        max_connections: above it, requests are answered 503; None = no limit.
        started: called in another thread.

    Raises:
        MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="hub", package="uvicorn") from error

    config = uvicorn.Config(
        app,
        lifespan="on",
        log_level="warning",
        # Links of uploads are permissions and stand in the path: they do not belong into a log.
        access_log=False,
        # Nothing is decided by the address of who asks, so no header of a proxy needs to be trusted.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=max_connections,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
        h11_max_incomplete_event_size=LARGEST_HEADERS_BYTES,
        ssl_certfile=certificate,
        ssl_keyfile=private_key,
    )
    server = uvicorn.Server(config)
    told = threading.Thread(target=_tell_when_started, args=(server, started), daemon=True)
    told.start()

    # uvicorn raises the signal once more when it has ended; by then it has been obeyed.
    def end(_number: int, _frame: object) -> None:
        server.should_exit = True

    # What was made so far stays until the end. Looking through it for garbage, again and again, would hold up
    # every answer for a tenth of a second at a time.
    gc.collect()
    gc.freeze()
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        server.run(sockets=[listening])
    finally:
        server.should_exit = True
        for number, handler in before.items():
            signal.signal(number, handler)
        gc.unfreeze()
        listening.close()


def _tell_when_started(server: Any, started: Callable[[], None]) -> None:
    pause = threading.Event()
    while not server.started:
        if server.should_exit:
            return
        pause.wait(0.01)
    started()

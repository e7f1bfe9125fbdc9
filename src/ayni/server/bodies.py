"""Bodies that are too large to be read at once: pieces of about a MiB, and lines.

What stops coming for a minute is given up; a slow sender that goes on is not.
"""

from collections.abc import AsyncIterator

import anyio
from starlette.requests import Request

from ayni.server.errors import RefusedRequestError

PIECE_BYTES = 1 << 20
IDLE_SECONDS = 60.0


async def pieces(request: Request, *, max_bytes: int) -> AsyncIterator[bytes]:
    """The body in pieces of 1 MiB and what the network adds to one; servers hand over 64 KiB at a time.

    Raises:
        RefusedRequestError: more than `max_bytes` (413), or nothing came for too long (408).
    """
    num_bytes, waiting, num_waiting = 0, [], 0
    async for piece in _received(request):
        num_bytes += len(piece)
        if num_bytes > max_bytes:
            raise RefusedRequestError(413, f"More than the {max_bytes} bytes came that are taken here.")
        waiting.append(piece)
        num_waiting += len(piece)
        if num_waiting >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, num_waiting = [], 0
    if waiting:
        yield b"".join(waiting)


async def lines(request: Request, *, max_line_bytes: int, max_bytes: int) -> AsyncIterator[list[bytes]]:
    """The lines of a body that came together, without their ends; empty ones are left out.

    Raises:
        RefusedRequestError: a line or the whole is too long (413), or nothing came for too long (408).
    """
    rest = bytearray()
    async for piece in pieces(request, max_bytes=max_bytes):
        rest += piece
        end = rest.rfind(b"\n")
        if end >= 0:
            whole = bytes(rest[:end])
            del rest[: end + 1]
            yield _not_empty(whole)
        if len(rest) > max_line_bytes:
            raise RefusedRequestError(
                413, f"A line is longer than {max_line_bytes} bytes. Upload the file as a large file."
            )
    yield _not_empty(bytes(rest))


def _not_empty(text: bytes) -> list[bytes]:
    return [line for line in text.split(b"\n") if line.strip()]


async def _received(request: Request) -> AsyncIterator[bytes]:
    stream = request.stream().__aiter__()
    while True:
        try:
            with anyio.fail_after(IDLE_SECONDS):
                piece = await anext(stream)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise RefusedRequestError(408, f"Nothing came for {IDLE_SECONDS:.0f} seconds.") from error
        yield piece

"""A file that can be searched, over bytes that are asked for in ranges.

Readers of archives jump about. Stored content comes in ranges, from a disk, a bucket or behind encryption;
blocks that were just read are kept, so that small steps cost no further request.

Not covered: writing.
"""

import errno
import io
from collections import OrderedDict
from collections.abc import Callable

BLOCK_BYTES = 1 << 18
KEPT_BLOCKS = 16
# Far above any directory of an archive that people make, and small enough for the hub's memory.
MAX_READ_BYTES = 64 << 20

ReadRange = Callable[[int, int], bytes]
"""[start, stop) -> these bytes."""


class RangedFile(io.RawIOBase):
    """Bytes of a known size, read in blocks.

    Args:
        read_range: gives the bytes [start, stop), which lie within the size.
        size_bytes: of the whole.
    """

    def __init__(self, read_range: ReadRange, *, size_bytes: int) -> None:
        super().__init__()
        self._read_range = read_range
        self.size_bytes = size_bytes
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a position; one before the start is refused."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size_bytes}[whence]
        if start + offset < 0:
            # As files do: readers of archives try this and expect an OSError.
            raise OSError(errno.EINVAL, f"position {start + offset} lies before the start")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        """Up to `size` bytes; all that are left with -1.

        Raises:
            ValueError: more than MAX_READ_BYTES at once, which only a broken or hostile file makes one ask.
        """
        left = max(0, self.size_bytes - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > MAX_READ_BYTES:
            raise ValueError(f"{wanted} bytes at once are more than {MAX_READ_BYTES}")
        pieces = []
        while wanted:
            index, inside = divmod(self._position, BLOCK_BYTES)
            piece = self._block(index)[inside : inside + wanted]
            if not piece:
                break
            pieces.append(piece)
            wanted -= len(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: object, /) -> int:
        """Fill a buffer as far as there are bytes."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        piece = self.read(len(view))
        view[: len(piece)] = piece
        return len(piece)

    def readline(self, size: int | None = -1, /) -> bytes:
        """The bytes up to the end of the line, at most `size` or MAX_READ_BYTES."""
        limit = MAX_READ_BYTES if size is None or size < 0 else size
        start, line = self._position, b""
        while len(line) < limit:
            piece = self.read(min(4096, limit - len(line)))
            end = piece.find(b"\n")
            if not piece or end >= 0:
                line += piece[: end + 1] if end >= 0 else b""
                break
            line += piece
        self._position = start + len(line)
        return line

    def _block(self, index: int) -> bytes:
        if index in self._blocks:
            self._blocks.move_to_end(index)
            return self._blocks[index]
        start = index * BLOCK_BYTES
        block = self._read_range(start, min(start + BLOCK_BYTES, self.size_bytes))
        self._blocks[index] = block
        if len(self._blocks) > KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return block

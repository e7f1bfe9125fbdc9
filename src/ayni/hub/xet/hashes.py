"""Hashes of chunks, xorbs, files and terms: keyed BLAKE3, and a tree whose shape follows from its hashes.

A hash is 32 bytes. As text its four groups of eight bytes are each written backwards, which is how the
protocol's URLs, its JSON and the lines of the tree spell it.

The tree is computed while its leaves arrive. A group of entries ends at the third to ninth entry by a look at
that entry alone, so no level ever waits for more than nine, and a file of a terabyte takes no more memory
than one of a page.

Not covered: SHA-256, by which the hub names files.

Source: Xet protocol specification 1.1.0, page "Hashing"; Internet-Draft draft-denis-xet-03.
"""

import re
import struct
from functools import cache
from typing import Any

from ayni.errors import UserError

HASH_BYTES = 32
NO_HASH = bytes(HASH_BYTES)

_CHUNK_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
_NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
_TERM_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
_FILE_KEY = bytes(HASH_BYTES)

_TEXT = re.compile(r"[0-9a-f]{64}")
_GROUP_SHORTEST, _GROUP_LONGEST = 3, 9
_MEAN_BRANCHES = 4
_ELIGIBLE_ONE_IN = 1024


class HashTextError(UserError):
    """A hash of the Xet protocol is not spelled as one."""

    def __init__(self, text: str) -> None:
        self.text = text
        super().__init__(f"{text[:80]!r} is no hash: it has 64 digits out of 0-9 and a-f.")


def to_text(raw: bytes) -> str:
    """A hash as the protocol writes it: four little-endian numbers of 16 digits."""
    return "{:016x}{:016x}{:016x}{:016x}".format(*struct.unpack("<4Q", raw))


def from_text(text: str) -> bytes:
    """The inverse of `to_text`; the raw bytes that a shard holds for a SHA-256 too.

    Raises:
        HashTextError: anything but 64 lower-case digits.
    """
    if not _TEXT.fullmatch(text):
        raise HashTextError(text)
    return struct.pack("<4Q", *(int(text[start : start + 16], 16) for start in (0, 16, 32, 48)))


def chunk_hash(content: bytes | bytearray | memoryview) -> bytes:
    """The hash of a chunk's bytes, uncompressed."""
    return keyed(_CHUNK_KEY, content)


def term_hash(chunk_hashes: bytes | bytearray | memoryview) -> bytes:
    """What shows that an uploader knows a run of chunks: a hash over their hashes, one after another."""
    return keyed(_TERM_KEY, chunk_hashes)


def file_hash(root: bytes) -> bytes:
    """The hash of a file, from the root of the tree over all its chunks; zero for a file without any."""
    return NO_HASH if root == NO_HASH else keyed(_FILE_KEY, root)


def is_eligible(raw: bytes) -> bool:
    """Whether clients ask for this chunk wherever in a file it is: one in 1024."""
    return _tail(raw) % _ELIGIBLE_ONE_IN == 0


class HashTree:
    """The Merkle tree over chunks, leaf by leaf.

    A level is cut into groups from left to right; each group becomes an entry of the next level, with a hash
    over its lines `hash : length` and the sum of its lengths. A group ends with its third to ninth entry, the
    first whose last eight bytes are divisible by four; the mean is four entries.
    """

    def __init__(self) -> None:
        self._open: list[list[tuple[bytes, int]]] = []
        self._num_entries: list[int] = []

    def add(self, leaf: bytes, num_bytes: int) -> None:
        """The next chunk: its hash and its length."""
        self._push(0, (leaf, num_bytes))

    def root(self) -> bytes:
        """The root over all leaves; zero without any. The tree cannot be added to afterwards."""
        level = 0
        while level < len(self._open):
            group = self._open[level]
            if self._num_entries[level] == 1:
                return group[0][0]
            if group:
                self._close(level)
            level += 1
        return NO_HASH

    def _push(self, level: int, entry: tuple[bytes, int]) -> None:
        if level == len(self._open):
            self._open.append([])
            self._num_entries.append(0)
        group = self._open[level]
        group.append(entry)
        self._num_entries[level] += 1
        if len(group) >= _GROUP_SHORTEST and (
            len(group) == _GROUP_LONGEST or _tail(entry[0]) % _MEAN_BRANCHES == 0
        ):
            self._close(level)

    def _close(self, level: int) -> None:
        entry = _node(self._open[level])
        self._open[level].clear()
        self._push(level + 1, entry)


def keyed(key: bytes, content: bytes | bytearray | memoryview) -> bytes:
    """BLAKE3 in keyed mode."""
    digest: bytes = _blake3()(content, key=key).digest()
    return digest


@cache
def _blake3() -> Any:
    # An extra package; an import statement in what runs for each chunk would cost as much as a small hash.
    from blake3 import blake3

    return blake3


def _node(group: list[tuple[bytes, int]]) -> tuple[bytes, int]:
    lines = "".join(f"{to_text(raw)} : {num_bytes}\n" for raw, num_bytes in group)
    return keyed(_NODE_KEY, lines.encode()), sum(num_bytes for _, num_bytes in group)


def _tail(raw: bytes) -> int:
    return int.from_bytes(raw[24:], "little")

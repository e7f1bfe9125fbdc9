"""Files of the test vectors, and a client of our own that makes xorbs and shards of them."""

import hashlib
import struct
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ayni.hub.xet.hashes import HashTree, chunk_hash, file_hash, term_hash
from ayni.hub.xet.shards import FileClaim, Term
from ayni.hub.xet.xorbs import LZ4, XorbIndex, XorbReader, pack

STREAM_LENGTHS = (
    *(38014, 58922, 131072, 108814, 9747, 8949, 27185, 131072),
    *(95607, 61739, 131072, 18512, 80134, 88414, 59323),
)
ZEROS_LENGTHS = (131072, 68928)
RAMP_LENGTHS = (23478, 20012, 131072, 32781, 54808)


def stream() -> bytes:
    digests = (hashlib.sha256(b"xet-vector" + struct.pack(">Q", number)).digest() for number in range(32768))
    return b"".join(digests)


def ramp() -> bytes:
    return struct.pack("<65537f", *(1 + number / 65536 for number in range(65537))) + b"abc"


def cut(content: bytes, lengths: tuple[int, ...]) -> list[bytes]:
    ends = list(accumulate(lengths, initial=0))
    assert ends[-1] == len(content)
    return [content[start:stop] for start, stop in pairwise(ends)]


@dataclass(frozen=True)
class Xorb:
    body: bytes
    index: XorbIndex

    @property
    def name(self) -> bytes:
        return self.index.xorb_hash

    def term(self, start: int, stop: int) -> Term:
        num_bytes = self.index.num_unpacked(start, stop)
        return Term(xorb=self.name, start=start, stop=stop, num_bytes=num_bytes)


def make_xorb(chunks: list[bytes], scheme: int = LZ4) -> Xorb:
    body = b"".join(pack(chunk, scheme) for chunk in chunks)
    reader = XorbReader()
    reader.feed(body)
    return Xorb(body, reader.finish())


def claim_of(content: bytes, *terms: tuple[Xorb, int, int]) -> FileClaim:
    """A true claim: `content` is these runs of chunks."""
    tree = HashTree()
    for xorb, start, stop in terms:
        for number in range(start, stop):
            tree.add(xorb.index.hashes(number, number + 1), xorb.index.num_unpacked(number, number + 1))
    return FileClaim(
        file_hash=file_hash(tree.root()),
        terms=tuple(xorb.term(start, stop) for xorb, start, stop in terms),
        term_hashes=tuple(term_hash(xorb.index.hashes(start, stop)) for xorb, start, stop in terms),
        sha256=hashlib.sha256(content).hexdigest(),
    )


def hash_chunks(chunks: list[bytes]) -> list[tuple[bytes, int]]:
    return [(chunk_hash(chunk), len(chunk)) for chunk in chunks]

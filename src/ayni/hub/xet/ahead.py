"""SHA-256 of files that are still on their way: what has come is hashed while the rest comes.

A file counts once its SHA-256 was computed here, and SHA-256 goes from the first byte to the last: after the
last byte of a gigabyte a client would wait for most of a second. Most files are whole xorbs, one behind the
other, in the order in which their uploads begin. That is the guess:

    guess     the xorbs of a client's session in the order in which they began to come
    check     a file begins with whole xorbs of the guess: hashing goes on behind them
    if not    hashing begins at the first byte, as without a guess

A wrong guess costs time and never makes a wrong digest, for a state is that of the very xorbs that it was
computed from, read from where they are stored. Guessing ends when the session asks for the first chunk of a
second file, and when it finds chunks that are here already.

Not covered: several files in one session, and several processes.
"""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.hashes import is_eligible
from ayni.hub.xet.shards import Term

SESSIONS_KEPT = 256
XORBS_AT_MOST = 1 << 14
"""Of one session, a terabyte; each takes some 400 bytes."""
_HASHING_AT_ONCE = 2

Session = tuple[int, str, str]
"""Of a client that uploads: repository, member, and what the client calls it."""


@dataclass(slots=True, kw_only=True)
class _Guess:
    """The xorbs of a session: in order of their beginning, which of them came, and digests behind them."""

    expected: list[bytes] = field(default_factory=list)
    begun: set[bytes] = field(default_factory=set)
    came: set[bytes] = field(default_factory=set)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    states: list["hashlib._Hash"] = field(default_factory=list)
    first_chunk: bytes | None = None
    num_useful: int = XORBS_AT_MOST
    is_hashed_now: bool = False

    def next(self) -> bytes | None:
        """The xorb to hash next; None while it is still coming, and when guessing has ended."""
        if len(self.states) >= min(self.num_useful, len(self.expected)):
            return None
        wanted = self.expected[len(self.states)]
        return wanted if wanted in self.came else None


class DigestsAhead:
    """Digests of what the sessions of clients have sent so far. Safe for several threads."""

    def __init__(self, chunks: ChunkReader) -> None:
        self._chunks = chunks
        self._guesses: OrderedDict[Session, _Guess] = OrderedDict()
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(_HASHING_AT_ONCE, thread_name_prefix="ayni-ahead")

    def expect(self, session: Session, xorb: bytes) -> None:
        """A xorb begins to come."""
        with self._changed:
            guess = self._guess(session)
            if xorb not in guess.begun and len(guess.expected) < XORBS_AT_MOST:
                guess.begun.add(xorb)
                guess.expected.append(xorb)

    def came(self, session: Session, xorb: bytes) -> None:
        """A xorb is stored; from now on it may be read."""
        with self._changed:
            guess = self._guess(session)
            guess.came.add(xorb)
            if not guess.is_hashed_now and guess.next() is not None:
                guess.is_hashed_now = True
                self._threads.submit(self._hash, guess)

    def asked(self, session: Session, chunk: bytes, *, is_known: bool) -> None:
        """A client looked for a chunk: it does so for the first of each file, and for one in 1024."""
        with self._changed:
            guess = self._guess(session)
            begins_file = not is_eligible(chunk)
            if is_known or (begins_file and guess.first_chunk not in (None, chunk)):
                guess.num_useful = 0
            if begins_file:
                guess.first_chunk = chunk

    def behind(self, session: Session, terms: Sequence[Term]) -> tuple["hashlib._Hash", int]:
        """The digest of the first terms of a file, as many as were hashed ahead, and how many those are.

        What has come of them and is not hashed yet is waited for. Guessing ends with that.
        """
        with self._changed:
            guess = self._guess(session)
            expected = list(guess.expected)
        num_terms = 0
        for term, xorb in zip(terms, expected, strict=False):
            if term.xorb != xorb or term.start != 0 or term.stop != self._chunks.index_of(xorb).num_chunks:
                break
            num_terms += 1
        with self._changed:
            guess.num_useful = min(guess.num_useful, num_terms)
            self._changed.wait_for(lambda: not guess.is_hashed_now)
            num_terms = min(num_terms, len(guess.states))
            digest = guess.states[num_terms - 1] if num_terms else hashlib.sha256()
            return digest.copy(), num_terms

    def _guess(self, session: Session) -> _Guess:
        guess = self._guesses.setdefault(session, _Guess())
        self._guesses.move_to_end(session)
        while len(self._guesses) > SESSIONS_KEPT:
            self._guesses.popitem(last=False)
        return guess

    def _hash(self, guess: _Guess) -> None:
        try:
            while (xorb := self._next(guess)) is not None:
                num_chunks = self._chunks.index_of(xorb).num_chunks
                for contents in self._chunks.read_unchecked(xorb, 0, num_chunks):
                    for content in contents:
                        guess.digest.update(content)
                with self._changed:
                    guess.states.append(guess.digest.copy())
        except BaseException:
            # The digest is in the middle of a xorb. Why it cannot be read the shard's check tells the client.
            with self._changed:
                guess.num_useful, guess.is_hashed_now = 0, False
                self._changed.notify_all()
            raise

    def _next(self, guess: _Guess) -> bytes | None:
        with self._changed:
            xorb = guess.next()
            if xorb is None:
                # In the same breath, so that what comes now finds that nobody is at it.
                guess.is_hashed_now = False
                self._changed.notify_all()
            return xorb

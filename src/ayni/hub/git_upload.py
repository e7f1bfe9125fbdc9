"""The conversation of `git clone` and `git fetch` as values: what is asked, and the answer.

    advertisement    the refs, the first with what this side can do
    request          want COMMIT..., deepen N, shallow COMMIT..., have COMMIT..., done
    answer           shallow commits if asked; ACK of what both have, or NAK; then the pack

A client that asks for version 2 of the protocol gets version 0, which every client knows.

Not covered: pushing, partial clones, and wanting commits that no ref is at.

Source: git documentation, gitprotocol-pack and gitprotocol-http.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ayni.errors import AyniError, UserError

SERVICE = "git-upload-pack"
MAX_LINES = 100_000
_CAPABILITIES = "shallow side-band-64k ofs-delta no-progress object-format=sha1 agent=ayni"
_FLUSH = b"0000"
_NOTHING = "0" * 40
_SHA1 = re.compile(r"[0-9a-f]{40}")
_BAND_BYTES = 65_515
_DATA, _ERROR = 1, 3


class GitRequestError(UserError):
    """A request of git cannot be answered."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"This is no request that the hub answers to git: {reason}.")


@dataclass(slots=True, kw_only=True)
class GitRequest:
    """What a client asks for."""

    wants: list[str] = field(default_factory=list)
    haves: list[str] = field(default_factory=list)
    shallow: list[str] = field(default_factory=list)
    depth: int | None = None
    is_done: bool = False
    has_bands: bool = False


def advertisement(refs: Mapping[str, str], head: str | None) -> bytes:
    """The refs of a repository; `head` is the ref that a clone checks out."""
    at_head = None if head is None else refs.get(head)
    listed = dict(refs) if at_head is None else {"HEAD": at_head, **refs}
    able = _CAPABILITIES + ("" if at_head is None else f" symref=HEAD:{head}")
    lines = [f"{revision} {ref}" for ref, revision in listed.items()] or [f"{_NOTHING} capabilities^{{}}"]
    lines[0] += f"\0{able}"
    return (
        packet(f"# service={SERVICE}\n") + _FLUSH + b"".join(packet(f"{each}\n") for each in lines) + _FLUSH
    )


def read_request(body: bytes) -> GitRequest:
    """A request as a value.

    Raises:
        GitRequestError: it is none.
    """
    asked = GitRequest()
    for line in _lines(body):
        word, _, rest = line.partition(" ")
        if word == "want":
            sha1, _, able = rest.partition(" ")
            asked.wants.append(_sha1(sha1))
            asked.has_bands |= "side-band-64k" in able.split()
        elif word == "have":
            asked.haves.append(_sha1(rest))
        elif word == "shallow":
            asked.shallow.append(_sha1(rest))
        elif word == "deepen":
            if not (rest.isdecimal() and len(rest) <= 10):
                raise GitRequestError(f"the depth {rest[:20]!r}")
            asked.depth = int(rest) or None
        elif word == "done":
            asked.is_done = True
        else:
            raise GitRequestError(f"the line {line[:40]!r}")
    return asked


def shallow_lines(boundary: list[str], no_longer: list[str]) -> bytes:
    """Which commits are without their parents now, and which no longer."""
    lines = [packet(f"shallow {each}") for each in boundary]
    return b"".join([*lines, *(packet(f"unshallow {each}") for each in no_longer), _FLUSH])


def acknowledgement(common: str | None) -> bytes:
    """That both have a commit, or none."""
    return packet("NAK\n" if common is None else f"ACK {common}\n")


def banded(pieces: Iterator[bytes], *, log: Callable[[AyniError], None]) -> Iterator[bytes]:
    """A pack in packets; an error on the way reaches the client as one."""
    waiting = b""
    try:
        for piece in pieces:
            waiting += piece
            while len(waiting) >= _BAND_BYTES:
                yield packet(bytes([_DATA]) + waiting[:_BAND_BYTES])
                waiting = waiting[_BAND_BYTES:]
    except AyniError as error:
        log(error)
        yield packet(bytes([_ERROR]) + b"The hub cannot read a file of this repository. Tell its operator.\n")
        return
    if waiting:
        yield packet(bytes([_DATA]) + waiting)
    yield _FLUSH


def packet(content: str | bytes) -> bytes:
    """One line as git frames it: its length in four hexadecimal digits, then itself."""
    data = content.encode() if isinstance(content, str) else content
    return f"{len(data) + 4:04x}".encode() + data


def _lines(body: bytes) -> Iterator[str]:
    position, num_lines = 0, 0
    while position < len(body):
        length = body[position : position + 4]
        if not re.fullmatch(rb"[0-9a-fA-F]{4}", length):
            raise GitRequestError("a line has no length")
        size = int(length, 16)
        if size == 0:
            position += 4
            continue
        if size < 4 or position + size > len(body):
            raise GitRequestError("a line is cut off")
        num_lines += 1
        if num_lines > MAX_LINES:
            raise GitRequestError(f"it has more than {MAX_LINES} lines")
        yield body[position + 4 : position + size].decode("utf-8", "replace").rstrip("\n")
        position += size


def _sha1(text: str) -> str:
    if not _SHA1.fullmatch(text):
        raise GitRequestError(f"{text[:40]!r} is no commit")
    return text

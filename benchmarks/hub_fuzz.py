"""Hostile requests for ten minutes: no answer is a 500, none shows a traceback, and what was there stays.

Two fuzzers, half of the time each. Schemathesis makes requests out of the description of `/api/v1` (OpenAPI),
as an admin of the hub and as a member. A fuzzer of our own goes through the table of routes of the Hugging
Face API: paths and queries with dots, slashes, NULs and bytes that are no text, percent-encoded or raw; JSON
and NDJSON of wrong types and depths; commits cut in the middle; xorbs and shards with bytes changed, left out
and doubled, in a protocol whose rest is right; ranges and headers of no sense. Random, by a seed.

The server runs as a process and is asked over HTTP. Its log is searched as well: an error that no reply shows
is still an error. Afterwards a file that was there before is read back, and the whole is uploaded once more.

Not covered: slow senders, floods, and the content of packages that the server runs on.
"""

import base64
import hashlib
import http.client
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ayni.hub.xet.hashes import HashTree, file_hash, term_hash, to_text
from ayni.hub.xet.shards import FileClaim, Term, write_upload
from ayni.hub.xet.xorbs import LZ4, XorbIndex, XorbReader, pack
from ayni.server.routes.table import ROUTES
from benchmarks.hub_process import HubProcess, running_hub
from benchmarks.registry import Benchmark, Outcome

REPOSITORY = "ada/target"
KEPT = b"kept through all of it"
# What the hub does not do, which is told and no mistake.
ALLOWED = {501}
PIECES = (
    *("main", "ada", "target", REPOSITORY, "..", "%2e%2e", "%00", "%ff", "%2F", "%c3%28", "a" * 300, "none"),
    *("refs%2Fpr%2F1", "refs/heads/main", "0" * 40, "0" * 64, "deadbeef", "-1", "1", "true", ".git", "%0a"),
    *(
        "\\",
        "*",
        "%25",
        "'",
        '"',
        "{}",
        "[]",
        "datasets",
        "models",
        "kept.txt",
        ".gitattributes",
        "%E2%80%AE",
    ),
    *("..%2f..%2fetc%2fpasswd", "%5c..%5c", "sub%20dir", "%F0%9F%98%80", "CON", "a//b", "~root", ";", "%"),
)
QUERIES = (
    "limit",
    "cursor",
    "recursive",
    "expand",
    "sort",
    "search",
    "author",
    "filter",
    "create_pr",
    "full",
)
KEYS = (
    *("name", "organization", "type", "private", "visibility", "gated", "repository", "content", "repoType"),
    *(
        "files",
        "path",
        "size",
        "sample",
        "gitIgnore",
        "operation",
        "objects",
        "oid",
        "transfers",
        "hash_algo",
    ),
    *("startingPoint", "tag", "message", "deletions", "sha", "rewriteHistory", "summary", "description"),
    *(
        "parentCommit",
        "encoding",
        "algo",
        "user",
        "status",
        "target",
        "title",
        "comment",
        "fields",
        "grant_type",
    ),
)
LINES = ("header", "file", "lfsFile", "deletedFile", "deletedFolder", "unknown")
NUMBERS = (0, 1, 2, 255, 256, 8192, 65535, 65536, 2**31 - 1, 2**31, 3 << 30, 2**32 - 1)
# What would take the ground from under the fuzzer itself.
LEFT_OUT = ("/api/repos/delete", "/api/repos/move")


@dataclass(slots=True)
class Found:
    """What was sent, and what should not have come back."""

    statuses: Counter[int] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


def measure(quick: bool) -> Outcome:
    """Both fuzzers against one hub."""
    seconds = 30.0 if quick else 600.0
    with tempfile.TemporaryDirectory() as folder, running_hub(Path(folder) / "hub") as hub:
        fuzzer = Fuzzer(hub, seed=0)
        fuzzer.prepare()
        fuzzer.run(seconds / 2)
        described = {name: run_schemathesis(hub, name, seconds / 4, Path(folder)) for name in ("root", "ben")}
        problems = [*fuzzer.found.problems, *fuzzer.afterwards()]
        problems += [problem for each in described.values() for problem in each.problems]
        log = hub.log.read_text()
    values: dict[str, Any] = {
        "seconds": seconds,
        "requests": fuzzer.found.statuses.total(),
        "statuses": {str(status): count for status, count in sorted(fuzzer.found.statuses.items())},
        "schemathesis_cases": sum(each.statuses[0] for each in described.values()),
        "tracebacks_in_log": log.count("Traceback"),
        "problems": len(problems),
        "first_problems": problems[:3],
    }
    is_met = not problems and not values["tracebacks_in_log"] and values["schemathesis_cases"] > 0
    return Outcome(values=values, seeds=(0,), met=is_met)


def run_schemathesis(hub: HubProcess, name: str, seconds: float, folder: Path) -> Found:
    """Requests out of the description, with the token of a member; `statuses[0]` is how many there were."""
    beside = Path(sys.executable).parent / "schemathesis"
    report = folder / f"report-{name}.ndjson"
    words = [str(beside), "run", f"{hub.url}/api/v1/openapi.json", "--checks", "not_a_server_error"]
    words += [
        "--header",
        f"Authorization: Bearer {hub.tokens[name]}",
        "--max-time",
        str(max(1, int(seconds))),
    ]
    # A token that takes itself back ends the walk.
    words += ["--exclude-path", "/api/v1/tokens/{number}", "--continue-on-failure", "--seed", "0"]
    words += ["--report", "ndjson", "--report-ndjson-path", str(report), "--no-color", "--warnings", "off"]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=seconds + 300, cwd=folder
    )
    found = Found()
    cases = re.search(r"(\d+) generated", done.stdout)
    found.statuses[0] = int(cases[1]) if cases else 0
    if done.returncode != 0:
        found.problems.append(f"schemathesis as {name}: {done.stdout[-1500:]} {done.stderr[-500:]}")
    return found


class Fuzzer:
    """Sends what nobody should, and looks at what comes back."""

    def __init__(self, hub: HubProcess, *, seed: int) -> None:
        self.found = Found()
        self._hub = hub
        self._rng = random.Random(seed)
        self._patterns = [route for route in ROUTES if route.pattern not in LEFT_OUT]
        self._xorbs = [self._xorb(number) for number in range(4)]
        self._tokens: tuple[str | None, ...] = (
            *hub.tokens.values(),
            None,
            "hf_none",
            "\x00".join(("a", "b")),
        )

    def prepare(self) -> None:
        """A repository with a file, and xorbs that shards may refer to."""
        self._expect(200, "POST", "/api/repos/create", json.dumps({"name": "target"}).encode())
        self._expect(200, "POST", f"/api/models/{REPOSITORY}/commit/main", _commit("kept.txt", KEPT))
        for name, body, _ in self._xorbs[:3]:
            status, _ = self._send("POST", f"/cas/v1/xorbs/default/{to_text(name)}", body, self._cas_token())
            if status != 200:
                raise RuntimeError(f"a good xorb was answered {status}")

    def run(self, seconds: float) -> None:
        """Send until the time is over."""
        over_at = time.monotonic() + seconds
        while time.monotonic() < over_at:
            kind = self._rng.randrange(10)
            if kind < 5:
                self._fuzz_route()
            elif kind < 7:
                self._fuzz_commit()
            elif kind < 8:
                self._fuzz_path()
            else:
                self._fuzz_chunks()

    def afterwards(self) -> list[str]:
        """Whether the hub still does what it did."""
        problems = []
        status, body = self._send("GET", f"/{REPOSITORY}/resolve/main/kept.txt", b"", self._hub.tokens["ada"])
        first, _ = self._send("GET", f"/api/models/{REPOSITORY}/commits/main", b"", self._hub.tokens["ada"])
        if status == 200 and body != KEPT and b"kept" not in body:
            problems.append("kept.txt has other bytes")
        if first != 200:
            problems.append(f"the history is answered {first}")
        made, said = self._send(
            "POST",
            f"/api/models/{REPOSITORY}/commit/main",
            _commit("after.txt", KEPT),
            self._hub.tokens["ada"],
        )
        # Schemathesis is an admin too, and may have limited what ada holds, to nothing even.
        is_over_quota = made == 413 and b"and may hold" in said
        if made != 200 and not is_over_quota:
            problems.append(f"a commit afterwards is answered {made}: {said[:200]!r}")
        return problems

    def _fuzz_route(self) -> None:
        route = self._rng.choice(self._patterns)
        parts = {"kind": "models", "prefix": "", "repo": REPOSITORY}
        if self._rng.random() < 0.3:
            parts = {"kind": self._rng.choice(("models", "datasets", "spaces")), "prefix": "datasets/"}

        def fill(found: "re.Match[str]") -> str:
            good = parts.get(found[1].removesuffix("..."))
            return good if good is not None and self._rng.random() < 0.9 else self._piece()

        path = re.sub(r"\{([a-z_]+(?:\.\.\.)?)\}", fill, route.pattern)
        body = json.dumps({key: self._value() for key in self._rng.sample(KEYS, 9)}).encode()
        if self._rng.random() < 0.3:
            body = self._rng.randbytes(self._rng.randrange(200))
        self._look(route.method, path + self._query(), body)

    def _fuzz_path(self) -> None:
        path = "/" + "/".join(self._piece() for _ in range(self._rng.randrange(1, 7)))
        self._look(self._rng.choice(("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")), path, b"")

    def _fuzz_commit(self) -> None:
        lines = []
        for _ in range(self._rng.randrange(1, 6)):
            value: Any = {key: self._value() for key in self._rng.sample(KEYS, 3)}
            value |= {
                "summary": "s",
                "path": self._text(),
                "content": self._rng.choice(("YQ==", "!", "", "YQ")),
            }
            value |= {
                "oid": self._rng.choice(("0" * 64, "x", hashlib.sha256(KEPT).hexdigest())),
                "algo": "sha256",
            }
            line = {
                "key": self._rng.choice(LINES),
                "value": value if self._rng.random() < 0.9 else self._value(),
            }
            lines.append(json.dumps(line).encode())
        if self._rng.random() < 0.7:
            lines.insert(0, json.dumps({"key": "header", "value": {"summary": self._text()}}).encode())
        body = self._mutated(b"\n".join(lines)) if self._rng.random() < 0.3 else b"\n".join(lines)
        # To a branch of its own, so that what was there stays.
        self._look("POST", f"/api/models/{REPOSITORY}/commit/{self._rng.choice(('fuzz', 'none'))}", body)

    def _fuzz_chunks(self) -> None:
        token = self._cas_token()
        name, body, _ = self._rng.choice(self._xorbs)
        if self._rng.random() < 0.5:
            told = name if self._rng.random() < 0.7 else self._rng.randbytes(32)
            self._look("POST", f"/cas/v1/xorbs/default/{to_text(told)}", self._mutated(body), token)
            return
        claims = [self._claim() for _ in range(self._rng.randrange(1, 4))]
        shard = write_upload(claims, [index for _, _, index in self._xorbs[:3]])
        version = self._rng.choice((1, 2))
        self._look("POST", f"/cas/v{version}/shards", self._mutated(shard), token)

    def _claim(self) -> FileClaim:
        name, body, index = self._rng.choice(self._xorbs[:3])
        start = self._rng.randrange(index.num_chunks)
        stop = self._rng.randrange(start, index.num_chunks) + 1
        tree = HashTree()
        for number in range(start, stop):
            tree.add(index.hashes(number, number + 1), index.num_unpacked(number, number + 1))
        term = Term(xorb=name, start=start, stop=stop, num_bytes=index.num_unpacked(start, stop))
        return FileClaim(
            file_hash=file_hash(tree.root()),
            terms=(term,),
            term_hashes=(term_hash(index.hashes(start, stop)),),
            sha256=hashlib.sha256(body).hexdigest(),
        )

    def _xorb(self, number: int) -> tuple[bytes, bytes, XorbIndex]:
        chunks = [self._rng.randbytes(self._rng.randrange(1, 3000)) for _ in range(1 + number)]
        body = b"".join(pack(chunk, LZ4 if number % 2 else 0) for chunk in chunks)
        reader = XorbReader()
        reader.feed(body)
        index = reader.finish()
        return index.xorb_hash, body, index

    def _mutated(self, content: bytes) -> bytes:
        changed = bytearray(content)
        for _ in range(self._rng.randrange(1, 5)):
            if not changed:
                break
            at, kind = self._rng.randrange(len(changed)), self._rng.randrange(5)
            if kind == 0:
                changed[at] = self._rng.randrange(256)
            elif kind == 1:
                changed[at - at % 4 : at - at % 4 + 4] = struct.pack("<I", self._rng.choice(NUMBERS))
            elif kind == 2:
                del changed[at : at + self._rng.choice((1, 8, 48, 1000))]
            elif kind == 3:
                changed[at:at] = changed[at : at + self._rng.choice((1, 8, 48))]
            else:
                changed[at:at] = self._rng.randbytes(self._rng.choice((1, 8, 48)))
        return bytes(changed)

    def _piece(self) -> str:
        return "/".join(self._rng.choice(PIECES) for _ in range(self._rng.choice((1, 1, 1, 2, 3))))

    def _query(self) -> str:
        if self._rng.random() < 0.5:
            return ""
        pairs = [f"{self._rng.choice(QUERIES)}={self._quoted()}" for _ in range(self._rng.randrange(1, 4))]
        return "?" + "&".join(pairs)

    def _quoted(self) -> str:
        if self._rng.random() < 0.4:
            return self._rng.choice(PIECES)
        return urllib.parse.quote(str(self._value()), errors="replace")

    def _text(self) -> str:
        points = (0, 10, 13, 34, 47, 46, 92, 97, 0x202E, 0x1F600, 0xFFFF)
        odd = "".join(chr(self._rng.choice(points)) for _ in range(self._rng.randrange(6)))
        return self._rng.choice(
            (odd, "a.txt", "../a", "/a", "a//b", ".git/config", "a" * 5000, "sub/" * 200, "a/..")
        )

    def _value(self, depth: int = 0) -> Any:
        kind = self._rng.randrange(8)
        if kind < 3:
            return self._rng.choice(
                ("main", "model", "dataset", "private", "auto", "upload", "basic", "sha256")
            )
        if kind == 3:
            return self._rng.choice((0, 1, -1, 2**31, 2**63, 2**70, 1e308, None, True, False))
        if kind == 4 and depth < 3:
            return [self._value(depth + 1) for _ in range(self._rng.randrange(4))]
        if kind == 5 and depth < 3:
            return {self._rng.choice(KEYS): self._value(depth + 1) for _ in range(self._rng.randrange(4))}
        return self._text()

    def _cas_token(self) -> str:
        status, body = self._send(
            "GET", f"/api/models/{REPOSITORY}/xet-write-token/main", b"", self._hub.tokens["ada"]
        )
        if status != 200:
            # A fuzzed request may have made the repository another's to see.
            return "none"
        token: str = json.loads(body)["accessToken"]
        return token

    def _expect(self, status: int, method: str, path: str, body: bytes) -> None:
        found, said = self._send(method, path, body, self._hub.tokens["ada"])
        if found != status:
            raise RuntimeError(f"{method} {path}: {found} {said[:300]!r}")

    def _look(self, method: str, path: str, body: bytes, token: str | None = None) -> None:
        token = self._rng.choice(self._tokens) if token is None else token
        try:
            status, said = self._send(method, path, body, token)
        except (http.client.HTTPException, OSError, ValueError, UnicodeError):
            # The client itself will not send it, or the server hung up on what is no HTTP.
            self.found.statuses[0] += 1
            return
        self.found.statuses[status] += 1
        if (status >= 500 and status not in ALLOWED) or b"Traceback" in said or b"site-packages" in said:
            self.found.problems.append(f"{method} {path} {body[:300]!r}: {status} {said[:300]!r}")

    def _send(self, method: str, path: str, body: bytes, token: str | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", int(self._hub.url.rsplit(":", 1)[1]), timeout=60)
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        if self._rng.random() < 0.1:
            headers["Range"] = self._rng.choice(
                ("bytes=0-", "bytes=-1", "bytes=9-1", "x", "bytes=" + "9" * 30 + "-")
            )
        if self._rng.random() < 0.05:
            headers["Content-Type"] = self._rng.choice(
                ("application/json", "multipart/form-data", "x", "\xff")
            )
        try:
            # Sent as it is: the client would refuse what is no address.
            connection.putrequest(method, "/", skip_accept_encoding=True)
            connection._buffer[0] = f"{method} {path} HTTP/1.1".encode("latin-1", "replace")  # type: ignore[attr-defined]
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            reply = connection.getresponse()
            return reply.status, reply.read()
        finally:
            connection.close()


def _commit(path: str, content: bytes) -> bytes:
    value = {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}
    lines = [{"key": "header", "value": {"summary": "Add"}}, {"key": "file", "value": value}]
    return "\n".join(json.dumps(line) for line in lines).encode()


BENCHMARK = Benchmark(
    name="hub_fuzz",
    topic="hub: safety",
    bar="schemathesis on /api/v1, and hostile paths, NDJSON, shards and xorbs, for 10 minutes: no 500, no "
    "traceback in a reply or in the log, and what was there stays",
    seconds_quick=60,
    seconds_full=660,
    measure=measure,
)

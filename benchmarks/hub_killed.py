"""Sixty-four clients read and commit at once while the server is killed twice: what holds afterwards.

Every client has a repository of its own in which it commits a small file, a large one by LFS, or a file that
replaces one, each under a name and with content that follow from a number; it reads back from its own and
from others' repositories, and now and then tries what it may not: another's private repository. The server is
ended by SIGKILL, as a power cut would, and started again at the same address; a request that was not answered
is sent again.

At the end, after one more start:

    every commit that was answered is in the history, once, and none is there that was not asked for
    every file of every revision has the content that its number says: no lost and no half commit
    no answer of a private repository's bytes or names was ever given to somebody else

Not covered: power cuts that lose what a disk said it had written, and clients on other machines.
"""

import base64
import hashlib
import json
import random
import tempfile
import threading
import time
from collections import Counter
from typing import Any

import httpx

from benchmarks.hub_process import HubPlaces, HubProcess
from benchmarks.registry import Benchmark, Outcome

NUM_CLIENTS = 64
NUM_KILLS = 2
LARGE_BYTES = 200_000
PATIENCE_SECONDS = 120.0
OWNERS = ("ada", "ben", "eve", "root")


def measure(quick: bool) -> Outcome:
    """Clients for some time, two kills, and the reckoning."""
    seconds = 20.0 if quick else 120.0
    with tempfile.TemporaryDirectory() as folder, HubProcess(HubPlaces(folder=folder)) as hub:
        clients = [Worker(hub, number) for number in range(NUM_CLIENTS)]
        over = threading.Event()
        threads = [threading.Thread(target=each.work, args=(over,), daemon=True) for each in clients]
        for each in clients:
            each.begin()
        for thread in threads:
            thread.start()
        began = time.monotonic()
        down = [_kill_at(hub, began + seconds * (kill + 1) / (NUM_KILLS + 1)) for kill in range(NUM_KILLS)]
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        over.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
        hub.kill()
        hub.start()
        problems = [problem for each in clients for problem in (*each.problems, *each.reckon())]
        problems += ["a client did not come to its end" for thread in threads if thread.is_alive()]
        log = hub.log.read_text()
    latencies = sorted(each for client in clients for each in client.seconds)
    values: dict[str, Any] = {
        "clients": NUM_CLIENTS,
        "seconds": seconds,
        "kills": NUM_KILLS + 1,
        "commits": sum(len(each.answered) for each in clients),
        "reads": sum(each.counts["read"] for each in clients),
        "refusals": sum(each.counts["refused"] for each in clients),
        "sent_again": sum(each.counts["again"] for each in clients),
        "answered_busy": sum(each.counts["busy"] for each in clients),
        "median_seconds": round(latencies[len(latencies) // 2], 3),
        "p95_seconds": round(latencies[int(0.95 * len(latencies))], 3),
        "start_seconds": round(max(down), 1),
        "tracebacks_in_log": log.count("Traceback"),
        "problems": len(problems),
        "first_problem": problems[0] if problems else None,
    }
    is_met = not problems and values["commits"] > NUM_CLIENTS and values["tracebacks_in_log"] == 0
    return Outcome(values=values, seeds=(0,), met=is_met)


def _kill_at(hub: HubProcess, when: float) -> float:
    """Kill the server at a time and start it again; seconds until it answered."""
    time.sleep(max(0.0, when - time.monotonic()))
    began = time.monotonic()
    hub.kill()
    hub.start()
    return time.monotonic() - began


class Worker:
    """One client, the repository that it alone writes to, and what it knows of what must be in there."""

    def __init__(self, hub: HubProcess, number: int) -> None:
        self.number = number
        self.owner = OWNERS[number % len(OWNERS)]
        self.is_private = number % 2 == 0
        self.name = f"{self.owner}/work-{number}"
        self.answered: dict[int, str] = {}
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        self.seconds: list[float] = []
        self._rng = random.Random(number)
        self._token = hub.tokens[self.owner]
        self._client = httpx.Client(base_url=hub.url, timeout=60)

    def begin(self) -> None:
        """Make the repository."""
        body = {"name": self.name.partition("/")[2], "private": self.is_private}
        self._send("POST", "/api/repos/create", json=body)

    def work(self, over: threading.Event) -> None:
        """Commit and read until it is over."""
        step = 0
        while not over.is_set():
            try:
                self._commit(step)
                self._read_own(self._rng.randrange(step + 1))
                self._read_others()
            except Exception as error:
                self.problems.append(f"{self.name} step {step}: {error!r}")
                return
            step += 1

    def reckon(self) -> list[str]:
        """What is not as it must be."""
        wanted = {f"Step {step}" for step in self.answered}
        titles = self._history()
        found = [title for title, count in Counter(titles).items() if count > 1]
        problems = [f"{self.name} has {title!r} twice" for title in found]
        problems += [f"{self.name} lost {each!r}" for each in wanted - set(titles)]
        # The last one may have been made without its answer having come.
        allowed = wanted | {"initial commit", f"Step {len(self.answered)}"}
        problems += [f"{self.name} has {each!r}, which nobody asked for" for each in set(titles) - allowed]
        tree = self._send("GET", f"/api/models/{self.name}/tree/main?recursive=true").json()
        there = {each["path"] for each in tree if each["type"] == "file"} - {".gitattributes"}
        steps = max((int(title.split()[1]) for title in titles if title.startswith("Step")), default=-1) + 1
        expected = {path: content for step in range(steps) for path, content in self.files_of(step).items()}
        if there != set(expected):
            problems.append(f"{self.name} has {len(there)} files and not {len(expected)}")
        for path in sorted(there & set(expected)):
            if self._send("GET", f"/{self.name}/resolve/main/{path}").content != expected[path]:
                problems.append(f"{self.name} has other bytes in {path}")
        return problems

    def files_of(self, step: int) -> dict[str, bytes]:
        """What a step's commit holds; one file is replaced by every step."""
        content = hashlib.sha256(f"{self.number} {step}".encode()).digest()
        files = {f"small/{step}.txt": content.hex().encode(), "newest.txt": content}
        if step % 4 == 0:
            files[f"large/{step}.bin"] = content * (LARGE_BYTES // 32)
        return files

    def _commit(self, step: int) -> None:
        lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": f"Step {step}"}}]
        for path, content in self.files_of(step).items():
            if path.startswith("large/"):
                oid = self._upload(content)
                value = {"path": path, "algo": "sha256", "oid": oid, "size": len(content)}
                lines.append({"key": "lfsFile", "value": value})
            else:
                text = base64.b64encode(content).decode()
                lines.append({"key": "file", "value": {"path": path, "content": text, "encoding": "base64"}})
        body = "\n".join(json.dumps(line) for line in lines).encode()
        reply = self._send("POST", f"/api/models/{self.name}/commit/main", content=body)
        self.answered[step] = reply.json()["commitOid"]

    def _upload(self, content: bytes) -> str:
        oid = hashlib.sha256(content).hexdigest()
        asked = {"operation": "upload", "objects": [{"oid": oid, "size": len(content)}]}
        said = self._send("POST", f"/{self.name}.git/info/lfs/objects/batch", json=asked).json()
        actions = said["objects"][0].get("actions")
        if actions is not None:
            path = actions["upload"]["href"].removeprefix(str(self._client.base_url).rstrip("/"))
            self._send("PUT", path, content=content)
        return oid

    def _read_own(self, step: int) -> None:
        path = f"small/{step}.txt"
        content = self._send("GET", f"/{self.name}/resolve/main/{path}").content
        self.counts["read"] += 1
        if content != self.files_of(step)[path]:
            self.problems.append(f"{self.name} gave other bytes of {path}")

    def _read_others(self) -> None:
        other = self._rng.randrange(NUM_CLIENTS)
        name = f"{OWNERS[other % len(OWNERS)]}/work-{other}"
        is_hidden = other % 2 == 0 and self.owner not in (name.partition("/")[0], "root")
        paths = (
            f"/{name}/resolve/main/newest.txt",
            f"/api/models/{name}/tree/main",
            "/api/models?limit=1000",
        )
        for path in paths:
            reply = self._send("GET", path, may_be=(200, 404))
            self.counts["refused" if reply.status_code == 404 else "read"] += 1
            if is_hidden and (name in reply.text if path == paths[2] else reply.status_code == 200):
                self.problems.append(f"{self.owner} was shown {path}, which is private")

    def _history(self) -> list[str]:
        titles, path = [], f"/api/models/{self.name}/commits/main?limit=1000"
        while path:
            reply = self._send("GET", path)
            titles += [each["title"] for each in reply.json()]
            following = reply.links.get("next", {}).get("url", "")
            path = following.removeprefix(str(self._client.base_url).rstrip("/"))
        return titles

    def _send(
        self, method: str, path: str, *, may_be: tuple[int, ...] = (200,), **given: Any
    ) -> httpx.Response:
        """Send until it is answered; a server that is away or busy is asked again."""
        headers = {"Authorization": f"Bearer {self._token}"}
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            began = time.monotonic()
            try:
                reply = self._client.request(method, path, headers=headers, **given)
            except httpx.TransportError:
                self.counts["again"] += 1
            else:
                if reply.status_code in may_be:
                    self.seconds.append(time.monotonic() - began)
                    return reply
                # Made by a request whose answer was lost.
                if reply.status_code == 409 and path == "/api/repos/create":
                    return reply
                if reply.status_code != 503:
                    raise RuntimeError(f"{method} {path}: {reply.status_code} {reply.text[:300]}")
                self.counts["busy"] += 1
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{method} {path} was not answered for {PATIENCE_SECONDS:g} s")
            time.sleep(0.1 + self._rng.random() / 5)


BENCHMARK = Benchmark(
    name="hub_killed",
    topic="hub: safety",
    bar="64 clients read and commit for 2 minutes while the server is killed twice: no lost or half commit, "
    "no byte of another's private repository",
    seconds_quick=60,
    seconds_full=240,
    measure=measure,
)

"""A hub with 1,000 repositories and 100,000 files answers its listings: how long, and how that grows.

Over HTTP on loopback, one request after the other from one client with a token, against a server with a
database that it has just opened. Every kind of request is made of many repositories in random order, so that
no answer is one that was just given. `tree` lists 100 files in five folders, recursively; the folder of
20,000 files is a repository of its own, listed by pages of 1,000, and of 100 for people.

Not covered: many clients at once (`hub_killed`), and what a browser does with the answers.
"""

import http.client
import random
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from ayni.hub import catalogue, commits
from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_sha1
from ayni.hub.repository import Visibility
from ayni.signing import sha256_hex
from benchmarks.hub_process import HubPlaces, HubProcess
from benchmarks.registry import Benchmark, Outcome

FILES_PER_REPOSITORY = 80
LARGEST_FOLDER_FILES = 20_000
# Of a folder for people, where a quick run makes it of a tenth.
LEAST_PAGES = LARGEST_FOLDER_FILES // 10 // 100
MOST_P95_SECONDS = 0.05
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("digits", "speech", "protein", "river", "weather", "chess", "verbs", "leaf", "quartz", "tide")
CONTENT = b"x"


def measure(quick: bool) -> Outcome:
    """The whole hub, and before it smaller ones for the table of growth."""
    sizes = (30, 100) if quick else (10, 100, 1_000)
    num_requests = 40 if quick else 200
    table: dict[int, dict[str, dict[str, float]]] = {}
    for num_repositories in sizes:
        with tempfile.TemporaryDirectory() as folder:
            places = HubPlaces(folder=folder)
            is_largest = num_repositories == sizes[-1]
            hub = HubProcess(places)
            fill(places, num_repositories, LARGEST_FOLDER_FILES // (10 if quick else 1) if is_largest else 0)
            with hub:
                table[num_repositories] = _measured(
                    hub, num_repositories, num_requests, with_folder=is_largest
                )
    last = table[sizes[-1]]
    num_files = sizes[-1] * FILES_PER_REPOSITORY + LARGEST_FOLDER_FILES // (10 if quick else 1)
    values: dict[str, Any] = {"repositories": sizes[-1], "files": num_files, "requests_each": num_requests}
    for name, found in last.items():
        values[f"{name}_p95_ms"] = found["p95"]
        values[f"{name}_median_ms"] = found["median"]
    values["p95_ms_by_repositories"] = {
        str(number): {name: found["p95"] for name, found in row.items()} for number, row in table.items()
    }
    is_met = all(found["p95"] <= MOST_P95_SECONDS * 1e3 for found in last.values())
    return Outcome(values=values, seeds=(0,), met=is_met)


def fill(places: HubPlaces, num_repositories: int, num_in_folder: int) -> None:
    """Make repositories by the same functions that a commit goes through, in few transactions."""
    storage = places.storage()
    database, content = storage.database, storage.objects
    with content.writer() as writer:
        writer.write(CONTENT)
        writer.finish()
    entry = TreeEntry(
        name="file",
        mode=FILE_MODE,
        git_sha1=blob_sha1(CONTENT),
        sha256=sha256_hex(CONTENT),
        size_bytes=len(CONTENT),
    )

    def add(name: str, paths: list[str], number: int) -> None:
        when = BEGAN + timedelta(minutes=number)
        visibility: Visibility = "private" if number % 3 == 0 else "public"
        with database.transaction() as connection:
            made = catalogue.create(connection, "model", name, visibility=visibility, when=when)
            request = commits.CommitRequest(
                changes=dict.fromkeys(paths, entry), message="Add files", author="ada", when=when
            )
            commits.commit(connection, made, request)

    for number in range(num_repositories):
        paths = [f"part-{each // 20}/{number}-{each}.txt" for each in range(FILES_PER_REPOSITORY)]
        add(repository_name(number), paths, number)
    if num_in_folder:
        add("lab/folder", [f"all/{each:06d}.txt" for each in range(num_in_folder)], 1)
    database.close()


def repository_name(number: int) -> str:
    """What the repository with a number is called."""
    return f"lab/{WORDS[number % len(WORDS)]}-{number:04d}"


def _measured(
    hub: HubProcess, num_repositories: int, num_requests: int, *, with_folder: bool
) -> dict[str, dict[str, float]]:
    rng = random.Random(0)

    def name() -> str:
        return repository_name(rng.randrange(num_repositories))

    asked: dict[str, Callable[[], str]] = {
        "list": lambda: (
            f"/api/models?limit=100&sort={rng.choice(['lastModified', 'downloads', 'createdAt'])}"
        ),
        "search": lambda: f"/api/models?limit=100&search={rng.choice(WORDS)}-{rng.randrange(10)}",
        "search_name": lambda: f"/api/models?search={urllib.parse.quote(name())}",
        "author": lambda: "/api/models?author=lab&limit=100&full=False",
        "tree": lambda: f"/api/models/{name()}/tree/main?recursive=true",
        "tree_expanded": lambda: f"/api/models/{name()}/tree/main?expand=true",
        "info": lambda: f"/api/models/{name()}",
        "head_of_file": lambda: f"/{(one := name())}/resolve/main/part-0/{int(one[-4:])}-0.txt",
    }
    if with_folder:
        asked["folder_page"] = lambda: "/api/models/lab/folder/tree/main/all?limit=1000"
        asked["folder_for_people"] = lambda: f"/lab/folder/tree/main/all?p={1 + rng.randrange(LEAST_PAGES)}"
    connection = http.client.HTTPConnection("127.0.0.1", int(hub.url.rsplit(":", 1)[1]))
    found = {}
    for kind, path in asked.items():
        _seconds(connection, hub, path(), kind)  # opens what is opened once
        seconds = sorted(_seconds(connection, hub, path(), kind) for _ in range(num_requests))
        found[kind] = {
            "median": round(seconds[len(seconds) // 2] * 1e3, 2),
            "p95": round(seconds[int(0.95 * len(seconds))] * 1e3, 2),
        }
    return found


def _seconds(connection: http.client.HTTPConnection, hub: HubProcess, path: str, kind: str) -> float:
    began = time.perf_counter()
    method = "HEAD" if kind == "head_of_file" else "GET"
    connection.request(method, path, headers={"Authorization": f"Bearer {hub.tokens['ben']}"})
    reply = connection.getresponse()
    body = reply.read()
    seconds = time.perf_counter() - began
    if reply.status != 200 or (method == "GET" and len(body) < 2):
        raise RuntimeError(f"{path} answered {reply.status}: {body[:200]!r}")
    return seconds


BENCHMARK = Benchmark(
    name="hub_listing",
    topic="hub: listings",
    bar="1,000 repositories with 100,000 files: lists, searches and trees within 50 ms in 95 of 100 requests",
    seconds_quick=30,
    seconds_full=180,
    measure=measure,
)

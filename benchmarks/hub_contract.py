"""Real clients of the Hugging Face Hub, unmodified, walk every call that a hub must answer, against ours.

Three versions of `huggingface_hub`, each in an environment of its own, walk the checks of `hub_client/` in
three ways: large files by LFS, by chunks (Xet) both ways, and by chunks from a server that knows only the
first version of their addresses. The server notes what it was asked, so that a call counts when the client
really made it (`hub_calls.py`), no check failed, and nothing was answered by 500.

Not covered: browsers, `git lfs`, and what a client does that no check here asks of it.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ayni.server.routes.table import ROUTES
from benchmarks.hub_calls import CALLS, calls_made
from benchmarks.hub_process import HubPlaces, HubProcess
from benchmarks.peer_runs import python_with
from benchmarks.registry import HERE, Benchmark, Outcome

Mode = Literal["lfs", "chunks", "chunks-1"]
CLIENTS: Mapping[str, tuple[str, ...]] = {
    "0.36.2": ("huggingface_hub==0.36.2", "hf-xet==1.8.0"),
    "1.33.0": ("huggingface_hub==1.33.0", "hf-xet==1.8.0"),
    "newest": ("huggingface_hub", "hf-xet"),
}
FEATURES = {
    "discussions": "/api/{kind}/{repo}/discussions",
    "likes": "/api/{kind}/{repo}/like",
    "leaderboards": "/api/{kind}/{repo}/leaderboard",
    "device logins": "/oauth/device",
}
"""What a hub may be built without, and an address that tells."""
# By which a file of chunks is fetched; a client that was told of one address does not ask for the other.
OTHER_VERSION = "/cas/v2/"
WALK_SECONDS = 300.0


@dataclass(slots=True)
class Walk:
    """What one client did in one mode, or in several."""

    client: str
    num_checks: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    calls: dict[str, set[int]] = field(default_factory=dict)

    def add(self, other: "Walk") -> None:
        """Take in what was done in another mode."""
        self.num_checks += other.num_checks
        self.failed |= other.failed
        for name, statuses in other.calls.items():
            self.calls.setdefault(name, set()).update(statuses)

    def missing(self) -> list[str]:
        """Calls of the table that the client did not make, where the hub has what they need."""
        there = features()
        wanted = [call.name for call in CALLS if call.needs == "repositories" or call.needs in there]
        return [name for name in wanted if name not in self.calls]

    def broken(self) -> list[str]:
        """Calls that the server answered by an error of its own."""
        return sorted(name for name, statuses in self.calls.items() if max(statuses) >= 500)


def features() -> set[str]:
    """What this hub has of that which not every hub has."""
    patterns = {route.pattern for route in ROUTES}
    return {name for name, pattern in FEATURES.items() if pattern in patterns}


def python_of_client(name: str) -> Path:
    """The interpreter of a client's environment, made when it is not there."""
    return python_with(f"hub-client-{name}", *CLIENTS[name])


def walk(name: str, mode: Mode, folder: Path, python: Path) -> Walk:
    """Walk all calls with one client in one way, against a server of its own.

    Raises:
        RuntimeError: the walk broke off.
    """
    places = HubPlaces(
        folder=str(folder / "hub"),
        offers_xet_reads=mode != "lfs",
        without=(OTHER_VERSION,) if mode == "chunks-1" else (),
        notes_requests=True,
    )
    with HubProcess(places) as hub:
        environment = hub.client_environment(
            folder / "home",
            AYNI_WALK_FOLDER=str(folder / "walk"),
            AYNI_WALK_TOKENS=json.dumps(hub.tokens),
            AYNI_WALK_MODE=mode,
            AYNI_WALK_FEATURES=",".join(sorted(features())),
            PYTHONPATH=str(HERE.parent),
        )
        # A token of the environment would be sent where a check sends none.
        environment.pop("HF_TOKEN")
        if mode == "lfs":
            environment["HF_HUB_DISABLE_XET"] = "1"
        done = subprocess.run(
            [str(python), "-m", "benchmarks.hub_client"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WALK_SECONDS,
        )
        log = hub.log.read_text()
        requests = hub.requests()
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"check"')]
    if done.returncode != 0:
        raise RuntimeError(f"{name} {mode} broke off after {len(found)} checks: {done.stderr[-3000:]}")
    failed = {f"{mode}: {each['check']}": each["problem"] for each in found if each["problem"]}
    if "Traceback" in log:
        failed[f"{mode}: the server's log"] = log[-3000:]
    return Walk(client=name, num_checks=len(found), failed=failed, calls=calls_made(requests))


def walk_all(name: str, folder: Path) -> Walk:
    """All modes of one client."""
    python = python_of_client(name)
    total = Walk(client=name)
    for mode in modes(name):
        (folder / mode).mkdir(parents=True)
        total.add(walk(name, mode, folder / mode, python))
    return total


def modes(name: str) -> Iterator[Mode]:
    """The ways in which a client walks: how chunks are sent does not depend on its own version."""
    for mode in get_args(Mode):
        if mode != "chunks-1" or name != "0.36.2":
            yield mode


def measure(quick: bool) -> Outcome:
    """All clients, or in the quick form the newest."""
    values: dict[str, Any] = {"calls_in_table": len(CALLS), "hub_has": sorted(features())}
    is_met = len(features()) == len(FEATURES)
    made: set[str] = set()
    for name in list(CLIENTS)[-1:] if quick else CLIENTS:
        with tempfile.TemporaryDirectory() as folder:
            found = walk_all(name, Path(folder))
        made |= set(found.calls)
        values |= {
            f"{name}_checks": found.num_checks,
            f"{name}_failed_checks": sorted(found.failed),
            f"{name}_calls_made": len(found.calls),
            f"{name}_calls_not_made": found.missing(),
            f"{name}_calls_broken": found.broken(),
        }
        is_met &= not found.failed and not found.broken() and (name != "newest" or not found.missing())
    values["calls_made_by_any"] = len(made)
    return Outcome(values=values, seeds=(0,), met=is_met)


BENCHMARK = Benchmark(
    name="hub_contract",
    topic="hub: clients",
    bar="huggingface_hub 0.36.2, 1.33.0 and the newest, unmodified, each in its own environment: every call "
    "marked must or should is made, and every check of its outcome passes",
    seconds_quick=60,
    seconds_full=240,
    measure=measure,
)

"""A hub in a process of its own, with members and tokens, that real clients can be pointed at.

    root        administers the hub              ada         admin of the organisation `lab`
    ben         reads what `lab` has             eve         belongs to nobody
    ada-reads   a token of Ada's with the scope read

It is put together as `ayni serve` does it. Started again in the same folder it goes on with what is there, at
the same address.

Not covered: TLS, and several processes over one database.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ayni.hub import members, tokens
from ayni.server.app import HubApp, make_app
from ayni.server.uvicorn_process import run
from ayni.settings import read_settings
from ayni.wiring.hub_storage import HubStorage
from ayni.wiring.installation import Installation
from ayni.wiring.serve import served_hub

ORGANISATION = "lab"
START_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPlaces:
    """Where a hub keeps what it has, and how.

    Attributes:
        folder: the home of the installation; database and objects are in it unless said otherwise.
        database_url: of another database than a SQLite file.
        objects_url: of another place for objects and xorbs.
        is_encrypted: whether objects are encrypted, by a key in a file beside them.
        offers_xet_reads: whether clients are told to download by chunks.
        without: beginnings of paths that this server does not know, as an older one.
        notes_requests: whether `requests()` has something to tell.
    """

    folder: str
    database_url: str | None = None
    objects_url: str | None = None
    is_encrypted: bool = False
    offers_xet_reads: bool = False
    without: tuple[str, ...] = ()
    notes_requests: bool = False

    @property
    def environment(self) -> dict[str, str]:
        """The settings of an installation that keeps its hub there."""
        said = {"AYNI_HOME": self.folder}
        if self.database_url is not None:
            said["AYNI_DATABASE_URL"] = self.database_url
        if self.objects_url is not None:
            said["AYNI_OBJECTS_URL"] = self.objects_url
        if self.is_encrypted:
            said["AYNI_MASTER_KEY_FILE"] = str(Path(self.folder) / "master.keys")
        return said

    def storage(self) -> HubStorage:
        """What `ayni serve` has of an installation with these settings."""
        settings = read_settings(self.environment)
        return HubStorage(settings, lambda: Installation(settings).database)


def make_members(places: HubPlaces) -> dict[str, str]:
    """Make the members; their tokens by name."""
    now = datetime.now(UTC)
    database = places.storage().database
    with database.transaction() as connection:
        people = {
            name: members.add(connection, name, kind="user", now=now, is_admin=name == "root")
            for name in ("root", "ada", "ben", "eve")
        }
        organisation = members.add(connection, ORGANISATION, kind="organisation", now=now)
        members.set_role(connection, organisation, people["ada"], "admin")
        members.set_role(connection, organisation, people["ben"], "read")
        made = {
            name: tokens.issue(connection, member.id, name="first", scope="write", now=now)[1]
            for name, member in people.items()
        }
        _, made["ada-reads"] = tokens.issue(connection, people["ada"].id, name="reads", scope="read", now=now)
    database.close()
    return made


class HubProcess:
    """A hub that answers at `url` while its `with` block lasts; `tokens` are what its members send."""

    def __init__(self, places: HubPlaces, *, environment: Mapping[str, str] | None = None) -> None:
        self.places = places
        self.log = Path(places.folder) / "server.log"
        self._environment = {**os.environ, **(environment or {})}
        Path(places.folder).mkdir(parents=True, exist_ok=True)
        kept = Path(places.folder) / "tokens.json"
        if not kept.exists():
            kept.write_text(json.dumps(make_members(places)))
        self.tokens: dict[str, str] = json.loads(kept.read_text())
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "HubProcess":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server, and wait until it answers.

        Raises:
            RuntimeError: it does not.
        """
        words = [sys.executable, "-m", "benchmarks.hub_process", str(self._port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*words, json.dumps(asdict(self.places))],
                env=self._environment,
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parent.parent,
            )
        give_up_at = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"the hub does not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self.kill()

    def kill(self) -> None:
        """End it as a power cut would: it is not told."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Processor time that the server used since it started."""
        used = psutil.Process(self._process.pid).cpu_times()
        return float(used.user + used.system)

    def forget_memory_peak(self) -> None:
        """Let `memory_peak_bytes` begin anew."""
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def memory_peak_bytes(self) -> int:
        """The most memory that the server had resident; Linux only."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path with query as it was sent, and status of every answered request."""
        lines = _requests_file(self.places).read_text(encoding="latin-1").splitlines()
        return [(method, path, int(status)) for method, path, status in (line.split() for line in lines)]

    def client_environment(self, home: Path, *, token: str = "ada", **more: str) -> dict[str, str]:
        """What a Hugging Face client needs to be pointed here, with a home of its own and nothing else."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {
            **clean,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_TOKEN": self.tokens[token],
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **more,
        }

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running_hub(folder: Path, **given: Any) -> Iterator[HubProcess]:
    """A hub in a folder."""
    with HubProcess(HubPlaces(folder=str(folder), **given)) as hub:
        yield hub


def free_port() -> int:
    """A port of loopback that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _requests_file(places: HubPlaces) -> Path:
    return Path(places.folder) / "requests.txt"


class _Gate:
    """Hides some addresses of an application and notes what it is asked."""

    def __init__(self, app: HubApp, places: HubPlaces) -> None:
        self._app = app
        self._hidden = tuple(beginning.encode() for beginning in places.without)
        self._notes = _requests_file(places).open("ab", buffering=0) if places.notes_requests else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: bytes = scope["raw_path"]
        query = b"?" + scope["query_string"] if scope["query_string"] else b""
        status = 0

        async def noting_send(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        if path.startswith(self._hidden or (b"\0",)):
            await Response(status_code=404)(scope, receive, noting_send)
        else:
            await self._app(scope, receive, noting_send)
        if self._notes is not None:
            self._notes.write(b"%s %s %d\n" % (scope["method"].encode(), path + query, status))


def _serve(port: int, places: HubPlaces) -> None:
    storage, base_url = places.storage(), f"http://127.0.0.1:{port}"
    app = make_app(served_hub(storage, base_url=base_url, offers_xet_reads=places.offers_xet_reads))
    gated = _Gate(app, places) if places.without or places.notes_requests else app
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    run(gated, listening)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), HubPlaces(**json.loads(sys.argv[2])))

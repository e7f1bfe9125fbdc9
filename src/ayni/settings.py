"""Settings of an installation: the only reader of the environment.

| variable | meaning | default |
|---|---|---|
| AYNI_HOME | folder with all state: database, objects, keys, runs, hub | ~/.ayni |
| AYNI_OBJECTS_URL | where objects are stored; any URL that fsspec knows | the folder objects/ in AYNI_HOME |
| AYNI_DATABASE_URL | ledger and hub: postgresql://... or sqlite:///... | the file state.db in AYNI_HOME |

What belongs to one job is in its job.yaml, never here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

VARIABLES = ("AYNI_HOME", "AYNI_OBJECTS_URL", "AYNI_DATABASE_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the state of this installation lives."""

    home: Path
    objects_url: str
    database_url: str | None = None

    @property
    def database(self) -> Path | str:
        """Ledger and hub: the URL that was given, or a SQLite file."""
        return self.database_url or self.home / "state.db"

    @property
    def key_path(self) -> Path:
        """The key that signs receipts (mode 0600)."""
        return self.home / "keys" / "signing.pem"

    @property
    def runs_folder(self) -> Path:
        """One folder for each run."""
        return self.home / "runs"

    @property
    def hub_folder(self) -> Path:
        """The published repositories as plain folders."""
        return self.home / "hub"

    @property
    def spill_folder(self) -> Path:
        """Where learners keep their optimizer state between rounds, on their own machine."""
        return self.home / "spill"


def read_settings(environ: Mapping[str, str] | None = None, *, home: Path | None = None) -> Settings:
    """Settings from the environment; `home` given by the caller wins over AYNI_HOME."""
    environ = os.environ if environ is None else environ
    chosen = home or Path(environ.get("AYNI_HOME") or Path.home() / ".ayni")
    resolved = chosen.expanduser().resolve()
    return Settings(
        home=resolved,
        objects_url=environ.get("AYNI_OBJECTS_URL") or (resolved / "objects").as_uri(),
        database_url=environ.get("AYNI_DATABASE_URL") or None,
    )

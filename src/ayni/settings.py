"""Settings of an installation: the only reader of the environment.

| variable | meaning | default |
|---|---|---|
| AYNI_HOME | folder with all state: database, objects, keys, runs, hub | ~/.ayni |
| AYNI_OBJECTS_URL | where objects are stored; any URL that fsspec knows | the folder objects/ in AYNI_HOME |
| AYNI_ELECTRICITY_MAPS_TOKEN | your token of Electricity Maps; used only where a command says --live | none |
| AYNI_ELECTRICITY_MAPS_URL | where its API is, for a proxy of your own | its public address |
| AYNI_DATABASE_URL | ledger and hub: postgresql://... or sqlite:///... | the file state.db in AYNI_HOME |
| AYNI_MASTER_KEY_FILE | a file with master keys, made on first use: encrypts what is published | none |
| AYNI_MASTER_KEYS | the same keys in the variable itself, separated by commas | none |
| AYNI_MASTER_KEY_SERVICE | the same by a key service: package.module:name of what makes its adapter | none |
| AYNI_HUB_URL | the hub where jobs publish and `ayni hub` works | the hub in AYNI_HOME |
| AYNI_HUB_TOKEN | your token there | none |
| AYNI_HUB_KNOWN_SIGNERS | a file with public keys whose signatures the hub vouches for | none |

What belongs to one job is in its job.yaml, never here.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

VARIABLES = (
    "AYNI_HOME",
    "AYNI_OBJECTS_URL",
    "AYNI_ELECTRICITY_MAPS_TOKEN",
    "AYNI_ELECTRICITY_MAPS_URL",
    "AYNI_DATABASE_URL",
    "AYNI_MASTER_KEY_FILE",
    "AYNI_MASTER_KEYS",
    "AYNI_MASTER_KEY_SERVICE",
    "AYNI_HUB_URL",
    "AYNI_HUB_TOKEN",
    "AYNI_HUB_KNOWN_SIGNERS",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the state of this installation lives, and what it may ask over the network if told to.

    `electricity_maps_token` is None where there is none; it is never shown. `electricity_maps_url` is None
    for the public address. One of the three `master_key` settings encrypts the hub's objects; without any
    they lie open. `hub_url` is None for the hub in `home`.
    """

    home: Path
    objects_url: str
    electricity_maps_token: str | None = field(default=None, repr=False)
    electricity_maps_url: str | None = None
    database_url: str | None = None
    master_key_file: Path | None = None
    master_keys: str | None = field(default=None, repr=False)
    master_key_service: str | None = None
    hub_url: str | None = None
    hub_token: str | None = field(default=None, repr=False)
    hub_known_signers: Path | None = None

    @property
    def database(self) -> Path | str:
        """Ledger and hub: the URL that was given, or a SQLite file."""
        return self.database_url or self.home / "state.db"

    @property
    def key_path(self) -> Path:
        """The key that signs receipts (mode 0600)."""
        return self.home / "keys" / "signing.pem"

    @property
    def hub_secret_path(self) -> Path:
        """What signs the links of the hub (mode 0600)."""
        return self.home / "keys" / "hub.secret"

    @property
    def xorbs_url(self) -> str:
        """Where chunks of published files are stored, beside the objects."""
        return f"{self.objects_url.rstrip('/')}/xorbs"

    @property
    def runs_folder(self) -> Path:
        """One folder for each run."""
        return self.home / "runs"

    @property
    def hub_folder(self) -> Path:
        """The published repositories as plain folders."""
        return self.home / "hub"

    @property
    def hub_copies_folder(self) -> Path:
        """What was fetched from the hub at `hub_url`, as plain folders."""
        return self.home / "hub-copies"

    @property
    def meters_folder(self) -> Path:
        """What was set up for this node's meters: its wall meter and its calibration."""
        return self.home / "meters"

    @property
    def footprint_folder(self) -> Path:
        """One folder for each measurement that no job was made for."""
        return self.home / "footprint"

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
        electricity_maps_token=environ.get("AYNI_ELECTRICITY_MAPS_TOKEN") or None,
        electricity_maps_url=environ.get("AYNI_ELECTRICITY_MAPS_URL") or None,
        database_url=environ.get("AYNI_DATABASE_URL") or None,
        master_key_file=_path(environ.get("AYNI_MASTER_KEY_FILE")),
        master_keys=environ.get("AYNI_MASTER_KEYS") or None,
        master_key_service=environ.get("AYNI_MASTER_KEY_SERVICE") or None,
        hub_url=(environ.get("AYNI_HUB_URL") or "").rstrip("/") or None,
        hub_token=(environ.get("AYNI_HUB_TOKEN") or "").strip() or None,
        hub_known_signers=_path(environ.get("AYNI_HUB_KNOWN_SIGNERS")),
    )


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser().resolve() if text else None


def environment_of_children() -> dict[str, str]:
    """What a command that Ayni starts for a person inherits: all variables, as if it was started by hand."""
    return dict(os.environ)


def forbid_update_checks() -> None:
    """Keep libraries that would ask the network for newer versions when they are imported from doing so."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

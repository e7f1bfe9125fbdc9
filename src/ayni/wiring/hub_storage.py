"""The hub's storage from settings: database, objects, chunks, keys and the secret of links.

What is published in process and what a server answers come from here, so that both see the same.
"""

import importlib
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ayni.errors import MissingExtraError, UserError
from ayni.files import create_atomically, explain_os_errors, make_folder
from ayni.settings import Settings

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ayni.database import Database
    from ayni.hub.commits import CommitHooks
    from ayni.hub.content import ContentStore
    from ayni.hub.master_keys import MasterKeys
    from ayni.hub.sealing import Store
    from ayni.hub.xet.store import XetStore

OBJECTS, XORBS = "objects", "xorbs"
_SECRET_BYTES = 32
_KEY_SETTINGS = ("AYNI_MASTER_KEY_FILE", "AYNI_MASTER_KEYS", "AYNI_MASTER_KEY_SERVICE")


class SeveralMasterKeysError(UserError):
    """Master keys are named in more than one way."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"{' and '.join(names)} are set; one of them at most says where master keys are.")


class KeyServiceError(UserError):
    """AYNI_MASTER_KEY_SERVICE names nothing that wraps keys."""

    def __init__(self, named: str, reason: str) -> None:
        self.named = named
        super().__init__(
            f"AYNI_MASTER_KEY_SERVICE={named!r} cannot be used: {reason}. It names a function without "
            "arguments as package.module:function, which returns an object with newest_id, wrap and unwrap "
            "(docs/hub.md has one)."
        )


class DamagedSecretError(UserError):
    """The file with the hub's secret holds something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"{path} does not hold {_SECRET_BYTES} bytes as hexadecimal digits. Remove it: a new one is "
            "made, and links that were handed out end."
        )


class HubStorage:
    """Where the hub of one installation keeps everything; opened when it is first asked for.

    Args:
        settings: of the installation.
        database: opens the database.
        now: the clock.
    """

    def __init__(
        self,
        settings: Settings,
        database: "Callable[[], Database]",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = settings
        self.now = now
        self._open_database = database

    @cached_property
    def database(self) -> "Database":
        """Rows."""
        return self._open_database()

    @cached_property
    def master_keys(self) -> "MasterKeys | None":
        """What encrypts objects; None where they lie open."""
        return master_keys(self.settings)

    @cached_property
    def objects(self) -> "Store":
        """Bytes, without the files that are made of chunks."""
        from ayni.hub.sealing import open_store

        url = self.settings.objects_url
        return open_store(self.database, OBJECTS, url, self.master_keys, now=self.now())

    @cached_property
    def xorbs(self) -> "Store":
        """Where chunks are."""
        from ayni.hub.sealing import open_store

        url = self.settings.xorbs_url
        return open_store(self.database, XORBS, url, self.master_keys, now=self.now())

    @cached_property
    def content(self) -> "ContentStore":
        """Bytes, with the files that are made of chunks."""
        from ayni.hub.xet.chunk_reader import ChunkReader
        from ayni.hub.xet.contents import XetContents

        return XetContents(self.objects, self.database, ChunkReader(self.database, self.xorbs))

    def xet(self, *, offers_reads: bool = False) -> "XetStore":
        """The store of chunks; `offers_reads` tells clients to download by them."""
        import hashlib

        from ayni.hub.xet.store import XetStore

        # One secret for two purposes: neither may be had from what the other is used for.
        secret = hashlib.sha256(b"ayni xet\0" + self.secret).digest()
        return XetStore.over(self.database, self.xorbs, secret=secret, offers_reads=offers_reads)

    @cached_property
    def secret(self) -> bytes:
        """What signs links."""
        return read_or_make_secret(self.settings.hub_secret_path)

    def commit_hooks(self) -> "CommitHooks":
        """What looks at commits that are made in process, as the server does at its own."""
        from ayni.hub import evaluations, garbage, lineage, parameter_counts, policies, pull_requests
        from ayni.hub.card_index import indexing
        from ayni.hub.commits import CommitHooks
        from ayni.hub.content_safety import Guard

        return CommitHooks(
            before=(
                garbage.keeping(self.content),
                Guard(database=self.database, content=self.content, policy_of=policies.policy_of),
            ),
            after=(
                indexing(self.content),
                lineage.following(self.content),
                evaluations.following(self.content),
                parameter_counts.counting(),
                pull_requests.noting_commits(),
                self._sign_log,
            ),
        )

    def _sign_log(self, connection: "sa.Connection", *_: object) -> None:
        from ayni.hub import commit_log
        from ayni.signing import load_or_create_key

        commit_log.sign_newest(connection, load_or_create_key(self.settings.key_path), now=self.now())

    def encrypt(self) -> int:
        """Encrypt objects and chunks that lie open; how many objects.

        Raises:
            UserError: no master key is set.
        """
        from ayni.hub.sealing import encrypt_store

        keys = self.master_keys
        if keys is None:
            raise NoMasterKeyError
        urls = self.settings.objects_url, self.settings.xorbs_url
        num_objects = encrypt_store(self.database, OBJECTS, urls[0], keys, now=self.now())
        return num_objects + encrypt_store(
            self.database, XORBS, urls[1], keys, now=self.now(), names_are_digests=False
        )


class NoMasterKeyError(UserError):
    """Something is to be done with master keys, and there are none."""

    def __init__(self) -> None:
        super().__init__(
            f"No master key is set, so objects lie open. Set one of {', '.join(_KEY_SETTINGS)} first; "
            "docs/hub.md says which is for what."
        )


def master_keys(settings: Settings) -> "MasterKeys | None":
    """The master keys that settings name; None without.

    Raises:
        SeveralMasterKeysError: more than one place.
        MasterKeysError, NotWritableError: the place holds something else.
        KeyServiceError: the adapter cannot be made.
    """
    given = (settings.master_key_file, settings.master_keys, settings.master_key_service)
    named = [name for name, value in zip(_KEY_SETTINGS, given, strict=True) if value is not None]
    if len(named) > 1:
        raise SeveralMasterKeysError(named)
    if not named:
        return None
    try:
        import cryptography  # noqa: F401 - a clear message before the first object
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="hub", package="cryptography") from error
    from ayni.hub.master_keys import FileMasterKeys, read_key_lines

    if settings.master_key_file is not None:
        return FileMasterKeys(settings.master_key_file)
    if settings.master_keys is not None:
        return read_key_lines(settings.master_keys, place="AYNI_MASTER_KEYS")
    keys: MasterKeys = _key_service(str(settings.master_key_service))
    return keys


def read_or_make_secret(path: Path) -> bytes:
    """The hub's secret, made on first use (mode 0600).

    Raises:
        DamagedSecretError: the file holds something else.
        NotWritableError: it cannot be read, or there is none and it cannot be written.
    """
    with explain_os_errors(path):
        if not path.exists():
            make_folder(path.parent, mode=0o700)
            create_atomically(path, secrets.token_hex(_SECRET_BYTES).encode() + b"\n", mode=0o600)
        text = path.read_bytes()
    try:
        secret = bytes.fromhex(text.decode().strip())
    except ValueError as error:
        raise DamagedSecretError(path) from error
    if len(secret) != _SECRET_BYTES:
        raise DamagedSecretError(path)
    return secret


def _key_service(named: str) -> "MasterKeys":
    module_name, separator, function_name = named.partition(":")
    if not separator:
        raise KeyServiceError(named, "there is no colon between module and function")
    try:
        made: MasterKeys = getattr(importlib.import_module(module_name), function_name)()
    except Exception as error:
        # The adapter is the operator's own code: whatever it raises belongs into the message.
        raise KeyServiceError(named, f"{type(error).__name__}: {error}") from error
    missing = [name for name in ("newest_id", "wrap", "unwrap") if not hasattr(made, name)]
    if missing:
        raise KeyServiceError(named, f"what it made has no {' and no '.join(missing)}")
    return made

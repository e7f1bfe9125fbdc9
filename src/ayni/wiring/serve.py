"""The composition root of `ayni serve`: settings become a hub that answers over HTTP.

check where to listen -> bind -> open database and objects -> first admin -> answer until a signal
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ayni.errors import MissingExtraError
from ayni.settings import read_settings
from ayni.wiring.hub_storage import HubStorage
from ayni.wiring.installation import Installation

if TYPE_CHECKING:
    from ayni.hub.callers import CallerSource
    from ayni.server.listening import Listening
    from ayni.server.served_hub import ServedHub

FIRST_ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What a server says when it begins to answer.

    Attributes:
        url: that links begin with, and that clients are told.
        admin: the name of the first admin.
        first_token: shown this once; None unless this was the first start.
        home: the folder of all state.
        objects_url: where bytes are.
        is_encrypted: whether they are encrypted.
    """

    url: str
    admin: str
    first_token: str | None
    home: Path
    objects_url: str
    is_encrypted: bool


def serve(
    listening: "Listening",
    *,
    started: Callable[[Serving], None],
    admin: str = FIRST_ADMIN,
    max_connections: int | None = None,
    offers_xet_reads: bool = False,
    home: Path | None = None,
) -> None:
    """Answer until a signal comes.

    Args:
        listening: where.
        started: called once requests are answered.
        admin: name of the admin that a first start makes.
        max_connections: above it requests are answered 503; None = no limit.
        offers_xet_reads: whether clients are told to download by chunks.
        home: folder of all state; AYNI_HOME by default.

    Raises:
        PublicBindError, NoAddressForLinksError, CertificateError, AddressInUseError: see `Listening`.
        UserError: a setting cannot be used.
    """
    try:
        from ayni.server.app import make_app
        from ayni.server.uvicorn_process import run
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="hub", package=error.name or "fastapi") from error
    from ayni.hub.first_start import make_first_admin

    listening.check()
    bound = listening.bind()
    try:
        storage = storage_of(home)
        base_url = listening.address_for_links(bound)
        hub = served_hub(storage, base_url=base_url, offers_xet_reads=offers_xet_reads)
        token = make_first_admin(storage.database, admin, now=storage.now())
    except BaseException:
        bound.close()
        raise
    said = Serving(
        url=base_url,
        admin=admin,
        first_token=token,
        home=storage.settings.home,
        objects_url=storage.settings.objects_url,
        is_encrypted=storage.master_keys is not None,
    )
    try:
        run(
            make_app(hub),
            bound,
            certificate=listening.certificate,
            private_key=listening.private_key,
            max_connections=max_connections,
            started=lambda: started(said),
        )
    finally:
        storage.database.close()


def storage_of(home: Path | None) -> HubStorage:
    """The storage of an installation's hub."""
    settings = read_settings(home=home)
    return HubStorage(settings, lambda: Installation(settings).database)


def served_hub(
    storage: HubStorage,
    *,
    base_url: str,
    offers_xet_reads: bool = False,
    callers: "CallerSource | None" = None,
) -> "ServedHub":
    """The hub as routes see it; who a token belongs to is in its database unless `callers` know."""
    from ayni.hub import garbage, policies, quotas
    from ayni.hub.commits import CommitHooks
    from ayni.hub.database_callers import DatabaseCallers
    from ayni.hub.known_signers import read_known_signers
    from ayni.hub.tickets import Tickets
    from ayni.server.served_hub import ServedHub
    from ayni.signing import load_or_create_key

    key = load_or_create_key(storage.settings.key_path)
    named = storage.settings.hub_known_signers
    signers = {} if named is None else read_known_signers(named)
    xet = storage.xet(offers_reads=offers_xet_reads)
    content = xet.contents(storage.objects)
    return ServedHub(
        database=storage.database,
        content=content,
        callers=callers or DatabaseCallers(storage.database, storage.now),
        tickets=Tickets(storage.secret),
        base_url=base_url,
        now=lambda: datetime.now(UTC),
        check_upload=quotas.check_upload,
        policy_of=policies.policy_of,
        # The key of this home signs what its jobs publish, so the hub can vouch for it.
        log_key=key,
        known_keys={**signers, key.public_key: "this hub"},
        commit_hooks=CommitHooks(before=(garbage.keeping(content),)),
        xet=xet,
    )

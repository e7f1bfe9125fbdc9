"""`ayni serve`: the hub over HTTP."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ayni.cli import terminal
from ayni.errors import MissingExtraError

if TYPE_CHECKING:
    from ayni.wiring.serve import Serving


def serve(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Others than this machine need TLS or a proxy.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 8000,
    url: Annotated[
        str | None, typer.Option(help="Address that clients see, for links; host and port by default.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy with TLS stands in front. Needs --url.")
    ] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate with its chain, as PEM. Needs --tls-key.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the certificate, as PEM.")] = None,
    max_connections: Annotated[
        int | None, typer.Option(min=1, help="Answer 503 above so many connections at once.")
    ] = None,
    xet_reads: Annotated[
        bool, typer.Option("--xet-reads", help="Tell clients to download large files by chunks.")
    ] = False,
    admin: Annotated[str, typer.Option(help="Name of the admin that the first start makes.")] = "admin",
) -> None:
    """Share models, data sets and code: a hub that speaks the Hugging Face Hub's API.

    Unmodified clients (`huggingface_hub`, `transformers`, `datasets`, `hf`) use it once `HF_ENDPOINT` names
    it. The first start makes an admin and prints its token, once. Ctrl-C or SIGTERM ends it in order. State
    is in `AYNI_HOME`; docs/hub.md is about proxies, TLS, PostgreSQL, S3, backups and encryption.

    For example:

    - `ayni serve`
    - `ayni serve --host 0.0.0.0 --tls-cert chain.pem --tls-key key.pem --url https://hub.example.org:8000`
    - `ayni serve --behind-proxy --url https://hub.example.org`
    """
    try:
        from ayni.server.listening import Listening
    except ModuleNotFoundError as error:
        raise MissingExtraError(extra="hub", package=error.name or "fastapi") from error
    from ayni.wiring import serve as wiring

    listening = Listening(
        host=host,
        port=port,
        url=url,
        is_behind_proxy=behind_proxy,
        certificate=tls_cert,
        private_key=tls_key,
    )
    wiring.serve(
        listening,
        started=_say,
        admin=admin,
        max_connections=max_connections,
        offers_xet_reads=xet_reads,
    )
    terminal.complain("Stopped.")


def _say(serving: "Serving") -> None:
    """The lines that a person needs; the token goes to standard output alone."""
    kept = "encrypted" if serving.is_encrypted else "not encrypted"
    terminal.complain(f"The hub answers at {serving.url} (state in {serving.home}, objects {kept}).")
    if serving.first_token is None:
        terminal.complain(
            f"Clients use it with HF_ENDPOINT={serving.url} and a token; who has none: "
            "ayni hub token create USER"
        )
        return
    terminal.complain(
        f"First start: the user {serving.admin} was made. Its token is shown only now; keep it, and copy:\n"
    )
    typer.echo(f"export HF_ENDPOINT={serving.url}\nexport HF_TOKEN={serving.first_token}")
    terminal.complain("\nThen, for example: hf auth whoami; hf upload NAME FOLDER; ayni hub user add ada")

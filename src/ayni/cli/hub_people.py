"""`ayni hub token|user|org ...`: who may use a hub, and for what."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import typer

from ayni.cli import terminal

tokens = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Tokens: create, list, revoke. Example: `ayni hub token create ada`",
)
users = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Users: add, list, remove, admin. Example: `ayni hub user add ada`",
)
organisations = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Organisations: create, list, add-member, remove-member, members, policy, quota. "
    "Example: `ayni hub org create lab --admin ada`",
)

EndpointOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The hub to ask; `local` = the one in AYNI_HOME.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The name of a user.")]
OptionalUser = Annotated[
    str | None, typer.Argument(metavar="USER", help="The name of a user; yourself by default.")
]
OrganisationArgument = Annotated[str, typer.Argument(metavar="ORG", help="The name of an organisation.")]
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@tokens.command("create")
def create_token(
    user: OptionalUser = None,
    *,
    name: Annotated[str | None, typer.Option(help="What the token is called; the time by default.")] = None,
    scope: Annotated[Literal["read", "write"], typer.Option(help="What it allows at most.")] = "write",
    repository: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND:NAME", help="Good for this repository alone. May be repeated."),
    ] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Ends after so many days.")] = None,
    endpoint: EndpointOption = None,
    json: JsonOption = False,
) -> None:
    """Make a token and print it, this once.

    For example:

    - `ayni hub token create ada`
    - `ayni hub token create ada --name ci --scope read --repository model:lab/digits --days 30`
    """
    from ayni.wiring import hub

    now = datetime.now(UTC)
    body: dict[str, Any] = {"name": name or f"made {now:%Y-%m-%d %H:%M:%S}", "scope": scope}
    if repository:
        body["repositories"] = repository
    if days is not None:
        body["expires_at"] = (now + timedelta(days=days)).isoformat()
    path = hub.tokens_path(user, endpoint=endpoint)
    made = hub.ask("POST", path, body, endpoint=endpoint)
    if json:
        terminal.print_json(made)
        return
    terminal.complain(f"Token {made['number']} ({made['scope']}). It is shown only now:")
    typer.echo(made["token"])


@tokens.command("list")
def list_tokens(
    user: OptionalUser = None, *, endpoint: EndpointOption = None, json: JsonOption = False
) -> None:
    """List tokens without their text.

    Example: `ayni hub token list ada`
    """
    from ayni.wiring import hub

    found = hub.ask("GET", hub.tokens_path(user, endpoint=endpoint), endpoint=endpoint)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import tables

    table = tables.plain_table("number", "name", "begins", "scope", "ends", "last used", left=("name",))
    for each in found:
        limited = "" if each["repository_ids"] is None else f", {len(each['repository_ids'])} repositories"
        ends, used = str(each["expires_at"] or "never")[:10], str(each["last_used_at"] or "never")[:10]
        table.add_row(
            str(each["number"]), each["name"], each["beginning"], f"{each['scope']}{limited}", ends, used
        )
    terminal.show(table)


@tokens.command("revoke")
def revoke_token(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="Of the token, as the list has it.")],
    user: OptionalUser = None,
    *,
    endpoint: EndpointOption = None,
) -> None:
    """Take a token back, at once and for ever.

    Example: `ayni hub token revoke 3 ada`
    """
    from ayni.wiring import hub

    hub.ask("DELETE", f"{hub.tokens_path(user, endpoint=endpoint)}/{number}", endpoint=endpoint)
    typer.echo(f"Revoked the token {number}.")


@users.command("add")
def add_user(
    name: UserArgument,
    *,
    full_name: Annotated[str, typer.Option(help="As it is shown.")] = "",
    email: Annotated[str | None, typer.Option(help="Shown to nobody but admins and the user.")] = None,
    admin: Annotated[bool, typer.Option("--admin", help="May do everything on the hub.")] = False,
    takes_over: Annotated[
        bool, typer.Option("--takes-over", help="Gets the repositories that are under this name already.")
    ] = False,
    endpoint: EndpointOption = None,
) -> None:
    """Make a user. The name is given once and for ever.

    For example:

    - `ayni hub user add ada`
    - `ayni hub user add me --takes-over` where `ayni run` published as `me` before
    """
    from ayni.wiring import hub

    body = {
        "name": name,
        "full_name": full_name,
        "email": email,
        "is_admin": admin,
        "takes_over": takes_over,
    }
    made = hub.ask("POST", "/users", body, endpoint=endpoint)
    typer.echo(f"Made the user {made['name']}. Hand out a token: ayni hub token create {made['name']}")


@users.command("list")
def list_users(*, endpoint: EndpointOption = None, json: JsonOption = False) -> None:
    """List users.

    Example: `ayni hub user list`
    """
    from ayni.wiring import hub

    found = hub.ask("GET", "/users", endpoint=endpoint)
    if json:
        terminal.print_json(found)
        return
    from ayni.cli import tables

    table = tables.plain_table("user", "full name", "since", "admin", left=("full name",))
    for each in found:
        table.add_row(
            each["name"], each["full_name"], each["created_at"][:10], "yes" if each["is_admin"] else ""
        )
    terminal.show(table)


@users.command("remove")
def remove_user(name: UserArgument, *, endpoint: EndpointOption = None) -> None:
    """Remove a user: tokens and roles end, the name stays taken, repositories stay.

    Example: `ayni hub user remove ada`
    """
    from ayni.wiring import hub

    hub.ask("DELETE", f"/users/{name}", endpoint=endpoint)
    typer.echo(f"Removed the user {name}.")


@users.command("admin")
def set_admin(
    name: UserArgument,
    *,
    off: Annotated[bool, typer.Option("--off", help="No longer.")] = False,
    endpoint: EndpointOption = None,
) -> None:
    """Make a user an admin of the hub, or no longer.

    Example: `ayni hub user admin ada`
    """
    from ayni.wiring import hub

    hub.ask("PUT", f"/users/{name}/admin", {"is_admin": not off}, endpoint=endpoint)
    typer.echo(f"{name} is {'no longer an' if off else 'an'} admin of the hub.")


@organisations.command("create")
def create_organisation(
    name: OrganisationArgument,
    *,
    admin: Annotated[str, typer.Option(help="The user who administers it first.")],
    full_name: Annotated[str, typer.Option(help="As it is shown.")] = "",
    endpoint: EndpointOption = None,
) -> None:
    """Make an organisation. The name is given once and for ever.

    Example: `ayni hub org create lab --admin ada`
    """
    from ayni.wiring import hub

    body = {"name": name, "admin": admin, "full_name": full_name}
    made = hub.ask("POST", "/organisations", body, endpoint=endpoint)
    typer.echo(f"Made the organisation {made['name']} with the admin {admin}.")


@organisations.command("list")
def list_organisations(*, endpoint: EndpointOption = None, json: JsonOption = False) -> None:
    """List organisations.

    Example: `ayni hub org list`
    """
    from ayni.wiring import hub

    found = hub.ask("GET", "/organisations", endpoint=endpoint)
    if json:
        terminal.print_json(found)
        return
    for each in found:
        typer.echo(f"{each['name']}  {each['full_name']}")


@organisations.command("add-member")
def add_member(
    organisation: OrganisationArgument,
    user: UserArgument,
    *,
    role: Annotated[
        Literal["read", "contributor", "write", "admin"], typer.Option(help="What the user may do there.")
    ] = "write",
    endpoint: EndpointOption = None,
) -> None:
    """Give a user a role in an organisation, or another one.

    Example: `ayni hub org add-member lab ben --role contributor`
    """
    from ayni.wiring import hub

    hub.ask("PUT", f"/organisations/{organisation}/members/{user}", {"role": role}, endpoint=endpoint)
    typer.echo(f"{user} has the role {role} in {organisation}.")


@organisations.command("remove-member")
def remove_member(
    organisation: OrganisationArgument, user: UserArgument, *, endpoint: EndpointOption = None
) -> None:
    """Take a user out of an organisation.

    Example: `ayni hub org remove-member lab ben`
    """
    from ayni.wiring import hub

    hub.ask("DELETE", f"/organisations/{organisation}/members/{user}", endpoint=endpoint)
    typer.echo(f"{user} is no longer in {organisation}.")


@organisations.command("members")
def list_members(
    organisation: OrganisationArgument, *, endpoint: EndpointOption = None, json: JsonOption = False
) -> None:
    """List who is in an organisation, and as what.

    Example: `ayni hub org members lab`
    """
    from ayni.wiring import hub

    found = hub.ask("GET", f"/organisations/{organisation}/members", endpoint=endpoint)
    if json:
        terminal.print_json(found)
        return
    for each in found:
        typer.echo(f"{each['user']}  {each['role']}")


@organisations.command("policy")
def policy(
    namespace: Annotated[str, typer.Argument(metavar="OWNER", help="An organisation or a user.")],
    policy: Annotated[
        str | None, typer.Argument(metavar="POLICY", help="open, no-danger or safetensors-only.")
    ] = None,
    *,
    endpoint: EndpointOption = None,
) -> None:
    """Show or choose which files the repositories of an owner take.

    For example:

    - `ayni hub org policy lab`
    - `ayni hub org policy lab safetensors-only`
    """
    from ayni.wiring import hub

    if policy is not None:
        hub.ask("PUT", f"/policies/{namespace}", {"policy": policy}, endpoint=endpoint)
    found = hub.ask("GET", f"/policies/{namespace}", endpoint=endpoint)
    typer.echo(f"{namespace}: {found['policy']} (of {', '.join(found['policies'])})")


@organisations.command("quota")
def quota(
    namespace: Annotated[str, typer.Argument(metavar="OWNER", help="An organisation or a user.")],
    limit: Annotated[
        str | None,
        typer.Argument(metavar="BYTES", help="Such as 500M or 2T; `none` = no limit, `default` = the hub's."),
    ] = None,
    *,
    endpoint: EndpointOption = None,
) -> None:
    """Show or set how many bytes the repositories of an owner may hold.

    For example:

    - `ayni hub org quota lab`
    - `ayni hub org quota lab 500G`
    """
    from ayni.wiring import hub

    path = f"/quotas/{namespace}"
    if limit == "default":
        hub.ask("DELETE", path, endpoint=endpoint)
    elif limit is not None:
        hub.ask("PUT", path, {"max_bytes": _bytes(limit)}, endpoint=endpoint)
    found = hub.ask("GET", path, endpoint=endpoint)
    most = "no limit" if found["max_bytes"] is None else f"at most {found['max_bytes']:,}"
    typer.echo(f"{namespace} holds {found['used_bytes']:,} bytes; {most}.")


def _bytes(text: str) -> int | None:
    if text == "none":
        return None
    unit = text[-1] if text[-1:] in _UNITS and not text[-1:].isdecimal() else ""
    number = text.removesuffix(unit) if unit else text
    try:
        return int(float(number) * _UNITS[unit])
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is no number of bytes. Write 500M, 2T, none or default."
        ) from error

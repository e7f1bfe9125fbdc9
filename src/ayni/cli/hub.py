"""`ayni hub ...`: repositories, members and tokens of a hub, here or elsewhere; and the care of one here."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ayni.cli import hub_care, hub_people, terminal

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Work with a hub: the one in `AYNI_HOME`, or the one that `--endpoint` or `AYNI_HUB_URL` names.

On its own machine whoever runs this is its operator; elsewhere `AYNI_HUB_TOKEN` says who asks.

For example: `ayni hub ls`, `ayni hub user add ada`, `ayni hub token create ada`
""",
)
app.add_typer(hub_people.tokens, name="token")
app.add_typer(hub_people.users, name="user")
app.add_typer(hub_people.organisations, name="org")
app.command("fsck")(hub_care.fsck)
app.command("gc")(hub_care.gc)
app.command("rotate-key")(hub_care.rotate_key)
app.command("encrypt")(hub_care.encrypt)

KindName = Literal["model", "dataset", "space"]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A repository as owner/name.")]
KindOption = Annotated[KindName, typer.Option(help="What it is: model, dataset or space.")]
EndpointOption = Annotated[
    str | None, typer.Option(metavar="URL", help="The hub to ask; `local` = the one in AYNI_HOME.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on standard output.")]
DEFAULT_MAX_BYTES = 1 << 30


@app.command("create")
def create(
    name: NameArgument,
    *,
    kind: KindOption = "model",
    private: Annotated[bool, typer.Option("--private", help="Only its owners see it.")] = False,
    endpoint: EndpointOption = None,
    json: JsonOption = False,
) -> None:
    """Make a repository.

    For example:

    - `ayni hub create ada/digits`
    - `ayni hub create lab/images --kind dataset --private`
    """
    from ayni.wiring import hub

    made = hub.create(name, kind=kind, is_private=private, endpoint=endpoint)
    if json:
        terminal.print_json(made)
    else:
        typer.echo(f"Made the {kind} {made['name']}.")


@app.command("ls")
def list_repositories(
    *,
    kind: Annotated[KindName | None, typer.Option(help="Only models, datasets or spaces.")] = None,
    search: Annotated[str | None, typer.Option(help="Only names with these words.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only those of a user or organisation.")] = None,
    endpoint: EndpointOption = None,
    json: JsonOption = False,
) -> None:
    """List repositories by name.

    For example:

    - `ayni hub ls`
    - `ayni hub ls --owner lab --kind dataset --json`
    """
    from ayni.wiring import hub

    found = hub.list_repositories(kind=kind, search=search, owner=owner, endpoint=endpoint)
    if json:
        terminal.print_json(found)
        return
    if not found:
        typer.echo("There are no repositories here. Make one with: ayni hub create OWNER/NAME")
        return
    from ayni.cli import tables

    table = tables.plain_table("repository", "kind", "visible to", "changed", left=("kind", "visible to"))
    for row in found:
        table.add_row(row["name"], row["kind"], _visible_to(row), str(row["changed"] or "-")[:10])
    terminal.show(table)


@app.command("info")
def info(
    name: NameArgument,
    *,
    kind: KindOption = "model",
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or an id.")] = None,
    endpoint: EndpointOption = None,
    json: JsonOption = False,
) -> None:
    """Show a repository and its files.

    For example:

    - `ayni hub info ada/digits`
    - `ayni hub info ada/digits --revision v1 --json`
    """
    from ayni.wiring import hub

    said = hub.info(name, kind=kind, revision=revision, endpoint=endpoint)
    if json:
        terminal.print_json(said)
        return
    from ayni.cli import tables
    from ayni.reports import formats

    files = said.get("siblings") or []
    size = formats.stored_bytes(sum(each.get("size") or 0 for each in files))
    typer.echo(f"{said['id']} ({kind}) at {said.get('sha')}")
    typer.echo(
        f"{_visible_to(said)}; {len(files)} files, {size}; downloaded {said.get('downloads') or 0} times"
    )
    table = tables.plain_table("file", "size")
    for each in files:
        table.add_row(each["rfilename"], formats.stored_bytes(each.get("size")))
    terminal.show(table)


@app.command("export")
def export(
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that is not there yet.")],
    *,
    kind: KindOption = "model",
    revision: Annotated[str | None, typer.Option(help="A branch, a tag or an id.")] = None,
    endpoint: EndpointOption = None,
    json: JsonOption = False,
) -> None:
    """Write the files of a revision as a plain folder, which needs no Ayni.

    For example:

    - `ayni hub export ada/digits digits`
    - `ayni hub export ada/digits digits-v1 --revision v1`
    """
    from ayni.wiring import hub

    done = hub.export(name, folder, kind=kind, revision=revision, endpoint=endpoint)
    if json:
        terminal.print_json(done)
        return
    typer.echo(
        f"Wrote {done['num_files']} files of {done['num_bytes']:,} bytes into {done['folder']}: "
        f"{done['repository']} at {done['revision'][:12]}."
    )


@app.command("mirror")
def mirror(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="The address of another hub, or a folder.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Repositories there; all without any.")
    ] = None,
    *,
    kind: KindOption = "model",
    all_kinds: Annotated[bool, typer.Option("--all-kinds", help="Models, data sets and spaces.")] = False,
    owner: Annotated[str | None, typer.Option(help="All of a user or organisation there.")] = None,
    into: Annotated[str | None, typer.Option(help="The name here, of one repository or folder.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Follow the source where somebody committed here.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Copy repositories of another hub into this one, or what is new in them; or a folder as one.

    From a hub of Ayni come all commits with their ids, from others the newest revision of each branch. What
    was broken off goes on where it was. Where `AYNI_HUB_URL` is set, `AYNI_HUB_TOKEN` goes to that address
    only.

    For example:

    - `ayni hub mirror https://hub.example.org lab/digits`
    - `ayni hub mirror https://hub.example.org --owner lab --all-kinds`
    - `ayni hub mirror ./my-data --into ada/my-data --kind dataset`
    """
    from ayni.wiring import hub

    if into is not None and len(names or []) > 1:
        raise typer.BadParameter("--into names one repository, and several are to be copied.")
    if "://" not in source and into is None:
        raise typer.BadParameter("A folder needs --into OWNER/NAME.")
    done = hub.mirror(
        source,
        names or (),
        kinds=("model", "dataset", "space") if all_kinds else (kind,),
        namespace=owner,
        into=into,
        force=force,
        say=terminal.complain,
    )
    if json:
        terminal.print_json(done)
        return
    for each in done:
        typer.echo(
            f"{each['repository']}: {each['new_commits']} new commits, {each['fetched_files']} files of "
            f"{each['fetched_bytes']:,} bytes came."
        )


@app.command("import")
def import_git(
    url: Annotated[str, typer.Argument(metavar="URL", help="An https, http or file address of git.")],
    name: NameArgument,
    *,
    commit: Annotated[
        str | None, typer.Option(help="A branch, a tag or an id of 40 digits; the newest by default.")
    ] = None,
    kind: KindOption = "space",
    max_bytes: Annotated[int, typer.Option(min=1, help="Break off above so many bytes.")] = DEFAULT_MAX_BYTES,
    author: Annotated[str, typer.Option(help="Whom the commit names.")] = "operator",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Follow redirects to addresses of private networks.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Fill a repository of this machine's hub from a commit of git; where it is from is kept with it.

    Nothing of the source is run. Symbolic links, submodules and files that only git-lfs has are left out, and
    said to be. A space by default: a recipe of code.

    For example:

    - `ayni hub import https://github.com/user/project ada/project --commit v1.2`
    """
    from ayni.wiring import hub

    done = hub.import_git(
        url,
        name,
        kind=kind,
        commit=commit,
        max_bytes=max_bytes,
        author=author,
        allows_private=allow_private,
    )
    if json:
        terminal.print_json(done)
        return
    what = "Imported" if done["is_new"] else "Was imported before:"
    typer.echo(f"{what} {done['num_files']} files of {url} at {done['commit'][:12]} as {name}.")
    for path, reason in done["left_out"].items():
        terminal.complain(f"Left out: {path} ({reason})")


def _visible_to(said: dict[str, Any]) -> str:
    if said.get("private"):
        return "its owners"
    return f"all; files on request ({said['gated']})" if said.get("gated") else "all"

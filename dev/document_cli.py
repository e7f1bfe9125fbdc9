"""Write docs/cli.md: every command of `ayni` with its arguments and options, from the command itself.

Run it after changing a command: `python dev/document_cli.py`. A test compares the page.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ayni.cli.main import app

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "cli.md"
HEADER = """\
# The command line

Made by `python dev/document_cli.py` from the commands; do not edit.

`ayni COMMAND --help` says the same. Results go to standard output; progress, questions and errors to
standard error. With `--json`, standard output holds one JSON value and nothing else (with `--follow`
one on each line; of `ayni footprint run`, whose standard output is the command's, it is the last line of
standard error).

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | something failed that the caller did not cause, or `ayni verify` found a change |
| 2 | the caller can mend it: arguments, job, task, configuration |
| 130 | stopped with Ctrl-C; what is finished is kept |
| 125, 126, 127, others | of `ayni footprint run` alone, see [footprint.md](footprint.md#a-command) |

[errors.md](errors.md) names the errors, [settings.md](settings.md) the variables.
"""


def cli_page() -> str:
    """The text of docs/cli.md."""
    return HEADER + "".join(_section(name, command) for name, command in commands())


def commands() -> Iterator[tuple[str, Any]]:
    """`ayni` and each command below it, with the words a person types; groups before their members."""
    yield from _below("ayni", typer.main.get_command(app))


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {child}", below)


def _section(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    parts = [f"\n## {name}\n", f"```\n{_usage(name, command, arguments, options)}\n```\n"]
    if command.help:
        parts.append(f"{inspect.cleandoc(command.help)}\n")
    if arguments:
        parts.append(
            _table("argument", [(_shown(each), each.help or "", _default(each)) for each in arguments])
        )
    if options:
        parts.append(
            _table("option", [(_spelling(each), each.help or "", _default(each)) for each in options])
        )
    return "\n".join(parts)


def _usage(name: str, command: Any, arguments: list[Any], options: list[Any]) -> str:
    words = [name]
    words += ["[OPTIONS]"] if options else []
    # A group that takes an argument is a command too; those below have sections of their own.
    words += ["COMMAND ..."] if hasattr(command, "commands") and not arguments else []
    words += [_shown(each) if each.required else f"[{_shown(each)}]" for each in arguments]
    return " ".join(words)


def _shown(argument: Any) -> str:
    """How an argument stands in the usage: JOB, or FILE... where several may be given."""
    name = argument.metavar or argument.name.upper()
    return f"{name}..." if argument.nargs == -1 else str(name)


def _spelling(option: Any) -> str:
    """`--yes, -y` as one may write it, with what follows it."""
    value = "" if option.is_flag else f" {option.metavar or option.name.upper()}"
    return ", ".join(f"{spelling}{value}" for spelling in [*option.opts, *option.secondary_opts])


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if getattr(parameter, "is_flag", False) or parameter.default in (None, "", []):
        return "-"
    return f"`{parameter.default}`"


def _table(kind: str, rows: list[tuple[str, str, str]]) -> str:
    lines = [f"| {kind} | default | meaning |", "|---|---|---|"]
    lines += [
        f"| `{name}` | {default} | {meaning.replace('|', chr(92) + '|')} |" for name, meaning, default in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(cli_page(), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}: {len(list(commands())) - 1} commands.")

"""The command `ayni` itself: its commands, its errors and its exit codes.

    0    done              2    the caller can mend it (arguments, job, task, configuration)
    1    our fault         130  stopped with Ctrl-C

Not covered: logging. Errors go to standard error, results to standard output.
"""

import errno
import os
import sys
import traceback
from typing import Annotated

import typer

import ayni
from ayni.cli import (
    compress,
    data,
    explain,
    footprint,
    hub,
    init,
    jobs,
    ledger,
    market,
    offers,
    predict,
    run,
    runs,
    serve,
    simulate,
    train,
    verify,
)
from ayni.errors import AyniError

INTERRUPTED = 130

app = typer.Typer(
    name="ayni",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="State lives in `~/.ayni`, or in the folder that the variable `AYNI_HOME` names.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ayni {ayni.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from. May stand anywhere.")
    ] = False,
) -> None:
    """Train, compress, publish and understand AI models, and know what each result cost.

    First steps: `ayni init my-job`, then `ayni run my-job/job.yaml`.
    """


app.command("init")(init.init)
app.command("plan")(run.plan)
app.command("run")(run.run)
app.command("resume")(run.resume)
app.add_typer(compress.app, name="compress")
app.add_typer(train.app, name="train")
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
app.add_typer(footprint.app, name="footprint")
app.add_typer(offers.app, name="offers")
app.add_typer(jobs.app, name="jobs")
app.add_typer(market.app, name="market")
app.add_typer(ledger.app, name="ledger")
app.command("serve")(serve.serve)
app.add_typer(hub.app, name="hub")
app.command("verify")(verify.verify)
app.command("predict")(predict.predict)
app.command("explain")(explain.explain)
app.command("simulate")(simulate.simulate)


def main() -> None:
    """Entry point of the command and of `python -m ayni`."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Run one command line and return its exit code; no exception leaves."""
    # People add --debug at the end of the command that just failed, so it may stand anywhere.
    debug = "--debug" in _before_double_dash(arguments)
    if debug:
        arguments = [argument for argument in arguments if argument != "--debug"]
    _replace_unprintable_characters()
    try:
        app(args=arguments, prog_name="ayni")
    except SystemExit as stop:
        return _exit_code(stop)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _report(error, debug=debug)
    return 0


def _report(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, AyniError):
        text, code = str(error), error.exit_code
    elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        text, code = "No space left on the device. Free some; what was finished before is kept.", 1
    else:
        text = f"{type(error).__name__}: {error}\nThis is a fault in Ayni. Please report it"
        text, code = f"{text}{'.' if debug else ', with what `--debug` shows.'}", 1
    typer.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    typer.echo("\n".join([text, *getattr(error, "__notes__", [])]), err=True)
    return code


def _exit_code(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    return stop.code if isinstance(stop.code, int) else 1


def _before_double_dash(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _replace_unprintable_characters() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 shows a question mark rather than an error.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")

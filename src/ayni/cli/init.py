"""`ayni init`: write a job and a task to begin with.

The template is a small job that runs as it is, so that a newcomer changes something that works.

Not covered: templates for other kinds of tasks; `examples/` holds them.
"""

import re
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from ayni.errors import UserError
from ayni.files import write_atomically

# The task is kept under another suffix, because it is text here and no module of this package.
TEMPLATE_FILES = {"job.yaml": "job.yaml", "task.py": "task.py.template"}


class FileInTheWayError(UserError):
    """A file that the template would write is already there."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        names = " and ".join(str(path) for path in paths)
        super().__init__(f"{names} would be overwritten. Choose another folder: ayni init my-job")


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to write; made if it is absent.")
    ] = Path(),
) -> None:
    """Write a job and a task from a template: your own model in five minutes.

    Example: `ayni init my-job`
    """
    taken = [folder / name for name in TEMPLATE_FILES if (folder / name).exists()]
    if folder.exists() and not folder.is_dir():
        taken = [folder]
    if taken:
        raise FileInTheWayError(taken)
    template = files("ayni.cli") / "templates"
    for name, source in TEMPLATE_FILES.items():
        text = (template / source).read_text(encoding="utf-8")
        text = text.replace("JOB_NAME", _job_name(folder))
        write_atomically(folder / name, text.encode())
        typer.echo(f"Wrote {folder / name}")
    typer.echo(f"It runs as it is: ayni run {shlex.quote(str(folder / 'job.yaml'))}")
    typer.echo(f"Then put your own data and model into {folder / 'task.py'}.")


def _job_name(folder: Path) -> str:
    """The folder's name as a job's: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", folder.absolute().name).strip("-")[:64] or "my-job"

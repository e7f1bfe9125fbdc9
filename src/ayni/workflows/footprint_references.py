"""Where footprints of a home are, and which one a reference means: a run, a measurement, an import or a path.

Not covered: what they hold (`ayni.footprint.sums.kept_footprints`).
"""

from pathlib import Path

from ayni.errors import UserError
from ayni.settings import Settings

LATEST = "latest"


class FootprintNotFoundError(UserError):
    """No run and no measurement of this home has this id, or several begin with it."""

    def __init__(self, reference: str, candidates: list[str]) -> None:
        self.reference = reference
        self.candidates = candidates
        shown = ", ".join(candidates[:5]) + (", ..." if len(candidates) > 5 else "")
        if not candidates:
            text = f"No run or measurement is called {reference!r}: there are none in this home yet."
        elif reference and sum(name.startswith(reference) for name in candidates) > 1:
            text = (
                f"{len(candidates)} runs and measurements begin with {reference!r}: {shown}. Give more of it."
            )
        else:
            text = f"No run or measurement is called {reference!r}. The newest are: {shown}."
        super().__init__(f"{text} A folder or file with receipts can be given as a path.")


def measurements_folder(settings: Settings) -> Path:
    """Where measurements that no job was made for are, and imports beside them."""
    return settings.home / "footprint"


def kept_folders(settings: Settings) -> list[Path]:
    """The folders of all runs, measurements and imports, oldest first by their names."""
    parents = (settings.runs_folder, measurements_folder(settings))
    found = [path for parent in parents if parent.is_dir() for path in parent.iterdir() if path.is_dir()]
    return sorted((path for path in found if not path.name.startswith(".")), key=lambda path: path.name)


def find_footprint(reference: str, settings: Settings) -> Path:
    """The path that a reference means: an id, the beginning of one, `latest`, or a path that is there.

    Raises:
        FootprintNotFoundError: none, or more than one.
    """
    folders = kept_folders(settings)
    by_name = {path.name: path for path in folders}
    if reference in by_name:
        return by_name[reference]
    if reference == LATEST and folders:
        return folders[-1]
    matches = [name for name in by_name if reference and name.startswith(reference)]
    if len(matches) == 1:
        return by_name[matches[0]]
    if reference and not matches and Path(reference).exists():
        return Path(reference)
    raise FootprintNotFoundError(reference, matches or sorted(by_name, reverse=True))

"""The footprint of a home: every receipt of every run and measurement, added up, as an object and a page.

Nothing is written but the report, and the receipts of measurements whose process was killed. A receipt that
cannot be read is named in it and stops nothing.

Not covered: what homes of other machines hold; copy their runs here, or file one report each.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json
from ayni.footprint.measuring.measurement_receipts import finish_abandoned
from ayni.footprint.sums.kept_footprints import KeptFootprint, read_kept_leniently
from ayni.footprint.sums.third_party import IMPORT_FILE, ImportedFile, read_import
from ayni.reports.sustainability.inputs import Period, ReportInputs
from ayni.reports.sustainability.page import write_sustainability_report
from ayni.reports.sustainability.view import sustainability_view
from ayni.settings import Settings, read_settings
from ayni.signing import load_or_create_key
from ayni.workflows.footprint_references import kept_folders, measurements_folder


def footprint_report(
    *,
    period: Period | None = None,
    member: str | None = None,
    home: Path | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """The object of the report; keys: docs/footprint-report.md."""
    settings = read_settings(home=home)
    if settings.key_path.exists():
        # What a killed process measured has windows and no receipt yet.
        finish_abandoned(measurements_folder(settings), load_or_create_key(settings.key_path))
    folders = kept_folders(settings)
    imports, problems = _imports(folders)
    kept = [
        _without_home(read_kept_leniently(folder), settings)
        for folder in folders
        if not (folder / IMPORT_FILE).is_file()
    ]
    return sustainability_view(
        ReportInputs(
            kept=[each for each in kept if each.entries or each.problems],
            made_at=now or datetime.now(UTC),
            imports=imports,
            import_problems=[_without_path(text, settings) for text in problems],
            models=_models(kept),
            public_key=_public_key(settings),
            period=period or Period(),
            member=member,
            version=version("ayni"),
        )
    )


def write_footprint_report(
    view: dict[str, Any], *, out: Path | None = None, home: Path | None = None
) -> Path:
    """Write page and object; returns the page's path. `out` is a folder, that of the home by default.

    Raises:
        NotWritableError: it cannot be written.
    """
    folder = read_settings(home=home).home / "footprint-report" if out is None else out
    return write_sustainability_report(view, folder=folder, name=_name(view))


def _without_home(kept: KeptFootprint, settings: Settings) -> KeptFootprint:
    return replace(kept, problems=tuple(_without_path(text, settings) for text in kept.problems))


def _without_path(text: str, settings: Settings) -> str:
    """A sentence that can be filed: where the home lies on this machine is nobody's business."""
    return text.replace(f"{settings.home}/", "")


def _name(view: dict[str, Any]) -> str:
    """footprint, footprint-2026-01-to-2026-12, footprint-lab-a: reports on different things stay apart."""
    period = view["period"]
    parts = ["footprint"]
    if period["from"] or period["to"]:
        parts.append(f"{period['from'] or 'begin'}-to-{period['to'] or 'now'}")
    if view["member"]:
        parts.append(re.sub(r"[^A-Za-z0-9._-]+", "-", view["member"]))
    return "-".join(parts)


def _imports(folders: Iterable[Path]) -> tuple[list[ImportedFile], list[str]]:
    found, problems = [], []
    for folder in folders:
        if (folder / IMPORT_FILE).is_file():
            try:
                found.append(read_import(folder))
            except AyniError as error:
                problems.append(str(error))
    return found, problems


def _models(kept: Iterable[KeptFootprint]) -> dict[str, str]:
    """Run -> the repository that it published, where it did."""
    models = {}
    for each in kept:
        try:
            result = read_json(each.path / "steps" / "publish.json")
            models[each.name] = str(result["repository"])
        except (OSError, AyniError, KeyError, TypeError):
            # It published nothing, or the file is damaged, which `ayni verify` tells.
            continue
    return models


def _public_key(settings: Settings) -> str | None:
    path = settings.key_path
    return load_or_create_key(path).public_key if path.exists() else None

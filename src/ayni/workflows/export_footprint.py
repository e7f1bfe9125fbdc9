"""Export the receipts of a run, a measurement or a file in a form that others read.

Not covered: the forms (`ayni.footprint.exports`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from ayni.errors import AyniError
from ayni.files import read_json, write_atomically
from ayni.footprint.exports.boamps import boamps_report
from ayni.footprint.exports.codecarbon_csv import codecarbon_csv
from ayni.footprint.exports.model_card import model_card
from ayni.footprint.exports.options import ExportOptions
from ayni.footprint.exports.prometheus_text import prometheus_text
from ayni.footprint.exports.sci_report import sci_report
from ayni.footprint.sums.entries import FootprintEntry
from ayni.footprint.sums.kept_footprints import read_kept
from ayni.settings import read_settings
from ayni.workflows.footprint_references import find_footprint


class ExportForm(StrEnum):
    """A form that others read."""

    SCI = "sci"
    BOAMPS = "boamps"
    CODECARBON = "codecarbon"
    PROMETHEUS = "prometheus"
    CARD = "card"


def export_footprint(
    reference: str,
    form: ExportForm,
    *,
    options: ExportOptions | None = None,
    out: Path | None = None,
    home: Path | None = None,
    now: datetime | None = None,
) -> str:
    """The text of an export; with `out` it is also written there.

    `reference` is the id of a run or measurement, the beginning of one, `latest`, or a path.

    Raises:
        FootprintNotFoundError, NoFootprintError: nothing to export there.
        DamagedReceiptError, EarlierReceiptError: a receipt cannot be added up.
        UserError: the form cannot say it, see each of `ayni.footprint.exports`.
        NotWritableError: `out` cannot be written.
    """
    kept = read_kept(find_footprint(reference, read_settings(home=home)))
    given = _with_training_type(options or ExportOptions(), kept.path)
    text = _FORMS[form](kept.entries, given, now or datetime.now(UTC))
    if out is not None:
        write_atomically(out, text.encode())
    return text


def _with_training_type(options: ExportOptions, folder: Path) -> ExportOptions:
    """Fill in what the job of a run tells: whether its model was trained before."""
    if options.training_type is not None:
        return options
    try:
        spec = read_json(folder / "job.json")["spec"]
        was_trained = spec["model"] is not None or spec["train"]["init_from"] is not None
    except (OSError, AyniError, KeyError, TypeError):
        # No run, or one of another version: the type stays unsaid.
        return options
    return replace(options, training_type="fine-tuning" if was_trained else "pre-training")


_Export = Callable[[Sequence[FootprintEntry], ExportOptions, datetime], str]


def _as_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_FORMS: Mapping[ExportForm, _Export] = {
    ExportForm.SCI: lambda entries, options, now: _as_json(sci_report(entries, options)),
    ExportForm.BOAMPS: lambda entries, options, now: _as_json(boamps_report(entries, options, now=now)),
    ExportForm.CODECARBON: lambda entries, options, now: codecarbon_csv(entries),
    ExportForm.PROMETHEUS: lambda entries, options, now: prometheus_text(entries),
    ExportForm.CARD: lambda entries, options, now: model_card(entries, options),
}

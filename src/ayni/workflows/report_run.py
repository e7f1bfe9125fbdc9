"""The run as one object, and as one page."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from ayni.files import read_json, write_json
from ayni.jobs.runs import STEP_ORDER, Run
from ayni.reports.html_report import write_report
from ayni.reports.run_view import run_view
from ayni.train.curve import read_notices
from ayni.workflows.receipts import receipts_of
from ayni.workflows.settle_job import LEDGER_FILE

OBJECT_FILE = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Where the page is, relative to the run's folder."""

    path: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"path": self.path}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The value that `to_json` wrote."""
        return cls(path=data["path"])


def view_of(run: Run) -> dict[str, Any]:
    """The documented object of a run, as far as it got."""
    results: dict[str, Mapping[str, Any]] = {}
    for step in STEP_ORDER:
        if (result := run.result(step)) is not None and "skipped" not in result:
            results[step] = result
    # What explaining found out about data and baseline has places of its own in the object.
    for name in ("baseline", "tree", "data"):
        if (part := results.get("explain", {}).get(name)) is not None:
            results[name] = part
    if (train := results.get("train")) is not None:
        results["train"] = {**train, "notices": read_notices(run.folder / "train")}
    ledger = run.folder / LEDGER_FILE
    return run_view(
        run_id=run.id,
        status=run.summary(),
        job=read_json(run.folder / "job.json"),
        results=results,
        receipts=receipts_of(run),
        transactions=read_json(ledger) if ledger.exists() else [],
        folder=run.folder,
    )


def report_run(run: Run) -> Report:
    """Write the page and the same as JSON. The report's own receipt comes after them and is not in them."""
    # Page and object tell how the run ended, which is decided by their being there.
    view = {**view_of(run), "status": "finished", "error": None}
    path = write_report(view, folder=run.folder / "report", version=version("ayni"))
    write_json(path.with_name(OBJECT_FILE), {**view, "report": str(path)})
    return Report(path=str(path.relative_to(run.folder)))


def report_path(run: Run) -> Path | None:
    """Where the page of a run is; None while there is none."""
    result = run.result("report")
    return None if result is None else run.folder / result["path"]

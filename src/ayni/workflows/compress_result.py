"""What the compression of a run made, and two variants of one run or of two side by side.

Reads what the run keeps, and imports nothing heavy: a machine without torch can look at results.

Not covered: runs whose compression is not finished; nothing of it is a result yet.
"""

from typing import Any

from ayni.errors import UserError
from ayni.jobs.runs import Run, Runs
from ayni.reports.compress_view import comparison_view, compress_view
from ayni.workflows.report_run import view_of


class NoVariantsError(UserError):
    """The run has not made variants of its model."""

    def __init__(self, run: str, reason: str) -> None:
        self.run = run
        super().__init__(f"The run {run} has no variants: {reason}")


class NoSuchVariantError(UserError):
    """The run has no variant of this name, or chose none."""

    def __init__(self, run: str, name: str | None, names: list[str]) -> None:
        self.run = run
        self.names = names
        what = f"no variant {name!r}" if name is not None else "chosen none of its variants"
        super().__init__(
            f"The run {run} has {what}. It has {', '.join(names)}; compare two of them with: ayni compress "
            f"compare {run} {names[0]} {names[-1]}"
        )


def compression_of(run: Run) -> dict[str, Any]:
    """All variants of a run with what was found out of each (`ayni.reports.compress_view`).

    Raises:
        NoVariantsError: its job asks for none, or it has not come so far.
    """
    return compress_view(_view_with_variants(run))


def _view_with_variants(run: Run) -> dict[str, Any]:
    result = run.result("compress")
    if result is None:
        raise NoVariantsError(run.id, f"it has not come so far. Go on with: ayni resume {run.id}")
    if "skipped" in result:
        raise NoVariantsError(
            run.id, f"{result['skipped']}. Compress a published model of it with: ayni compress owner/name"
        )
    return view_of(run)


def compare_variants(runs: Runs, first: str, second: str, third: str | None) -> dict[str, Any]:
    """Two variants of one run (run, variant, variant), or the chosen ones of two runs (run, run).

    Raises:
        RunNotFoundError, NoVariantsError, NoSuchVariantError: see there.
    """
    view = _view_with_variants(runs.open(first))
    if third is not None:
        return comparison_view(view, _checked(view, second), view, _checked(view, third))
    other = _view_with_variants(runs.open(second))
    return comparison_view(view, _chosen(view), other, _chosen(other))


def _checked(view: dict[str, Any], name: str) -> str:
    if name not in _names(view):
        raise NoSuchVariantError(view["run"], name, _names(view))
    return name


def _chosen(view: dict[str, Any]) -> str:
    if view["chosen"] is None:
        raise NoSuchVariantError(view["run"], None, _names(view))
    return str(view["chosen"])


def _names(view: dict[str, Any]) -> list[str]:
    return [variant["name"] for variant in view["variants"]]

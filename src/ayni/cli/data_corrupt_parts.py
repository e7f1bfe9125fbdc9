"""What `ayni data corrupt` shows: the models' numbers, or what was written.

Not covered: curves; the page has them.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType

from ayni.cli.tables import plain_table
from ayni.reports import robustness_view

Json = Mapping[str, Any]


def measured_parts(found: Json) -> list[RenderableType]:
    """The four numbers of each model, its errors by kind, and where the page is."""
    reference = found["reference"]
    models = plain_table("model", "clean error", "corrupted", "mCE", "relative mCE")
    # A long name is folded, so that the numbers are not.
    models.columns[0].no_wrap = False
    for row in robustness_view.model_rows(found):
        name = f"{row.name} (reference)" if row.is_reference else row.name
        # Value and interval on lines of their own: side by side they would be wrapped anywhere.
        cells = (row.clean, row.absolute, row.mce, row.relative)
        models.add_row(name, *(cell.replace(" (", "\n(") for cell in cells))
    names = [model["model"] for model in found["models"]]
    kinds = plain_table("error by kind", *names, *([] if reference is None else [f"CE of {names[0]}"]))
    for kind in robustness_view.kind_rows(found):
        kinds.add_row(kind.kind, *kind.errors, *([] if reference is None else [kind.ratios[0]]))
    told = found["note"] if reference is None else f"mCE and CE: 100 is as bad as the reference {reference}."
    shown: list[RenderableType] = [
        f"{found['num_examples']:,} test images under 15 kinds of corruption at 5 severities, "
        f"seed {found['seed']}",
        "",
        models,
        told,
    ]
    if reference is not None and found["note"]:
        shown.append(found["note"])
    if sentence := robustness_view.left_out(found):
        shown.append(sentence)
    return [*shown, "", kinds, f"Page: {found['page']}", f"As JSON: {found['file']}"]


def made_parts(found: Json) -> list[RenderableType]:
    """Where sheet and copies are."""
    shown: list[RenderableType] = [
        f"The sheet shows row {found['shown_row']} of the split {found['split']}, clean and at 75 settings.",
        found["sheet"],
    ]
    if found["num_copies"]:
        shown.append(
            f"{found['num_copies']:,} copies of {found['num_images']:,} images, "
            f"{_counted(len(found['kinds']), 'kind', 'kinds')} at "
            f"{_counted(len(found['severities']), 'severity', 'severities')}, below {found['folder']}"
        )
    return shown


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"

"""What `ayni data card` and `ayni data augment` show."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType

from ayni.cli.tables import plain_table
from ayni.reports import formats

Json = Mapping[str, Any]
_FACTS = (
    ("name", "Name"),
    ("source", "Source"),
    ("licence", "Licence"),
    ("attribution", "Attribution"),
    ("rows", "Rows"),
    ("classes", "Classes"),
    ("sha256", "SHA-256"),
)
# More classes than a screen has lines are told by the largest and the smallest.
_SHOWN_CLASSES = 12


def card_parts(found: Json) -> list[RenderableType]:
    """The card's facts, then its classes, splits and shards as tables."""
    facts = [f"{label + ':':<13}{_told(found[key])}" for key, label in _FACTS]
    shape = "texts" if found["shape"] is None else "x".join(map(str, found["shape"]))
    facts.append(f"{'Inputs:':<13}{found['kind']}, {shape}" if found["shape"] else f"{'Inputs:':<13}{shape}")
    if found["num_dropped"]:
        facts.append(f"{'Left out:':<13}{found['num_dropped']:,} rows with something missing")
    splits = plain_table("split", "rows")
    for name, count in found["split_counts"].items():
        splits.add_row(name, f"{count:,}")
    parts: list[RenderableType] = [*facts, "", _classes(found["class_counts"]), "", splits]
    if found["shards"]:
        parts += ["", _shards(found["shards"])]
    return parts


def augment_parts(found: Json) -> list[RenderableType]:
    """What was made, and where it is."""
    done = ", ".join(name for each in found["policy"]["operations"] for name in each)
    return [
        f"{found['num_views']:,} views of {found['num_records']:,} training rows by the policy "
        f"{found['policy']['name']} ({done}), seed {found['seed']}: |D'|/|D| = {found['rho']:.3g}",
        *found["files"],
    ]


def _told(value: object) -> str:
    return formats.UNKNOWN if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _classes(counts: Mapping[str, int]) -> RenderableType:
    table = plain_table("class", "rows")
    ordered = sorted(counts.items(), key=lambda each: -each[1])
    if len(ordered) <= _SHOWN_CLASSES:
        shown: Sequence[tuple[str, int] | None] = list(counts.items())
    else:
        half = _SHOWN_CLASSES // 2
        shown = [*ordered[:half], None, *ordered[-half:]]
    for each in shown:
        if each is None:
            table.add_row(f"... {len(ordered) - _SHOWN_CLASSES} more ...", "")
        else:
            table.add_row(each[0], f"{each[1]:,}")
    return table


def _shards(shards: Sequence[Mapping[str, int]]) -> RenderableType:
    table = plain_table("shard", "rows", "classes", "most frequent")
    for number, counts in enumerate(shards, 1):
        total = sum(counts.values())
        name, most = max(counts.items(), key=lambda each: each[1])
        present = sum(count > 0 for count in counts.values())
        table.add_row(str(number), f"{total:,}", str(present), f"{name} ({most / total:.0%})")
    return table

"""The meters of a node and its calibration, as text for a terminal of 80 columns.

Not covered: everything that `--json` has.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ayni.cli.tables import plain_table
from ayni.reports import formats

Json = Mapping[str, Any]
_MAKES_BETTER = ("refused", "not set up")


def meters_parts(view: Json) -> list[RenderableType]:
    """What is used and shows, then every rung, then what would be better."""
    processor = view["counters"]["processor"]
    parts: list[RenderableType] = [
        Text(f"This node: {view['num_cpus']} CPUs, {view['processor']}"),
        Text(f"Its meter: {processor['tier']}, {processor['method']}", style="bold"),
        Text(f"Covers: {processor['scope']}{_gpu_words(view)}"),
    ]
    if (watts := view["watts"])["value"] is not None:
        parts.append(Text(f"Draws now: {watts_text(watts['value'], watts['low'], watts['high'])}"))
    clock = "its clock is told" if view["tells_clock"] else "its clock is not told"
    parts += [Text(f"CPU time of a job: from {view['cpu_time']}; {clock}"), "", _rungs_table(view["rungs"])]
    return [*parts, *_better(view["rungs"])]


def calibration_parts(found: Json) -> list[RenderableType]:
    """What was found and how well it fits, then where it is and what follows from it."""
    parts: list[RenderableType] = []
    if model := found["model"]:
        parts += [_fit_table(found["fit"]), "", *map(Text, _model_lines(model, found["reference"]))]
    for name, key in (("Wall meter", "wall_file"), ("Model", "model_file")):
        if found[key]:
            parts.append(f"{name}: {found[key]}")
    parts.append(Text(f"This node is metered from now on with {found['tier_now']}: {found['method_now']}"))
    return [*parts, *(Text(f"Note: {note}") for note in found["notes"])]


def watts_text(value: float, low: float | None = None, high: float | None = None) -> str:
    """Watts with two digits and their interval: 34 W (12 to 88)."""
    text = f"{formats.digits(value, 2)} W"
    if low is None or high is None:
        return text
    return f"{text} ({formats.digits(low, 2)} to {formats.digits(high, 2)})"


def _gpu_words(view: Json) -> str:
    if not view["has_gpu"]:
        return "; no GPU was found"
    device = view["counters"]["device"]
    if device is not None:
        return f"; GPUs by {device['method']}"
    return (
        "; the GPU cannot be metered, so a job that uses it is unknown (W5)" if view["tier"] == "W5" else ""
    )


def _rungs_table(rungs: list[Json]) -> Table:
    table = plain_table("part", "meter", "tier", "state", left=("meter", "tier", "state"))
    part = None
    for rung in rungs:
        name = "" if rung["part"] == part else rung["part"]
        part = rung["part"]
        style = "bold" if rung["state"] == "in use" else None
        table.add_row(name, rung["name"], rung["tier"], rung["state"], style=style)
    return table


def _better(rungs: list[Json]) -> Iterator[RenderableType]:
    """What to do about each meter that is there and not used; nothing for what the machine does not have."""
    for rung in rungs:
        if rung["state"] in _MAKES_BETTER:
            yield ""
            yield Text(f"{rung['name']} ({rung['tier']}), {rung['state']}: {rung['says']}")
            if rung["remedy"]:
                # Not wrapped: it is there to be copied.
                yield f"  {rung['remedy']}"


def _fit_table(points: list[Json]) -> Table:
    has_clock = any(point["frequency_share"] is not None for point in points)
    has_component = any(point["component_watts"] is not None for point in points)
    titles = ["busy", "measured", "model", "off by"]
    titles += (["clock"] if has_clock else []) + (["RAPL"] if has_component else [])
    table = plain_table(*titles)
    for point in points:
        error = point["model_watts"] / point["watts"] - 1
        row = [
            f"{point['load']:.0%}",
            f"{formats.digits(point['watts'])} W",
            f"{formats.digits(point['model_watts'])} W",
            f"{100 * error:+.0f} %".replace("-", formats.MINUS),
        ]
        row += [formats.share(point["frequency_share"], 1.0)] if has_clock else []
        row += [_watts_or_unknown(point["component_watts"])] if has_component else []
        table.add_row(*row)
    return table


def _watts_or_unknown(watts: float | None) -> str:
    return formats.UNKNOWN if watts is None else f"{formats.digits(watts)} W"


def _model_lines(model: Json, reference: Json) -> list[str]:
    curve = model["curve"]
    clock = " x clock" if model["highest_megahertz"] is not None else ""
    lines = [
        f"Power = {formats.digits(curve['idle_watts'])} W + {formats.digits(curve['full_watts'])} W x "
        f"load^{curve['exponent']:g}{clock}, within {formats.digits(curve['lowest_watts'])} to "
        f"{formats.digits(curve['highest_watts'])} W; mean error {model['mean_error']:.1%} over "
        f"{len(model['points'])} loads",
        f"Measured with: {reference['tier']}, {reference['method']}",
    ]
    if line := model["wall_line"]:
        lines.append(
            f"Wall = {formats.digits(line['base_watts'])} W + {formats.digits(line['factor'])} x RAPL"
        )
    return lines

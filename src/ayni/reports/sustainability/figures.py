"""Which plots a sustainability report has: energy and carbon by month, and who or what caused them.

Carbon has a plot a basis. A ranking of one is none and is left out.

Not covered: how bars are drawn (`plots`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from ayni.reports import formats
from ayni.reports.sustainability.plots import MAX_ROWS, Bar, BarFigure, month_plot, ranked_plot
from ayni.reports.sustainability.tables import Sum, bases_of, carbon_of, name_of, watt_hours

View = Mapping[str, Any]
Groups = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Captioned:
    """A plot and the line below it."""

    plot: Markup
    caption: str


def month_figures(groups: Groups, *, is_imported: bool = False) -> list[Captioned]:
    """Energy and carbon, a bar a month."""
    return _figures("month", groups, month_plot, is_imported=is_imported, key="month")


def ranked_figures(by: str, groups: Groups, *, is_imported: bool = False) -> list[Captioned]:
    """Energy and carbon, a bar a name, the largest first; `by` is the group's key, such as member."""
    if len(groups) < 2:
        return []
    return _figures(by, groups, ranked_plot, is_imported=is_imported, key=by)


def _figures(
    by: str,
    groups: Groups,
    draw: Callable[[BarFigure, Sequence[Bar]], Markup],
    *,
    is_imported: bool,
    key: str,
) -> list[Captioned]:
    prefix, kind = f"{'imported' if is_imported else 'metered'}-{by}", "Imported: " if is_imported else ""
    wanted: list[tuple[BarFigure, Callable[[Mapping[str, Any]], Sum | None]]] = [
        (_energy_figure(prefix, by, kind), lambda group: group["energy_microjoules"])
    ]
    bases = bases_of(groups)
    for index, basis in enumerate(bases):
        figure = _carbon_figure(f"{prefix}-{index}", by, kind, basis if len(bases) > 1 else "")
        wanted.append((figure, partial(carbon_of, basis=basis)))
    drawn = []
    for figure, pick in wanted:
        bars = [
            bar
            for group in groups
            if (bar := _bar(group, pick(group), key, figure, is_imported=is_imported)) is not None
        ]
        if draw is ranked_plot and len(bars) < 2:
            continue
        plot = draw(figure, bars)
        if plot:
            shown = MAX_ROWS if draw is ranked_plot else len(bars)
            drawn.append(Captioned(plot=plot, caption=_caption(bars, shown)))
    return drawn


def _energy_figure(prefix: str, by: str, kind: str) -> BarFigure:
    title = _sentence(f"{kind}energy of the machines by {by}")
    return BarFigure(key=f"{prefix}-energy", title=title, label=title, write=formats.watt_hours)


def _carbon_figure(prefix: str, by: str, kind: str, basis: str) -> BarFigure:
    title = _sentence(f"{kind}operational carbon by {by}{f', {basis}' if basis else ''}")
    return BarFigure(key=f"{prefix}-carbon", title=title, label=title, write=formats.grams)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _bar(
    group: Mapping[str, Any], total: Sum | None, key: str, figure: BarFigure, *, is_imported: bool
) -> Bar | None:
    if total is None or total["known"] is None:
        return None
    scale = watt_hours if figure.write is formats.watt_hours else _same
    known = {end: scale(total["known"][end]) for end in ("value", "low", "high")}
    value = known["value"]
    assert value is not None, "a known sum has a value"
    return Bar(
        name=str(group["month"]) if key == "month" else name_of(group, key),
        value=value,
        low=known["low"],
        high=known["high"],
        is_complete=not total["num_unknown"],
        is_imported=is_imported,
    )


def _same(value: float | None) -> float | None:
    return value


def _caption(bars: Sequence[Bar], num_shown: int) -> str:
    """How to read what is drawn, and nothing else."""
    told = [f"The {num_shown} largest of {len(bars)}."] if len(bars) > num_shown else []
    if any(bar.low is not None for bar in bars):
        told.append("Lines are 90 % intervals.")
    if any(bar.low is None for bar in bars):
        told.append("No interval is known.")
    if not all(bar.is_complete for bar in bars):
        told.append("A hollow bar is what is known of a sum with unknown parts.")
    return " ".join(told)

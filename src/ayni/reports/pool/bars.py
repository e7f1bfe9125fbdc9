"""Horizontal bars as SVG text: one value for each of some names, in the order given.

Drawn by hand for the same reasons as the other plots (see `ayni.reports.plots`): colours are the page's CSS
variables, text stays text, and nothing heavy is imported. A name stands above its bar, so that long names
need no column of their own on a narrow screen.

Not covered: values below zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH = 460.0
TOP = 30.0
ROW = 34.0
THICKNESS = 10.0
# Room for the value after the longest bar.
RIGHT = 92.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar; written is its value as people read it. is_chosen stands out, is_pale stands back."""

    name: str
    value: float
    written: str
    is_chosen: bool = False
    is_pale: bool = False


def bar_plot(key: str, title: str, bars: Sequence[Bar], *, mark: tuple[str, float] | None = None) -> Markup:
    """The bars with a title above, and a dashed line at `mark` (name, value); empty without bars.

    Args:
        key: of the elements' ids; unlike that of any other figure of the page.
        title: what the values are.
        bars: none below zero.
        mark: a value to compare with, such as 1.0.
    """
    if not bars:
        return Markup("")
    longest = max([bar.value for bar in bars] + ([mark[1]] if mark else [])) or 1.0
    scale = (WIDTH - RIGHT) / longest
    height = TOP + ROW * len(bars) + (18.0 if mark else 4.0)
    parts = [_text(0, 14, title, css="axis-name")]
    # The mark lies under the bars, so that the values beside them stay readable.
    if mark is not None:
        x = mark[1] * scale
        parts.append(
            Markup('<line class="reference" x1="{:.1f}" x2="{:.1f}" y1="{:g}" y2="{:.1f}"/>').format(
                x, x, TOP - 4, height - 16
            )
        )
        parts.append(_text(x, height - 3, mark[0], css="tick", anchor="middle" if x < WIDTH - 60 else "end"))
    for index, bar in enumerate(bars):
        parts += _bar(bar, y=TOP + ROW * index, length=max(1.0, bar.value * scale))
    described = "; ".join(f"{bar.name}: {bar.written}" for bar in bars)
    return Markup(
        '<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" '
        'aria-labelledby="{key}-title {key}-desc">\n'
        '<title id="{key}-title">{title}</title>\n<desc id="{key}-desc">{described}.</desc>\n{body}\n</svg>'
    ).format(
        width=WIDTH, height=height, key=key, title=title, described=described, body=Markup("\n").join(parts)
    )


def _bar(bar: Bar, *, y: float, length: float) -> list[Markup]:
    css = "bar chosen" if bar.is_chosen else "bar pale" if bar.is_pale else "bar"
    name_css = "label strong" if bar.is_chosen else "label pale" if bar.is_pale else "label"
    return [
        _text(0, y + 12, bar.name, css=name_css),
        Markup(
            '<rect class="{css}" x="0" y="{y:.1f}" width="{length:.1f}" height="{thick:g}" rx="2"/>'
        ).format(css=css, y=y + 17, length=length, thick=THICKNESS),
        _text(length + 7, y + 27, bar.written, css="value"),
    ]


def _text(x: float, y: float, content: str, *, css: str, anchor: str = "start") -> Markup:
    return Markup(
        '<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{content}</text>'
    ).format(x=x, y=y, css=css, anchor=anchor, content=escape(content))

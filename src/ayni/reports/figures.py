"""Which plots a run's object gives: learning curves, and quality against size and energy.

Not covered: how a plot is drawn (plots.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ayni.reports import formats
from ayni.reports.plots import Figure, Point, Series, has_front, has_rings, line_plot, trade_off_plot
from ayni.reports.variants import View


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOff:
    """A plot of quality against a cost, and how to read it."""

    plot: Markup
    caption: str


def learning_curves(view: View) -> list[Markup]:
    """The metric on validation data and the training loss, by samples seen; empty without rounds."""
    curve = [entry for entry in (view["train"] or {}).get("curve", []) if entry["samples"] is not None]
    if not curve:
        return []
    name = view["metric"]["name"]
    quality = [
        (entry["samples"], entry["metrics"][name])
        for entry in curve
        if (entry["metrics"] or {}).get(name) is not None
    ]
    loss = [(entry["samples"], entry["train_loss"]) for entry in curve if entry["train_loss"] is not None]
    label = _label(name)
    drawn = [
        line_plot(
            _by_samples("curve-quality", f"{label} by samples", label, _metric_writer(name), quality),
            [Series(name="validation", points=quality)],
        ),
        line_plot(
            _by_samples("curve-loss", "Training loss by samples", "Training loss", _plain, loss),
            [Series(name="training", points=loss)],
        ),
    ]
    return [plot for plot in drawn if plot]


def trade_offs(view: View) -> list[TradeOff]:
    """Quality against size, and quality against energy of inference; without variants empty."""
    if len(view["variants"]) < 2:
        return []
    plots = [
        _trade_off(view, "stored_bytes", "Size on disk", formats.stored_bytes),
        _trade_off(view, "energy_joules_per_1000", "Energy per 1,000 inferences", formats.joules),
    ]
    return [plot for plot in plots if plot is not None]


def _trade_off(view: View, key: str, label: str, written: Callable[[float], str]) -> TradeOff | None:
    name = view["metric"]["name"]
    points = [
        point
        for variant in view["variants"]
        if (point := _point(variant, key, name, view["chosen"])) is not None
    ]
    if not points:
        return None
    # The chosen one first: it gets its name before the others take the room.
    points.sort(key=lambda point: not point.is_chosen)
    title = f"{_label(name)} against {label[0].lower()}{label[1:]}"
    described = "; ".join(f"{p.name}: {formats.metric(p.y, name)} at {written(p.x)}" for p in points)
    figure = Figure(
        key=f"trade-off-{key.split('_', maxsplit=1)[0]}",
        title=title,
        description=f"{described}.",
        x_label=f"{label} (less is better)",
        y_label=f"{_label(name)} on test data",
        write_x=written,
        write_y=_metric_writer(name),
    )
    better = view["metric"]["better"] == "higher"
    plot = trade_off_plot(figure, points, is_higher_better=better, reference=_reference(view, name))
    return TradeOff(plot=plot, caption=_caption(plot, points))


def _caption(plot: Markup, points: Sequence[Point]) -> str:
    """How to read the marks that this plot has, and no others."""
    sentences = [
        (any(point.y_low is not None for point in points), "Bars are the intervals of the test metric."),
        (has_front(plot), "The dashed staircase joins the variants that no other beats in both."),
        (any(point.is_chosen for point in points), "The diamond is the chosen one."),
        (has_rings(plot), "A ring is a variant at the place of the mark inside it."),
    ]
    return " ".join(sentence for is_drawn, sentence in sentences if is_drawn)


def _point(variant: Mapping[str, Any], key: str, name: str | None, chosen: str | None) -> Point | None:
    quality = (variant["metrics"] or {}).get(name)
    cost = variant[key]
    if quality is None or not cost:
        return None
    return Point(
        name=variant["name"],
        x=cost,
        y=quality,
        # The energy of variants was metered side by side by one method: the error that its interval
        # describes moves all points together, so drawn bars would hide a difference that is real.
        y_low=(variant["interval"] or {}).get("low"),
        y_high=(variant["interval"] or {}).get("high"),
        is_chosen=variant["name"] == chosen,
    )


def _reference(view: View, name: str | None) -> tuple[str, float] | None:
    baseline = view["baseline"]
    value = (baseline or {}).get("metrics") and baseline["metrics"].get(name)
    return None if value is None else (str(baseline["name"]), float(value))


def _by_samples(
    key: str, title: str, y_label: str, write_y: Callable[[float], str], points: list[tuple[Any, Any]]
) -> Figure:
    first, last = (points[0], points[-1]) if points else ((0, 0.0), (0, 0.0))
    return Figure(
        key=key,
        title=title,
        description=f"From {write_y(first[1])} at {formats.count(first[0])} samples "
        f"to {write_y(last[1])} at {formats.count(last[0])} samples.",
        x_label="Samples seen",
        y_label=y_label,
        write_x=_thousands,
        write_y=write_y,
    )


def _metric_writer(name: str | None) -> Callable[[float], str]:
    return lambda value: formats.metric(value, name)


def _plain(value: float) -> str:
    return formats.digits(value, 3)


def _thousands(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _label(name: str | None) -> str:
    return "Quality" if name is None else name.replace("_", " ").capitalize()

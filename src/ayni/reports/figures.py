"""Which plots a run's object gives: learning curves, and what a variant loses against what it costs.

Not covered: how a plot is drawn (plots.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from ayni.reports import formats
from ayni.reports.plot_marks import KeyEntry, key_of
from ayni.reports.plots import Figure, Point, Series, line_plot, pareto_front, trade_off_plot
from ayni.reports.variants import MAX_UNFOLDED, View

SAME_LOSS = 1e-3
"""A task may mean its accuracy over batches; beyond this it is no share of right answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeOffs:
    """Plots of what is lost against each cost, and how to read the marks that they have."""

    plots: Sequence[Markup]
    reading: Sequence[KeyEntry]


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


def trade_offs(view: View) -> TradeOffs | None:
    """What variants lose against their size, latency and energy of inference; None without variants."""
    if len(view["variants"]) < 2:
        return None
    drawn = [
        _trade_off(view, "stored_bytes", "Size on disk", formats.stored_bytes),
        _trade_off(view, "latency_p50_seconds", "Latency, one thread", formats.seconds),
        _trade_off(view, "energy_joules_per_1000", "Energy per 1,000 inferences", formats.joules),
    ]
    plots = [plot for plot in drawn if plot]
    return TradeOffs(plots=plots, reading=key_of(plots)) if plots else None


def _trade_off(view: View, key: str, label: str, written: Callable[[float], str]) -> Markup:
    name = view["metric"]["name"]
    points = _points(view, key)
    if not points:
        return Markup("")
    # The chosen one first: it gets its name before the others take the room.
    points.sort(key=lambda point: (not point.is_chosen, point.is_pale))
    what = f"{_label(name)} {'above' if _is_lower_better(view) else 'lost against'} {_full_name(view)}"

    def write_lost(value: float) -> str:
        return formats.metric_lost(value, name)

    described = "; ".join(
        f"{p.name}{' (chosen)' if p.is_chosen else ''}: {write_lost(p.y)} at {written(p.x)}" for p in points
    )
    figure = Figure(
        key=f"trade-off-{key.split('_', maxsplit=1)[0]}",
        title=f"{what}, by {label[0].lower()}{label[1:]}",
        description=f"On test data. {described}.",
        x_label=f"{label} (less is better)",
        y_label=f"{what} (less is better)",
        write_x=written,
        write_y=write_lost,
    )
    return trade_off_plot(
        figure,
        points,
        is_higher_better=False,
        reference=_reference(view, name),
        scale=_test_metric(view["variants"][0], name) or 0.0,
    )


def _points(view: View, key: str) -> list[Point]:
    """Variants whose loss and cost are known; pale are those that neither this plot nor the table praises."""
    name = view["metric"]["name"]
    points = [_point(variant, key, name) for variant in view["variants"]]
    known = [point for point in points if point is not None]
    here = {point.name for point in pareto_front(known, is_higher_better=False)}
    of_table = {variant["name"] for variant in view["variants"] if variant["is_on_front"]}
    uncompressed = {variant["name"] for variant in view["variants"] if not variant["is_candidate"]}
    found = []
    for point in known:
        is_chosen = point.name == view["chosen"]
        is_praised = is_chosen or point.name in here | of_table
        found.append(
            replace(
                point,
                is_chosen=is_chosen,
                is_pale=not is_praised,
                is_named=is_praised or point.name in uncompressed or len(known) <= MAX_UNFOLDED,
            )
        )
    return found


def _point(variant: Mapping[str, Any], key: str, name: str | None) -> Point | None:
    lost, cost = variant["test_drop"], variant[key]
    if lost is None or not cost:
        return None
    low, high = _interval_of_loss(variant, name)
    # The energy of variants was metered side by side by one method: the error that its interval
    # describes moves all points together, so drawn bars would hide a difference that is real.
    return Point(name=variant["name"], x=cost, y=lost, y_low=low, y_high=high)


def _interval_of_loss(variant: Mapping[str, Any], name: str | None) -> tuple[float | None, float | None]:
    """Of answers compared one by one, where the metric is the share of right ones; else unknown.

    The interval of the variant's metric alone would be too wide: hard examples are hard for both.
    """
    changes = variant["changes"]
    if changes is None or name is None or "accuracy" not in name:
        return None, None
    accuracy = changes["accuracy"]
    is_the_same = abs(-accuracy["difference"] - variant["test_drop"]) <= SAME_LOSS
    return (-accuracy["high"], -accuracy["low"]) if is_the_same else (None, None)


def _reference(view: View, name: str | None) -> tuple[str, float] | None:
    """The baseline, by what it loses against the full model."""
    baseline, of_full = view["baseline"], _test_metric(view["variants"][0], name)
    value = _test_metric(baseline, name) if baseline else None
    if baseline is None or value is None or of_full is None:
        return None
    return str(baseline["name"]), (value - of_full) if _is_lower_better(view) else (of_full - value)


def _test_metric(model: Mapping[str, Any], name: str | None) -> float | None:
    value = (model["metrics"] or {}).get(name)
    return None if value is None else float(value)


def _is_lower_better(view: View) -> bool:
    return bool(view["metric"]["better"] == "lower")


def _full_name(view: View) -> str:
    return str(view["variants"][0]["name"])


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

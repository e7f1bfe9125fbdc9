"""Which plots a pool simulation gives: trade-offs, days, fairness, and welfare against the bound.

Not covered: how a plot is drawn (`ayni.reports.plots`, `bars`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from ayni.reports import formats
from ayni.reports.plots import Figure, Point, Series, line_plot, pareto_front, trade_off_plot
from ayni.reports.pool.bars import Bar, bar_plot
from ayni.reports.pool.pool_words import ALONE, View, chosen_policy, find_policy, grams
from ayni.units import MICROCREDITS_PER_CREDIT

SECONDS_PER_HOUR = 3600.0
# Beside the chosen policy and alone; more lines than four could not be told apart by their dashes, and longer
# names would not fit at their ends.
BESIDE = ("wait-awhile", "lowest-price", "easy-backfill", "drf")
MOST_LINES = 4


def trade_offs(view: View) -> list[Markup]:
    """Carbon of a machine-hour against its cost, and against waiting."""
    if len(view["policies"]) < 2:
        return []
    return [
        _trade_off(
            view,
            "cost",
            "Cost of a machine-hour in credits",
            lambda measures: measures["microcredits_per_reference_hour"] / MICROCREDITS_PER_CREDIT,
            lambda value: formats.digits(value, 3),
        ),
        _trade_off(
            view,
            "waiting",
            "Mean waiting in hours",
            lambda measures: measures["waiting_mean_seconds"] / SECONDS_PER_HOUR,
            lambda value: formats.digits(value, 2),
        ),
    ]


def days(view: View) -> Markup:
    """Carbon of the jobs released on each day, for alone and the chosen policy and up to two others."""
    chosen, alone = chosen_policy(view), find_policy(view, ALONE)
    beside = [alone, *(find_policy(view, name) for name in BESIDE)]
    named = [chosen, *(policy for policy in beside if policy is not None and policy is not chosen)][
        :MOST_LINES
    ]
    series = [
        Series(
            name=policy["name"],
            points=[
                (entry["day"], entry["grams"] / entry["reference_hours"])
                for entry in policy["days"]
                if entry["reference_hours"] > 0
            ],
        )
        for policy in named
    ]
    figure = Figure(
        key="pool-days",
        title="Carbon of a machine-hour, by the day on which its job was released",
        description="; ".join(
            f"{one.name}: {grams(min(y for _, y in one.points))} to {grams(max(y for _, y in one.points))}"
            for one in series
            if one.points
        ),
        x_label="Day of the replay",
        y_label="CO2e of a machine-hour, by day of release",
        write_x=lambda value: f"{value:g}",
        write_y=grams,
        is_x_whole=True,
        y_from=0.0,
    )
    return line_plot(figure, series)


def welfare(view: View) -> Markup:
    """Welfare as a share of the clairvoyant bound; empty without the bound."""
    if not view["bounds"]:
        return Markup("")
    bound = view["bounds"]["welfare"]["value"]
    return _bars(
        view,
        "pool-welfare",
        "Welfare, of what the clairvoyant bound allows",
        lambda policy: max(0.0, policy["welfare_microcredits"] / bound),
        lambda value: formats.share(value, 1.0),
        mark=("bound", 1.0),
    )


def fairness(view: View) -> list[Markup]:
    """The least share ratio by policy, and the share ratio of each member under the chosen one."""
    if find_policy(view, ALONE) is None:
        return []
    chosen = chosen_policy(view)
    by_policy = _bars(
        view,
        "pool-share",
        "Least share ratio of a member (work in time here over alone)",
        lambda policy: policy["fairness"]["min_share_ratio"],
        lambda value: f"{value:.2f}",
        mark=("as much as alone", 1.0),
    )
    ratios = chosen["fairness"]["share_ratios"]
    by_member = bar_plot(
        "pool-members",
        f"Share ratio of each member, {chosen['name']}",
        [
            Bar(name=member, value=ratio, written=f"{ratio:.2f}", is_pale=ratio >= 1)
            for member, ratio in ratios.items()
        ],
        mark=("as much as alone", 1.0),
    )
    return [plot for plot in (by_policy, by_member) if plot]


def _trade_off(
    view: View,
    key: str,
    label: str,
    x_of: Callable[[Mapping[str, Any]], float],
    write_x: Callable[[float], str],
) -> Markup:
    chosen = chosen_policy(view)
    points = [
        Point(
            name=policy["name"],
            x=x_of(policy["measures"]),
            y=policy["measures"]["grams_per_reference_hour"],
            is_chosen=policy is chosen,
        )
        for policy in view["policies"]
    ]
    front = [point.name for point in pareto_front(points, is_higher_better=False)]
    praised = {*front, chosen["name"], ALONE}
    # The ends of the front say what is possible; names between them would lie on each other.
    named = {front[0], front[-1], chosen["name"], ALONE}
    points = [
        Point(
            name=p.name,
            x=p.x,
            y=p.y,
            is_chosen=p.is_chosen,
            is_pale=p.name not in praised,
            is_named=p.name in named or len(points) <= MOST_LINES,
        )
        for p in sorted(points, key=lambda p: (not p.is_chosen, p.name not in praised))
    ]
    figure = Figure(
        key=f"pool-{key}",
        title=f"Carbon of a machine-hour by {label[0].lower()}{label[1:]}",
        description="; ".join(f"{p.name}: {grams(p.y)} at {write_x(p.x)}" for p in points),
        x_label=f"{label} (less is better)",
        y_label="CO2e of a machine-hour (less is better)",
        write_x=write_x,
        write_y=grams,
    )
    return trade_off_plot(figure, points, is_higher_better=False, is_logarithmic=False)


def _bars(
    view: View,
    key: str,
    label: str,
    value_of: Callable[[Mapping[str, Any]], float],
    write: Callable[[float], str],
    *,
    mark: tuple[str, float],
) -> Markup:
    chosen = chosen_policy(view)
    values: Sequence[tuple[Mapping[str, Any], float]] = [
        (policy, value_of(policy)) for policy in view["policies"]
    ]
    bars = [
        Bar(name=policy["name"], value=value, written=write(value), is_chosen=policy is chosen)
        for policy, value in values
    ]
    return bar_plot(key, label, bars, mark=mark)

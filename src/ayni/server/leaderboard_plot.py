"""The front of a leaderboard as a figure in the style of the reports: value against energy.

Colours and sizes are classes of the page's style sheet, as with every figure of `ayni.reports`.

Not covered: entries whose energy nobody measured; the page says how many they are.
"""

from collections.abc import Sequence

from markupsafe import Markup

from ayni.hub.leaderboards import Entry, Leaderboard
from ayni.reports.plots import Figure, Point, trade_off_plot

# Names beyond these would cover each other.
MOST_NAMES = 12


def front_plot(board: Leaderboard, entries: Sequence[Entry], *, key: str = "front") -> Markup:
    """An SVG; empty where no entry has a known energy. The best score is the chosen mark.

    `key` is its id on the page: letters, digits and hyphens.
    """
    known = [each for each in entries if each.evaluation.measured.energy_joules_per_1000]
    named = {id(each) for each in [each for each in known if each.is_on_front][:MOST_NAMES]}
    points = [
        Point(
            name=_name(each),
            x=each.evaluation.measured.energy_joules_per_1000 or 0.0,
            y=each.evaluation.value,
            is_chosen=each.rank == 1 and each.score is not None,
            is_pale=not each.is_on_front and each.rank != 1,
            is_named=id(each) in named,
        )
        for each in known
    ]
    figure = Figure(
        key=key,
        title=f"{board.measure} against energy",
        description=_description(board, known),
        x_label="joules for 1000 inferences",
        y_label=f"{board.measure} on {board.dataset}",
        write_x=lambda value: f"{value:.3g}",
        write_y=lambda value: f"{value:.4g}",
    )
    return trade_off_plot(figure, points, is_higher_better=not board.lower_is_better)


def _description(board: Leaderboard, known: Sequence[Entry]) -> str:
    front = [each for each in known if each.is_on_front]
    said = ", ".join(
        f"{_name(each)} {each.evaluation.value:.4g} at "
        f"{each.evaluation.measured.energy_joules_per_1000:.3g} J"
        for each in front[:MOST_NAMES]
    )
    better = "lower" if board.lower_is_better else "higher"
    return f"{len(known)} models; {better} is better. Nothing beats in both: {said}."


def _name(entry: Entry) -> str:
    name, variant = entry.evaluation.repository, entry.evaluation.measured.variant
    return f"{name} {variant}" if variant else name

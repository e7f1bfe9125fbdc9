"""How a model bears corrupted images, as the run object has it and as pages show it.

Clean, absolute, mean corruption and relative error stand in one table, and the reference is named above it.

Legend of the small plots: error over severity, where severity 0 is the clean image.

Not covered: measuring (ayni.data.corruptions).
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ayni.reports.picking import picked, picked_all
from ayni.reports.plots import Figure, Series, line_plot
from ayni.reports.scales import Axis
from ayni.reports.svg import svg_figure, svg_text

Json = Mapping[str, Any]
ROBUSTNESS_KEYS = ("reference", "num_examples", "seed", "images_sha256", "note", "models")
MODEL_KEYS = (
    "model",
    "num_examples",
    "clean_error",
    "mean_error",
    "errors",
    "mce_percent",
    "relative_mce_percent",
    "ce_percent",
    "left_out",
    "intervals",
)
SMALL_WIDTH, SMALL_HEIGHT = 200.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 38.0, 10.0, 26.0, 22.0
_LONGEST_LABEL = 12
_PATTERNS = 4
# What a run's id begins with, and a revision: the legend has them.
_NOISE_IN_NAMES = re.compile(r"^\d{8}-\d{6}-\d+-|@[0-9a-f]{12}")
NO_RATIO = "none"
_TO = "\N{EN DASH}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """The four numbers of a model as they are written."""

    name: str
    is_reference: bool
    clean: str
    absolute: str
    mce: str
    relative: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """One kind of corruption: each model's mean error over the severities, and its CE."""

    kind: str
    errors: tuple[str, ...]
    ratios: tuple[str, ...]


def robustness_view(result: Json | None) -> dict[str, Any] | None:
    """The documented keys; null where nobody looked."""
    found = picked(result, ROBUSTNESS_KEYS)
    if found is not None:
        found["models"] = picked_all(found["models"], MODEL_KEYS)
    return found


def model_rows(robustness: Json) -> list[ModelRow]:
    """A row for each model, in the order of the result."""
    return [_model_row(model, robustness["reference"]) for model in robustness["models"]]


def kind_rows(robustness: Json) -> list[KindRow]:
    """A row for each kind, in the order of the paper."""
    models = robustness["models"]
    return [
        KindRow(
            kind=spoken(kind),
            errors=tuple(_share(_mean(model["errors"][kind])) for model in models),
            ratios=tuple(_percent(model["ce_percent"][kind]) for model in models),
        )
        for kind in models[0]["errors"]
    ]


def mean_plot(robustness: Json) -> Markup:
    """Error over severity, mean of the kinds, one line a model."""
    series = [
        Series(name=_label(model["model"]), points=list(enumerate(_means(model))))
        for model in robustness["models"]
    ]
    told = "; ".join(
        f"{model['model']} from {model['clean_error']:.1%} clean to {_means(model)[-1]:.1%} at severity 5"
        for model in robustness["models"]
    )
    figure = Figure(
        key="robustness-mean",
        title="Error over severity, mean of the 15 kinds",
        description=f"{told}.",
        x_label="Severity (0 is clean)",
        y_label="Wrong answers",
        write_x=lambda value: f"{value:.0f}",
        write_y=lambda value: f"{100 * value:.0f} %",
        is_x_whole=True,
        y_from=0.0,
    )
    return line_plot(figure, series)


def kind_plots(robustness: Json) -> list[Markup]:
    """A small plot of each kind, all with one axis, so that they can be compared."""
    models = robustness["models"]
    highest = max(max(errors) for model in models for errors in model["errors"].values())
    highest = max(highest, *(model["clean_error"] for model in models), 0.01)
    return [_small_plot(kind, models, highest) for kind in models[0]["errors"]]


def legend(robustness: Json) -> list[tuple[Markup, str]]:
    """The line of each model as it is drawn, and its whole name."""
    return [
        (_sample(index), model["model"] + (" (reference)" if _is_reference(model, robustness) else ""))
        for index, model in enumerate(robustness["models"])
    ]


def left_out(robustness: Json) -> str:
    """A sentence on kinds that do the reference no harm; empty when all do."""
    kinds = [spoken(kind) for kind in robustness["models"][0]["left_out"]]
    if robustness["reference"] is None or not kinds:
        return ""
    return (
        f"{', '.join(kinds)} {'adds' if len(kinds) == 1 else 'add'} nothing to the errors of the reference "
        f"and {'is' if len(kinds) == 1 else 'are'} not in the relative number."
    )


def spoken(kind: str) -> str:
    """The kind's name with spaces."""
    return kind.replace("_", " ")


def _model_row(model: Json, reference: str | None) -> ModelRow:
    ends = model["intervals"] or {}
    return ModelRow(
        name=model["model"],
        is_reference=model["model"] == reference,
        clean=_ranged(model["clean_error"], ends.get("clean_error")),
        absolute=_ranged(model["mean_error"], ends.get("mean_error")),
        mce=_ranged_percent(model["mce_percent"], ends.get("mce_percent"), reference),
        relative=_ranged_percent(model["relative_mce_percent"], ends.get("relative_mce_percent"), reference),
    )


def _ranged(share: float, ends: Sequence[float] | None) -> str:
    text = _share(share)
    return text if ends is None else f"{text} ({100 * ends[0]:.1f}{_TO}{100 * ends[1]:.1f})"


def _ranged_percent(value: float | None, ends: Sequence[float] | None, reference: str | None) -> str:
    if reference is None:
        return NO_RATIO
    text = _percent(value)
    return text if ends is None or value is None else f"{text} ({ends[0]:.0f}{_TO}{ends[1]:.0f})"


def _share(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percent(value: float | None) -> str:
    return "no ratio" if value is None else f"{value:.1f}"


def _is_reference(model: Json, robustness: Json) -> bool:
    return bool(model["model"] == robustness["reference"])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _means(model: Json) -> list[float]:
    """Clean error, then the mean over the kinds at severity 1 to 5."""
    by_severity = zip(*model["errors"].values(), strict=True)
    return [model["clean_error"], *(_mean(errors) for errors in by_severity)]


def _label(name: str) -> str:
    """What fits beside the end of a line; the legend has the whole name."""
    name = _NOISE_IN_NAMES.sub("", name.rpartition("/")[2])
    if len(name) <= _LONGEST_LABEL:
        return name
    return f"{name[: _LONGEST_LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"


def _small_plot(kind: str, models: Sequence[Json], highest: float) -> Markup:
    x_axis = Axis(low=0, high=5, start=_LEFT, end=SMALL_WIDTH - _RIGHT)
    y_axis = Axis(low=0, high=highest, start=SMALL_HEIGHT - _BOTTOM, end=_TOP)
    told = "; ".join(
        f"{model['model']} from {model['clean_error']:.1%} clean to {model['errors'][kind][-1]:.1%} "
        "at severity 5"
        for model in models
    )
    parts = [*_small_frame(x_axis, y_axis), svg_text(0, 12, spoken(kind), css="axis-name")]
    for index, model in enumerate(models):
        points = enumerate([model["clean_error"], *model["errors"][kind]])
        path = " ".join(f"{x_axis.position(x):.1f},{y_axis.position(y):.1f}" for x, y in points)
        parts.append(Markup('<polyline class="line line-{}" points="{}"/>').format(index % _PATTERNS, path))
    return svg_figure(
        parts,
        key=f"robustness-{kind.replace('_', '-')}",
        title=f"Error under {spoken(kind)}",
        description=f"{told}.",
        width=SMALL_WIDTH,
        height=SMALL_HEIGHT,
    )


def _small_frame(x_axis: Axis, y_axis: Axis) -> Iterable[Markup]:
    for tick in y_axis.ticks(3):
        y = y_axis.position(tick)
        yield Markup('<line class="grid" x1="{:g}" x2="{:g}" y1="{:.1f}" y2="{:.1f}"/>').format(
            x_axis.start, x_axis.end, y, y
        )
        yield svg_text(x_axis.start - 5, y + 4, f"{100 * tick:.0f} %", anchor="end")
    for tick in range(6):
        yield svg_text(x_axis.position(tick), SMALL_HEIGHT - 6, str(tick), anchor="middle")


def _sample(index: int) -> Markup:
    return Markup(
        '<svg class="plot sample" viewBox="0 0 44 12" aria-hidden="true">'
        '<line class="line line-{}" x1="2" x2="42" y1="6" y2="6"/></svg>'
    ).format(index % _PATTERNS)

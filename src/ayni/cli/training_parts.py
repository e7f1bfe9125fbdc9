"""The status of a training as lines and a table for a terminal of 80 columns or more.

Numbers are written by the same functions as in the report, so that both say the same.

Not covered: everything that a status knows. `--json` has it all.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from ayni.cli.sparkline import sparkline
from ayni.cli.tables import plain_table
from ayni.reports import formats

Json = Mapping[str, Any]
_MAX_NOTICES = 5
_MAX_LEARNERS = 16
_NAME_WIDTH = 16
# With name, values and the first value a line stays within 80 columns.
_NUM_BARS = 28


def status_parts(status: Json) -> list[RenderableType]:
    """The status from top to bottom; what to do next is the last line."""
    parts: list[RenderableType] = [f"Run {status['run']}: {status['status']}", _how_far(status)]
    if status["error"]:
        parts.append(str(status["error"]))
    parts += [*_curves(status), *_traffic(status)]
    if status["learners"]:
        parts += ["", _learners_table(status)]
    if status["notices"]:
        parts += ["", *notice_lines(status)]
    if status["status"] in ("interrupted", "failed"):
        parts.append(f"Go on with: ayni resume {status['run']}")
    return parts


def round_line(status: Json) -> str:
    """The last finished round in one line, for a log that grows."""
    metrics = [f"{name} {formats.metric(value, name)}" for name, value in status["metrics"].items()]
    parts = [
        f"round {status['round']} of {status['num_rounds']}",
        f"loss {_loss(status['train_loss'])}",
        *metrics,
        *_pace(status, utilisation=status["curve"][-1].get("utilisation")),
        *_time_left(status),
    ]
    return ", ".join(parts)


def end_line(status: Json) -> str:
    """How the training ended, and how its run is."""
    is_done = status["round"] >= status["num_rounds"]
    return f"training is {'done' if is_done else 'not done'}; the run {status['run']} is {status['status']}"


def notice_lines(status: Json, *, limit: int = _MAX_NOTICES) -> list[str]:
    """The last notices with their time, the oldest first; those before them are counted."""
    notices = status["notices"]
    head = "Notices" if len(notices) <= limit else f"The last {limit} of {len(notices)} notices"
    return [f"{head}:", *(notice_line(notice) for notice in notices[-limit:])]


def notice_line(notice: Json) -> str:
    """A notice with the time of the day at which it was noticed."""
    at = datetime.fromisoformat(notice["at"])
    return f"  {at:%H:%M:%S} {at.tzname() or ''}  {notice['message']}"


def _how_far(status: Json) -> str:
    if status["round"] == 0:
        begun = "begun, and no round is finished yet" if status["learners"] else "not begun"
        return f"Training: {begun} ({formats.count(status['num_rounds'])} rounds to do)"
    done = f"round {formats.count(status['round'])} of {formats.count(status['num_rounds'])}"
    parts = [
        f"Training: {done}",
        f"{formats.count(status['samples'])} samples",
        f"{formats.seconds(status['wall_seconds'])} at work",
        *_time_left(status),
    ]
    return ", ".join(parts)


def _time_left(status: Json) -> list[str]:
    """How long it will take, for a training that goes on."""
    seconds = status["seconds_left"]
    if seconds is None or not status["is_training"] or status["round"] >= status["num_rounds"]:
        return []
    whole = max(1, round(seconds))
    # An estimate has no tenths.
    return [f"about {whole} s left" if whole < 60 else f"about {formats.seconds(whole)} left"]


def _curves(status: Json) -> list[str]:
    """The loss and each metric over the rounds, with the first and the last value."""
    curve = status["curve"]
    lines = [_curve_line("loss", [line["train_loss"] for line in curve], _loss)]
    for name in status["metrics"]:
        values = [value for line in curve if (value := (line["metrics"] or {}).get(name)) is not None]
        lines.append(_curve_line(name, values, lambda value, name=name: formats.metric(value, name)))
    return [line for line in lines if line]


def _curve_line(name: str, values: list[float], write: Any) -> str:
    if not values:
        return ""
    change = f"  ({write(values[0])} at first)" if len(values) > 1 else ""
    return f"  {name:<{_NAME_WIDTH}} {write(values[-1]):<8} {sparkline(values, width=_NUM_BARS)}{change}"


def _traffic(status: Json) -> list[str]:
    """How fast, how well used, and how many bytes; nothing before the first round."""
    if status["round"] == 0:
        return []
    return [
        f"  {'pace':<{_NAME_WIDTH}} {', '.join(_pace(status, utilisation=status['utilisation']))}",
        *_bytes(status),
        *_updates(status),
    ]


def _pace(status: Json, *, utilisation: float | None) -> list[str]:
    used = [] if utilisation is None else [f"utilisation {formats.share(utilisation, 1.0)}"]
    alive = status["learners_alive"]
    learners = [] if alive is None else [f"{alive} of {status['num_learners']} learners"]
    return [f"{formats.count(round(status['samples_per_second'] or 0))} samples/s", *used, *learners]


def _bytes(status: Json) -> list[str]:
    text = formats.stored_bytes(status["bytes_sent"])
    if status["bytes_up"] is not None and status["bytes_down"] is not None:
        up, down = formats.stored_bytes(status["bytes_up"]), formats.stored_bytes(status["bytes_down"])
        text = f"{text}: {up} up ({status['codec']}), {down} down ({status['download_codec']})"
    return [f"  {'sent':<{_NAME_WIDTH}} {text}"]


def _updates(status: Json) -> list[str]:
    if status["num_updates"] is None:
        return []
    accepted = f"{formats.count(status['num_updates'])} accepted"
    dropped = f", {formats.count(status['num_dropped'])} dropped" if status["num_dropped"] else ""
    return [f"  {'updates':<{_NAME_WIDTH}} {accepted}{dropped}"]


def _learners_table(status: Json) -> Table:
    table = plain_table("learner", "accepted", "begun", "samples", "last begun", left=("last begun",))
    # Without a common round, each learner counts its own orders.
    word = "turn" if status["strategy"] == "async" else "round"
    for learner in status["learners"][:_MAX_LEARNERS]:
        attempt = learner["last_attempt"] or 1
        last = f"{word} {learner['last_round']}" + (f", attempt {attempt}" if attempt > 1 else "")
        table.add_row(
            str(learner["learner"]),
            formats.count(learner["num_updates"]),
            formats.count(learner["num_attempts"]),
            formats.count(learner["samples"]),
            "-" if learner["last_round"] is None else last,
        )
    num_more = len(status["learners"]) - _MAX_LEARNERS
    if num_more > 0:
        table.add_row(f"and {num_more} more")
    return table


def _loss(value: float | None) -> str:
    return formats.metric(value, "loss")

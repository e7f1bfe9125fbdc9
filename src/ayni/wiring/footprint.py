"""The composition root of `ayni footprint`: settings become concrete objects, and its functions use them.

Apart from the rest of `wiring`, because a person who only meters needs neither jobs nor hub nor database, and
nothing here imports them.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import UserError
from ayni.settings import Settings, read_settings

if TYPE_CHECKING:
    from ayni.footprint.grid.basis import Counting
    from ayni.footprint.grid.electricity_maps_api import ElectricityMapsApi
    from ayni.workflows.advise_start import StartRequest
    from ayni.workflows.calibrate_node import CalibrateRequest
    from ayni.workflows.progress import Progress


class NoTokenError(UserError):
    """The API of Electricity Maps was to be asked, and there is no token for it, or one that cannot be."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"{reason} Put your token of Electricity Maps (app.electricitymaps.com, free for personal use) "
            "into the variable AYNI_ELECTRICITY_MAPS_TOKEN, or give a file with the hours."
        )


def when(
    request: "StartRequest", *, live: bool = False, now: str | None = None, home: Path | None = None
) -> dict[str, Any]:
    """When to start a job; keys: docs/grid-data.md. The network is asked with `live` alone.

    `now` asks as of another moment, for looking back.

    Raises:
        NoTokenError: `live` without a token; and as `ayni.workflows.advise_start.advise_start`.
    """
    from ayni.workflows.advise_start import advise_start, parse_moment

    present = datetime.now(UTC).replace(microsecond=0)
    asked_at = present if now is None else parse_moment(now, now=present).astimezone(UTC)
    api = electricity_maps(read_settings(home=home), request.counting) if live else None
    return advise_start(request, now=asked_at, api=api)


def grid(
    path: Path,
    *,
    zone: str | None = None,
    counting: "Counting | None" = None,
    unit: str = "g/kWh",
    time_zone: str | None = None,
) -> dict[str, Any]:
    """What a file of hourly grid data is; keys: docs/grid-data.md.

    Raises:
        GridFileError: it is none that is known, or not whole.
    """
    from ayni.workflows.describe_grid import describe_file

    return describe_file(path, zone=zone, counting=counting, unit=unit, time_zone=time_zone)


def live_grid(
    zone: str,
    *,
    num_days: int,
    counting: "Counting | None" = None,
    out: Path | None = None,
    home: Path | None = None,
) -> dict[str, Any]:
    """Ask Electricity Maps for the last days of a zone: what they are, and with `out` a file that keeps them.

    Raises:
        NoTokenError: there is no token. IntensityApiError: no usable answer.
        NotWritableError: the file cannot be written.
    """
    from ayni.files import write_atomically
    from ayni.workflows.describe_grid import api_json, describe_series

    api = electricity_maps(read_settings(home=home), counting)
    series = api.lately(zone, end=datetime.now(UTC), num_days=num_days)
    if out is not None:
        write_atomically(out, api_json(series).encode())
    return {
        "file": None if out is None else str(out),
        "kind": "API of Electricity Maps",
        "zones": [series.zone],
        "states_basis": True,
        "series": describe_series(series),
    }


def draw_when(view: Mapping[str, Any], path: Path) -> bool:
    """Write what `when` found as an SVG; False where no hour to come is known, and then nothing is written.

    Raises:
        NotWritableError: the file cannot be written.
    """
    from ayni.files import write_atomically
    from ayni.reports.start_plot import start_plot

    if not view["grams_per_kwh_by_hour"]:
        return False
    write_atomically(path, start_plot(view).encode())
    return True


def calibrate(
    request: "CalibrateRequest", *, progress: "Progress | None" = None, home: Path | None = None
) -> dict[str, Any]:
    """Calibrate this node and store the result in the home; keys: docs/meters.md.

    Raises:
        As `ayni.workflows.calibrate_node.calibrate`.
    """
    from ayni.workflows.calibrate_node import calibrate as run

    return run(request, read_settings(home=home).meters_folder, progress=progress)


def meters(*, seconds: float = 1.0, home: Path | None = None) -> dict[str, Any]:
    """Which meters this node has, which is used and what it shows now; keys: docs/meters.md.

    `seconds` is how long the power is measured; 0 for not at all.
    """
    from ayni.footprint.counters.node_survey import describe_power, measure_watts, survey_node

    folder = read_settings(home=home).meters_folder
    found = survey_node(folder)
    counter = found.counters.processor
    watts = measure_watts(counter, seconds=seconds) if seconds > 0 else None
    return {**found.to_json(), "folder": str(folder), "watts": describe_power(counter, watts)}


def electricity_maps(settings: Settings, counting: "Counting | None" = None) -> "ElectricityMapsApi":
    """The API of Electricity Maps with the token of the settings; nothing is asked yet.

    Raises:
        NoTokenError: there is none, or none that can be.
    """
    from ayni.footprint.grid.electricity_maps_api import BASE_URL, ElectricityMapsApi

    if settings.electricity_maps_token is None:
        raise NoTokenError("Nothing was asked: there is no token.")
    try:
        return ElectricityMapsApi(
            settings.electricity_maps_token,
            counting=counting or "life-cycle",
            base_url=settings.electricity_maps_url or BASE_URL,
        )
    except ValueError as error:
        raise NoTokenError(f"Nothing was asked: {error}.") from error

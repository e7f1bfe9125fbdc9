"""Hours from files, from the network and from what is shipped become advice; no file tells its future."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from ayni.footprint.grid.basis import BasisMismatchError
from ayni.footprint.grid.carbon import UnknownZoneError
from ayni.footprint.grid.electricity_maps_api import ElectricityMapsApi, IntensityApiError
from ayni.footprint.grid.grid_files import GridFileError
from ayni.footprint.grid.scheduling import FORTNIGHT, PUBLISHED, USUAL, YESTERDAY
from ayni.workflows.advise_start import (
    ImpossibleWorkError,
    InvalidMomentError,
    MixedZonesError,
    NoZoneError,
    StartRequest,
    advise_start,
    hours_of_text,
    parse_moment,
)

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Heavy until noon, light for four hours, middling in the evening.
SUNNY_DAY = [300.0] * 12 + [100.0] * 4 + [200.0] * 8
NOW = FIRST + 30 * 24 * HOUR


def table(folder: Path, *, num_days: int = 30, zone: str = "DE", first: datetime = FIRST) -> Path:
    path = folder / f"{zone}-{num_days}.csv"
    rows = [
        f"{first + index * HOUR:%Y-%m-%d %H:%M},{SUNNY_DAY[index % 24]}" for index in range(num_days * 24)
    ]
    path.write_text("\n".join([f"datetime_utc,{zone}", *rows]))
    return path


def answer(name: str, first: datetime, grams: list[float], *, zone: str = "DE") -> dict[str, Any]:
    hours = [
        {
            "datetime": (first + index * HOUR).isoformat(),
            "carbonIntensity": value,
            "emissionFactorType": "lifecycle",
        }
        for index, value in enumerate(grams)
    ]
    return {"zone": zone, name: hours}


def request(*files: Path, **changes: Any) -> StartRequest:
    return StartRequest(**{"hours": 4, "within": "24h", "files": files, "counting": "life-cycle", **changes})


def test_the_hours_of_a_file_choose_the_start_and_say_what_that_was_worth(tmp_path: Path) -> None:
    view = advise_start(request(table(tmp_path)), now=NOW)

    assert view["verdict"] == "wait"
    assert view["start_at"] == (NOW + 12 * HOUR).isoformat()
    assert view["forecast"] == view["replayed"]["forecast"] == FORTNIGHT
    assert (view["zone"], view["basis"]) == ("DE", "average, location-based, life-cycle")
    assert view["sources"] == ["file DE-30.csv"]
    assert json.loads(json.dumps(view)) == view


def test_a_file_that_reaches_further_does_not_tell_its_future(tmp_path: Path) -> None:
    whole, cut = table(tmp_path, num_days=60, zone="DE"), table(tmp_path, num_days=30, zone="DE")

    assert {**advise_start(request(whole), now=NOW), "sources": []} == {
        **advise_start(request(cut), now=NOW),
        "sources": [],
    }


def test_several_files_of_a_zone_are_one_series(tmp_path: Path) -> None:
    early, late = table(tmp_path, num_days=20), table(tmp_path, num_days=10, first=FIRST + timedelta(days=20))

    together = advise_start(request(early, late), now=NOW)

    assert (
        together["replayed"]["num_jobs"]
        == advise_start(request(table(tmp_path)), now=NOW)["replayed"]["num_jobs"]
    )


def test_a_start_may_be_put_off_and_the_end_stays(tmp_path: Path) -> None:
    view = advise_start(request(table(tmp_path), not_before="14h"), now=NOW)

    assert view["not_before"] == (NOW + 14 * HOUR).isoformat()
    assert view["deadline"] == (NOW + 24 * HOUR).isoformat()
    assert view["grams_per_kwh_now"] == pytest.approx((2 * 100 + 2 * 200) / 4)
    assert view["verdict"] == "start now"


def test_without_files_the_shipped_climatology_serves_where_there_is_one() -> None:
    california = advise_start(request(zone="CISO"), now=NOW)
    state = advise_start(request(zone="US-CA"), now=NOW)

    assert (california["zone"], california["forecast"]) == ("US-CAL-CISO", USUAL)
    assert state["verdict"] == "needs data"
    assert "US-CAL-CISO" in state["notes"][0]


def test_without_hours_the_annual_mean_is_named_and_a_name_that_nobody_knows_refused() -> None:
    germany = advise_start(request(zone="DE"), now=NOW)
    part = advise_start(request(zone="SE-SE3"), now=NOW)

    assert (germany["verdict"], germany["annual"]["zone"]) == ("needs data", "DE")
    assert part["annual"]["zone"] == "SE"
    assert advise_start(request(), now=NOW)["verdict"] == "needs data"
    with pytest.raises(UnknownZoneError, match="Did you mean"):
        advise_start(request(zone="Germanny"), now=NOW)


def test_a_file_that_begins_later_still_tells_what_is_usual(tmp_path: Path) -> None:
    view = advise_start(request(table(tmp_path)), now=datetime(2025, 3, 10, tzinfo=UTC))

    assert (view["forecast"], view["verdict"]) == (USUAL, "wait")


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    german, french = table(tmp_path), table(tmp_path, zone="FR")
    british = tmp_path / "gb.csv"
    british.write_text("datetime,forecast,actual,index\n2026-03-01T00:00,1,2,low\n2026-03-01T00:30,1,2,low\n")
    life_cycle = tmp_path / "gb.json"
    life_cycle.write_text(json.dumps(answer("history", FIRST, [1.0, 2.0], zone="GB")))

    with pytest.raises(MixedZonesError, match="DE and FR"):
        advise_start(request(german, french), now=NOW)
    with pytest.raises(MixedZonesError, match=r"GB \(.*gb.csv\) and DE"):
        advise_start(request(british, zone="DE", counting=None), now=NOW)
    with pytest.raises(GridFileError, match="no zone 'DE'"):
        advise_start(request(french, zone="DE"), now=NOW)
    with pytest.raises(BasisMismatchError):
        advise_start(request(british, life_cycle, counting=None), now=NOW)


class PretendedApi:
    """Answers by path; a number is a status. Remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def fetch(self, url: str, headers: dict[str, str], seconds: float) -> bytes:
        path = url.partition("carbon-intensity/")[2].partition("?")[0]
        self.asked.append(path)
        found = self.answers.get(path.replace("-", "_"), 404)
        if isinstance(found, int):
            raise HTTPError(url, found, "", {}, None)  # type: ignore[arg-type]
        return json.dumps(found).encode()

    def made(self) -> ElectricityMapsApi:
        return ElectricityMapsApi("token", fetch=self.fetch)


def test_the_network_gives_the_last_month_and_the_hours_to_come() -> None:
    api = PretendedApi(
        past_range=answer("data", FIRST, SUNNY_DAY * 30),
        forecast=answer("forecast", NOW, [300.0] * 20 + [50.0] * 10),
    )

    view = advise_start(request(zone="DE"), now=NOW, api=api.made())

    assert api.asked == ["past-range"] * 3 + ["forecast"]
    assert view["forecast"] == PUBLISHED
    assert view["start_at"] == (NOW + 20 * HOUR).isoformat()
    assert view["replayed"]["forecast"] == FORTNIGHT


@pytest.mark.parametrize("status", [401, 403])
def test_a_free_token_gives_the_last_day_and_says_so(status: int) -> None:
    api = PretendedApi(
        past_range=status, history=answer("history", NOW - 24 * HOUR, SUNNY_DAY), forecast=status
    )

    view = advise_start(request(zone="DE"), now=NOW, api=api.made())

    assert view["forecast"] == YESTERDAY
    assert (view["verdict"], view["replayed"]) == ("wait", None)
    assert [note.partition(":")[2] for note in view["notes"]] == [
        f" no forecast ({status})",
        f" this token may ask for the last day only (status {status})",
    ]


def test_a_network_that_gives_nothing_is_an_error_and_no_advice() -> None:
    for answers in ({"past_range": 500}, {"past_range": 401, "history": 401}, {"past_range": 404}):
        with pytest.raises(IntensityApiError):
            advise_start(request(zone="DE"), now=NOW, api=PretendedApi(**answers).made())
    with pytest.raises(NoZoneError):
        advise_start(request(), now=NOW, api=PretendedApi().made())


def test_work_that_does_not_fit_says_which_time_there_is(tmp_path: Path) -> None:
    with pytest.raises(ImpossibleWorkError, match=r"4 hours of work do not fit within 3.*2026-03-31 00:00"):
        advise_start(request(within="3h"), now=NOW)
    with pytest.raises(ImpossibleWorkError, match="do not fit"):
        advise_start(request(not_before="23h"), now=NOW)


def test_durations_are_hours_or_have_units() -> None:
    assert (hours_of_text("24"), hours_of_text("1d12h"), hours_of_text("90m")) == (24, 36, 1.5)
    for text in ("0", "-3", "soon", "", "32d", "1e9", "9" * 400):
        with pytest.raises(ImpossibleWorkError, match="cannot be done within"):
            hours_of_text(text)


def test_times_are_dates_times_of_day_or_durations() -> None:
    here = NOW.astimezone()
    earlier, later = here - timedelta(minutes=1), here + timedelta(minutes=1)

    assert parse_moment("2026-03-31T06:00Z", now=NOW) == datetime(2026, 3, 31, 6, tzinfo=UTC)
    assert parse_moment("2026-03-31T06:00", now=NOW) == datetime(2026, 3, 31, 6).astimezone()
    assert parse_moment("3h", now=NOW) == NOW + 3 * HOUR
    assert parse_moment(f"{later:%H:%M}", now=NOW) == later
    assert parse_moment(f"{earlier:%H:%M}", now=NOW) == earlier + timedelta(days=1)
    for text in ("tomorrow", "25:00", "2026-13-01", "", "9" * 20 + "d"):
        with pytest.raises(InvalidMomentError, match="is not a time"):
            parse_moment(text, now=NOW)

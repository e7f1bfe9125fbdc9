import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ayni.footprint.grid.electricity_maps_api import ElectricityMapsApi, IntensityApiError
from ayni.footprint.grid.intensity_chain import intensities_of
from ayni.footprint.grid.intensity_series import FORECAST, HOUR, METERED

MIDNIGHT = datetime(2025, 4, 4, tzinfo=UTC)
TOKEN = "a-token"


@dataclass
class Recorded:
    """What a pretended API was asked, and what it is to answer."""

    answers: list[tuple[int, bytes, dict[str, str]]]
    paths: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    url: str = ""


@contextmanager
def api_that_says(*answers: tuple[int, Any] | tuple[int, Any, dict[str, str]]) -> Iterator[Recorded]:
    """A server on the loopback interface that gives these answers in turn."""
    coded = [
        (
            answer[0],
            answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode(),
            dict(*answer[2:]),
        )
        for answer in answers
    ]
    recorded = Recorded(answers=coded)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            recorded.paths.append(self.path)
            recorded.tokens.append(self.headers.get("auth-token"))
            status, body, headers = recorded.answers[min(len(recorded.paths), len(recorded.answers)) - 1]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    recorded.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield recorded
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hours_of(
    *grams: float, start: datetime = MIDNIGHT, zone: str = "DE", name: str = "data"
) -> dict[str, Any]:
    entries = [
        {
            "carbonIntensity": value,
            "datetime": (start + HOUR * index).isoformat(),
            "emissionFactorType": "lifecycle",
            "isEstimated": False,
        }
        for index, value in enumerate(grams)
    ]
    return {"zone": zone, name: entries}


def test_hours_that_are_past_are_asked_for_with_the_token_and_weigh_a_receipt() -> None:
    with api_that_says((200, hours_of(300, 310))) as recorded:
        api = ElectricityMapsApi(TOKEN, base_url=recorded.url)

        _, weights = intensities_of("DE", [MIDNIGHT, MIDNIGHT + HOUR], sources=[api])

    assert [weight.link for weight in weights] == [METERED, METERED]
    assert [weight.intensity.value for weight in weights if weight.intensity] == [300, 310]
    (path,) = recorded.paths
    assert urlsplit(path).path == "/v3/carbon-intensity/past-range"
    assert parse_qs(urlsplit(path).query) == {
        "zone": ["DE"],
        "start": ["2025-04-04T00:00:00+00:00"],
        "end": ["2025-04-04T02:00:00+00:00"],
        "temporalGranularity": ["hourly"],
        "emissionFactorType": ["lifecycle"],
    }
    assert recorded.tokens == [TOKEN]


def test_long_spans_are_asked_for_in_pieces_of_ten_days() -> None:
    later = MIDNIGHT + timedelta(days=10)
    with api_that_says((200, hours_of(1)), (200, hours_of(2, start=later))) as recorded:
        series = ElectricityMapsApi(TOKEN, base_url=recorded.url).hours("DE", MIDNIGHT, later + HOUR)

    assert series is not None
    assert len(recorded.paths) == 2
    assert series.at(later) == 2
    assert series.num_holes == 239


def test_the_last_day_is_asked_for_where_nothing_else_may_be() -> None:
    with api_that_says((200, hours_of(300, 200, name="history"))) as recorded:
        series = ElectricityMapsApi(TOKEN, base_url=recorded.url).recent("DE")

    assert (series.link, series.grams_co2e_per_kwh) == (METERED, (300, 200))
    assert urlsplit(recorded.paths[0]).path == "/v3/carbon-intensity/history"


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_without_the_past_gets_the_last_day_and_says_so(status: int) -> None:
    with api_that_says((status, {}), (200, hours_of(300, name="history"))) as recorded:
        series = ElectricityMapsApi(TOKEN, base_url=recorded.url).lately("DE", end=MIDNIGHT, num_days=3)

    assert series.notes == (f"this token may ask for the last day only (status {status})",)
    assert [urlsplit(path).path.rpartition("/")[2] for path in recorded.paths] == ["past-range", "history"]


def test_a_fault_is_no_reason_to_ask_for_less() -> None:
    with api_that_says((500, {})) as recorded, pytest.raises(IntensityApiError, match="status 500"):
        ElectricityMapsApi(TOKEN, base_url=recorded.url).lately("DE", end=MIDNIGHT, num_days=3)

    assert len(recorded.paths) == 1


def test_a_forecast_is_named_as_one() -> None:
    with api_that_says((200, hours_of(300, 200, name="forecast"))) as recorded:
        series = ElectricityMapsApi(TOKEN, base_url=recorded.url).forecast("DE")

    assert series.link == FORECAST
    assert urlsplit(recorded.paths[0]).path == "/v3/carbon-intensity/forecast"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (401, {"message": "no"}, "token is not accepted"),
        (403, {}, "check its plan"),
        (404, {"error": "No recent data"}, "not known there"),
        (429, {}, "try again later"),
        (500, {}, "status 500"),
        (200, b"<html>", "not JSON"),
        (200, {"hello": "world"}, "not a list of hours"),
        (200, {"zone": "DE", "data": []}, "not a list of hours"),
        (200, hours_of(1, zone="FR"), "of the zone FR, not DE"),
        (200, hours_of(-1), "no carbon intensity of a grid"),
        (200, b"[" * 100_000, "not JSON"),
        (200, b" " * 5_000_001, "more than 5,000,000 bytes"),
    ],
)
def test_what_is_no_answer_is_an_error_and_never_a_number(status: int, body: Any, reason: str) -> None:
    with (
        api_that_says((status, body)) as recorded,
        pytest.raises(IntensityApiError, match=reason) as caught,
    ):
        ElectricityMapsApi(TOKEN, base_url=recorded.url).hours("DE", MIDNIGHT, MIDNIGHT + HOUR)

    assert TOKEN not in str(caught.value)


def test_a_redirect_does_not_take_the_token_elsewhere() -> None:
    with api_that_says((200, hours_of(1))) as elsewhere:
        moved = (302, b"", {"Location": elsewhere.url})
        with api_that_says(moved) as recorded, pytest.raises(IntensityApiError, match="status 302"):
            ElectricityMapsApi(TOKEN, base_url=recorded.url).hours("DE", MIDNIGHT, MIDNIGHT + HOUR)

    assert elsewhere.paths == []


def test_nobody_there_is_an_error_that_says_nothing_is_lost() -> None:
    with api_that_says((200, {})) as recorded:
        url = recorded.url

    with pytest.raises(IntensityApiError, match="Nothing measured is lost"):
        ElectricityMapsApi(TOKEN, base_url=url, timeout_seconds=2).hours("DE", MIDNIGHT, MIDNIGHT + HOUR)


def test_the_token_leaves_encrypted_or_not_at_all() -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        ElectricityMapsApi(TOKEN, base_url="http://example.org")
    for token in ("", " x", "x\n", "a\r\nHost: b"):
        with pytest.raises(ValueError, match="token"):
            ElectricityMapsApi(token)


def test_making_one_opens_no_connection() -> None:
    asked: list[str] = []

    api = ElectricityMapsApi(TOKEN, fetch=lambda url, *_: asked.append(url) or b"{}")

    assert api.hours("DE", MIDNIGHT, MIDNIGHT) is None
    assert asked == []

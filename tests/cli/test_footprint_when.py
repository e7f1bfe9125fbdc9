"""`ayni footprint when` answers first, shows what it rests on, and asks nobody unless told to."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from ayni.cli import main

NOW = "2026-03-31T00:00Z"
# Heavy until noon, light for four hours, middling in the evening.
SUNNY_DAY = [300] * 12 + [100] * 4 + [200] * 8


@pytest.fixture(autouse=True)
def narrow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return written(tmp_path / "grid.csv", SUNNY_DAY * 30)


def written(path: Path, grams: list[int], *, zone: str = "DE") -> Path:
    first = datetime(2026, 3, 1, tzinfo=UTC)
    rows = [f"{first + timedelta(hours=index):%Y-%m-%d %H:%M},{value}" for index, value in enumerate(grams)]
    path.write_text("\n".join([f"datetime_utc,{zone}", *rows]))
    return path


@contextmanager
def api_that_says(answers: dict[str, Any]) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """An API on the loopback interface, by the last part of the path: its address, and what it was asked."""
    requests: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0].rpartition("/")[2]
            requests.append((path, self.headers.get("auth-token")))
            body = json.dumps(answers.get(path, {})).encode()
            self.send_response(200 if path in answers else 403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(name: str, first: datetime, grams: list[int]) -> dict[str, Any]:
    hours = [
        {"datetime": (first + timedelta(hours=index)).isoformat(), "carbonIntensity": value}
        for index, value in enumerate(grams)
    ]
    return {"zone": "DE", name: hours}


def asked(*words: str) -> list[str]:
    return ["footprint", "when", "--hours", "4", "--now", NOW, *words]


def with_file(path: Path, *words: str) -> list[str]:
    return asked("--file", str(path), "--counting", "life-cycle", *words)


def test_the_answer_comes_first_then_the_hours_and_what_it_was_worth(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(with_file(table)) == 0

    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].startswith("4 h of work in DE, to be done by Wed 1 Apr 00:00 UTC")
    assert lines[1].startswith("Wait until Tue 31 Mar 12:00 UTC")
    bars = next(index for index, line in enumerate(lines) if line.endswith("100 to 300 g CO2e/kWh"))
    assert lines[bars + 1] == f"  ----{' ' * 8}^^^^{' ' * 8}  - at once  ^ then"
    assert lines[bars + 2] == f"  00    06    12    18{' ' * 4}  hour (UTC)"
    assert any("saved" in line and "% in all" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_times_are_shown_by_this_machines_clock_too(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TZ", "XST-3")
    time.tzset()
    try:
        assert main.run_command(with_file(table)) == 0
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()

    assert "Wait until Tue 31 Mar 12:00 UTC (15:00 here), in 12" in " ".join(capsys.readouterr().out.split())


def test_json_is_the_answer_and_nothing_else(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(with_file(table, "--json")) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["start_at"]) == ("wait", "2026-03-31T12:00:00+00:00")
    assert found["expected_saving"] == pytest.approx(2 / 3)
    assert len(found["replayed"]["percentiles"]) == 19


def test_on_a_flat_grid_it_says_no_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "flat.csv", [500, 505, 495] * 240)

    assert main.run_command(with_file(path)) == 0

    assert "No use waiting" in capsys.readouterr().out


def test_without_hours_it_says_what_it_needs_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(asked("--zone", "DE")) == 2

    shown = " ".join(capsys.readouterr().out.split())
    assert "Cannot tell. An hourly series of the zone is needed" in shown
    assert "its annual mean, 381 g CO2e/kWh" in shown


def test_a_table_that_does_not_say_what_it_counts_names_the_option(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(asked("--file", str(table))) == 2

    assert "--counting life-cycle|direct" in capsys.readouterr().err


def test_a_zone_that_nobody_knows_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(asked("--zone", "Germanny")) == 2

    assert "Did you mean DE" in capsys.readouterr().err


def test_the_picture_is_drawn_where_there_is_something_to_draw(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture, nothing = tmp_path / "when.svg", tmp_path / "nothing.svg"

    assert main.run_command(with_file(table, "--plot", str(picture))) == 0
    assert main.run_command(asked("--zone", "DE", "--plot", str(nothing))) == 2

    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    assert not nothing.exists()
    assert "was not drawn" in capsys.readouterr().err


def test_the_network_is_asked_with_live_alone_and_with_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {
        "past-range": answer("data", datetime(2026, 3, 1, tzinfo=UTC), SUNNY_DAY * 30),
        "forecast": answer("forecast", datetime(2026, 3, 31, tzinfo=UTC), [*SUNNY_DAY, 300]),
    }
    with api_that_says(answers) as (url, requests):
        monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_URL", url)
        monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_TOKEN", "a-token")

        main.run_command(asked("--zone", "DE"))
        num_without_live = len(requests)
        code = main.run_command(asked("--zone", "DE", "--live"))

    shown = capsys.readouterr().out
    assert (code, num_without_live) == (0, 0)
    assert requests == [("past-range", "a-token")] * 3 + [("forecast", "a-token")]
    assert "Expected by a published forecast:" in shown
    assert "a-token" not in shown


def test_live_without_a_token_asks_nobody_and_says_where_to_put_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AYNI_ELECTRICITY_MAPS_TOKEN", raising=False)

    assert main.run_command(asked("--zone", "DE", "--live")) == 2

    assert "AYNI_ELECTRICITY_MAPS_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("token", ["a token", "a\ntoken"])
def test_a_token_that_cannot_be_one_is_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_TOKEN", f" {token} ")

    assert main.run_command(asked("--zone", "DE", "--live")) == 2

    assert token not in capsys.readouterr().err

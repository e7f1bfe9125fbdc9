"""`ayni footprint grid` says what a file is, and asks the network with `--live` alone."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ayni.cli import main


@pytest.fixture(autouse=True)
def narrow(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("AYNI_ELECTRICITY_MAPS_TOKEN", raising=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "grid.csv"
    rows = [f"2026-03-{1 + index // 24:02d} {index % 24:02d}:00,{100 + index % 24},50" for index in range(72)]
    path.write_text("\n".join(["datetime_utc,DE,FR", *rows]))
    return path


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_several_zones_are_named(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["footprint", "grid", str(table)]) == 0

    lines = shown(capsys)
    assert lines[-2:] == ["2 zones: DE, FR", "Choose one with --zone."]


def test_a_zone_is_described_with_its_day_and_the_command_to_go_on_with(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["footprint", "grid", str(table), "--zone", "DE", "--counting", "direct"]) == 0

    lines = shown(capsys)
    assert "Basis:  average, location-based, direct" in lines
    assert "Hours:  72, 1 Mar 2026 00:00 to 4 Mar 2026 00:00 UTC; no holes" in lines
    assert any(line.endswith("100 to 123 g CO2e/kWh") for line in lines)
    command = f"ayni footprint when --hours 4 --file {table} --zone DE --counting direct"
    assert lines[-1] == f"When to run with it: {command}"


def test_what_is_no_grid_file_ends_with_2_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.csv"
    path.write_text("zone,2020\nAT,190\n")

    assert main.run_command(["footprint", "grid", str(path)]) == 2

    assert "line 2: 'AT' is not a time" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [[], ["--live"], ["grid.csv", "--live", "--zone", "DE"], ["grid.csv", "--out", "x.json"]],
)
def test_a_file_or_the_network_and_not_both(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["footprint", "grid", *words]) == 2

    assert "Invalid value" in capsys.readouterr().err


@contextmanager
def api(status: int) -> Iterator[tuple[str, list[str]]]:
    """Yesterday's hours of DE on the loopback interface; `status` for the days before."""
    requests: list[str] = []
    first = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(days=1)
    hours = [
        {"datetime": (first + timedelta(hours=index)).isoformat(), "carbonIntensity": 300 + index}
        for index in range(24)
    ]
    body = json.dumps({"zone": "DE", "data": hours}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path.partition("?")[0].rpartition("/")[2])
            self.send_response(status if requests[-1] == "past-range" else 200)
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


def test_the_networks_hours_are_kept_as_a_file_that_is_read_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out = "de.json"
    monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_TOKEN", "a-token")
    with api(200) as (url, requests):
        monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_URL", url)
        words = ["--live", "--zone", "DE", "--days", "1", "--out", out]
        assert main.run_command(["footprint", "grid", *words]) == 0
        first = shown(capsys)

    assert main.run_command(["footprint", "grid", out]) == 0
    again = shown(capsys)
    assert requests == ["past-range"]
    assert first[0] == f"{out}: API of Electricity Maps"
    assert first[1:] == again[1:]


def test_a_free_token_gives_a_day_and_a_note(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_TOKEN", "a-token")
    with api(403) as (url, requests):
        monkeypatch.setenv("AYNI_ELECTRICITY_MAPS_URL", url)
        assert main.run_command(["footprint", "grid", "--live", "--zone", "DE"]) == 0

    assert requests == ["past-range", "history"]
    assert "Note: this token may ask for the last day only (status 403)" in shown(capsys)

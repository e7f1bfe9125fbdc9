import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ayni.cli import footprint_report
from ayni.footprint.exports.options import UnitError
from ayni.reports.sustainability.inputs import PeriodError

GOLDEN = Path(__file__).parent.parent / "footprint" / "golden" / "receipt_2.json"
RECEIPT: dict[str, Any] = json.loads(GOLDEN.read_text())
CSV = (
    "timestamp,run_id,duration,emissions,energy_consumed,country_iso_code,pue\n"
    "2026-03-01T14:00:00,r,60,0.6,1.5,DEU,1.5\n"
)

app = typer.Typer()
app.command("export")(footprint_report.export)
app.command("import")(footprint_report.import_figures)
app.command("report")(footprint_report.report)


def call(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


@pytest.fixture
def run(home: Path) -> Path:
    folder = home / "runs" / RECEIPT["run"]
    (folder / "receipts").mkdir(parents=True)
    (folder / "receipts" / "0001-train.json").write_text(json.dumps(RECEIPT))
    return folder


def test_an_export_is_the_text_and_nothing_else(run: Path) -> None:
    answer = call("export", "latest", "--as", "sci", "--unit", "1k tokens=1000")

    assert json.loads(answer.stdout)["score"]["functional_unit"] == "1k tokens"
    assert answer.stderr == ""


def test_an_export_into_a_file_says_where_it_is(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "ayni.prom"

    answer = call("export", "--as", "prometheus", "--out", str(out))

    assert answer.stdout == ""
    assert answer.stderr == f"Wrote {out}\n"
    assert out.read_text().startswith("# HELP ayni_footprint_energy_joules ")


def test_a_card_and_a_boamps_report_take_what_only_the_user_knows(run: Path) -> None:
    card = call("export", "--as", "card", "--hardware", "2 x EPYC", "--training-type", "fine-tuning").stdout
    boamps = call("export", "--as", "boamps", "--family", "chatbot", "--confidentiality", "public").stdout

    assert "hardware_used: 2 x EPYC" in card
    assert json.loads(boamps)["task"]["taskFamily"] == "chatbot"
    assert json.loads(boamps)["header"]["publisher"]["confidentialityLevel"] == "public"


def test_a_unit_that_is_none_is_refused(run: Path) -> None:
    with pytest.raises(UnitError):
        call("export", "--as", "sci", "--unit", "bananas=3")


def test_an_import_says_what_came_and_what_is_to_be_known(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(CSV)

    answer = call("import", str(file), "--member", "lab-b", "--by", "maria").stdout

    assert "1 figures of CodeCarbon of unknown version" in answer.replace("\N{NO-BREAK SPACE}", " ")
    assert "maria imported these figures" in answer
    assert "- Times in the file have no zone and were taken for UTC." in answer


def test_an_import_as_json_is_its_statement(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text(CSV)

    found = json.loads(call("import", str(file), "--json", "--time-zone", "Europe/Berlin").stdout)

    assert (found["schema"], found["time_zone"], found["entries"]) == ("ayni/import/1", "Europe/Berlin", 1)


def test_the_report_shows_months_and_members_and_ends_with_the_path(run: Path, home: Path) -> None:
    answer = call("report").stdout.replace("\N{NO-BREAK SPACE}", " ")

    lines = answer.splitlines()
    assert lines[0] == "Footprint, Mar 2026: 1.0 kWh, 480 g CO2e"
    assert lines[-1] == f"Report: {home / 'footprint-report' / 'footprint.html'}"
    assert any(line.startswith("lab-a") for line in lines)
    assert "Not as signed: " in answer


def test_the_report_as_json_writes_no_page_unless_asked(run: Path, home: Path, tmp_path: Path) -> None:
    view = json.loads(call("report", "--json", "--from", "2026-03", "--to", "2026-03").stdout)
    assert (view["schema"], len(view["entries"])) == ("ayni/footprint-report/1", 1)
    assert not (home / "footprint-report").exists()

    call("report", "--json", "--member", "lab-a", "--out", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "footprint-lab-a.html",
        "footprint-lab-a.json",
    ]


def test_a_month_that_is_none_is_refused(home: Path) -> None:
    with pytest.raises(PeriodError, match="Write it as 2026-03"):
        call("report", "--from", "March")

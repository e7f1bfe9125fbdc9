"""`ayni offers` as it is typed: what is shown, what is refused, and with which code it ends."""

import json
from pathlib import Path

import pytest

from ayni.cli import main

LAB = ["offers", "add", "lab", "--machines", "4", "--accelerator", "V100", "--ask", "0.4", "--zone", "DE"]
CLOUD = ["offers", "add-cloud", "gcp", "--accelerator", "L4", "--region", "europe-west4"]
RATE = ["--credits-per-dollar", "0.9"]


@pytest.fixture(autouse=True)
def pool(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    return home


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.run_command(list(words)) == 0
    return capsys.readouterr().out


def test_an_offer_is_added_listed_and_withdrawn(capsys: pytest.CaptureFixture[str]) -> None:
    added = out_of(capsys, *LAB)
    listed = out_of(capsys, "offers", "list")
    withdrawn = out_of(capsys, "offers", "withdraw", "lab-v100")
    after = out_of(capsys, "offers", "list")

    assert added.splitlines()[-1] == "1 offer added."
    assert listed.splitlines()[2].split()[:6] == ["lab-v100", "4", "x", "v100", "0.4", "DE"]
    assert withdrawn == "Withdrawn: lab-v100.\n"
    assert after.startswith("Nothing is offered. Offer machines with: ayni offers add")
    assert "withdrawn" in out_of(capsys, "offers", "list", "--all")


def test_every_command_prints_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    added = json.loads(out_of(capsys, *LAB, "--json"))
    cloud = json.loads(out_of(capsys, *CLOUD, *RATE, "--json"))
    listed = json.loads(out_of(capsys, "offers", "list", "--json"))
    withdrawn = json.loads(out_of(capsys, "offers", "withdraw", "lab-v100", "--json"))

    assert added["refused"] == {}
    assert [entry["id"] for entry in listed] == [
        entry["id"] for found in (added, cloud) for entry in found["added"]
    ]
    assert withdrawn["state"] == "withdrawn"
    assert {entry["offer"]["dated"] for entry in cloud["added"]} == {"2026-07-01"}


def test_a_trial_of_a_cloud_says_so_and_adds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    shown = out_of(capsys, *CLOUD, *RATE, "--dry-run")

    assert "offers would be added. Nothing was." in shown
    assert "2026-07-01" in shown
    assert json.loads(out_of(capsys, "offers", "list", "--json")) == []


def test_machines_that_cannot_be_sold_are_counted_with_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    shown = out_of(capsys, "offers", "add-cloud", "gcp", "--region", "us-central1", *RATE, "--dry-run")

    assert "Not offered are 14 others:" in shown
    assert "e2-standard-16 in us-central1: it has no accelerator" in " ".join(shown.split())
    assert "and 9 more; `--json` names all." in shown


def test_a_table_of_offers_keeps_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    shown = out_of(capsys, *CLOUD, *RATE)

    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["offers", "add", "lab"], "Missing option '--ask'"),
        ([*LAB[:-4], "--ask", "-1"], "not negative"),
        ([*LAB[:-4], "--ask", "1000000"], "looks like a slip; the most is 10,000"),
        ([*LAB, "--for", "soon"], "is not a duration"),
        ([*LAB, "--from", "2026-11-23T20:00"], "does not match the formats"),
        ([*LAB, "--daily", "20:00-06:00", "--timezone", "Berlin"], "is no time zone that is known here"),
        ([*LAB, "--throughput", "much"], "no ratio above 0"),
        (["offers", "add", "office", "--ask", "0.1"], "--throughput"),
        ([*CLOUD], "Missing option '--credits-per-dollar'"),
        ([*CLOUD, "--credits-per-dollar", "0"], "no exchange rate"),
        (["offers", "add-cloud", "alibaba", *RATE], "never invented"),
        (["offers", "add-cloud", "azure", "--accelerator", "V100", *RATE], "too old to buy by"),
        (["offers", "add-cloud", "nimbus", *RATE], "'nimbus' is not one of"),
        (["offers", "withdraw", "lab-v100"], "No offer is called 'lab-v100'"),
    ],
)
def test_what_cannot_be_is_an_error_that_the_caller_can_mend(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main.run_command(words) == 2

    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_one_machine_cannot_be_offered_twice(capsys: pytest.CaptureFixture[str]) -> None:
    out_of(capsys, *LAB)

    assert main.run_command(LAB) == 2

    assert "both offer machines of class 'v100' at 'lab'" in capsys.readouterr().err


def test_a_time_with_its_zone_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(out_of(capsys, *LAB, "--from", "2099-03-01T20:00+0100", "--for", "10h", "--json"))

    assert found["added"][0]["offer"]["windows"] == [
        ["2099-03-01T19:00:00+00:00", "2099-03-02T05:00:00+00:00"]
    ]


def test_the_operators_own_prices_are_read(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("region,instance_type,usd_per_hour\ncn-beijing,ecs.gn6v-c8g1.2xlarge,2.5\n")
    words = ["offers", "add-cloud", "alibaba", "--prices", str(path), "--dated", "2026-11-01", *RATE]

    found = json.loads(out_of(capsys, *words, "--json"))
    path.write_text("region,instance_type,usd_per_hour\ncn-beijing,ecs.gn6v-c8g1.2xlarge,\n")
    code = main.run_command(words)

    assert found["added"][0]["offer"]["zone"] == "CN"
    assert code == 2
    assert "mine.csv, line 2" in capsys.readouterr().err

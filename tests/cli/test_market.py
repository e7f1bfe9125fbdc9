"""`ayni market clear --dry-run` shows a round and books nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ayni.cli import main
from ayni.market.double_entry import available
from ayni.wiring import market as market_wiring


@pytest.fixture
def pool(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "task.py").write_text("class Digits:\n    pass\n")
    path = tmp_path / "job.yaml"
    path.write_text("name: digits\ntask: task:Digits\n")
    return path


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.run_command(list(words)) == 0
    return capsys.readouterr().out


def fill(capsys: pytest.CaptureFixture[str], job: Path) -> None:
    lab = ["offers", "add", "lab", "--member", "uni", "--accelerator", "V100", "--ask", "0.4", "--zone", "DE"]
    out_of(capsys, *lab)
    for worth, name in ((20, "a"), (2, "b")):
        options = ["--work", "20", "--worth", str(worth), "--id", name]
        out_of(capsys, "jobs", "submit", str(job), *options)


def test_a_round_shows_who_runs_where_and_who_gets_nothing(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(capsys, pool)

    shown = out_of(capsys, "market", "clear", "--dry-run")

    first, *lines = shown.splitlines()
    assert first.startswith("A round over 2 jobs and 1 offer, 48 hours from ")
    assert " ".join(lines[2].split()).startswith("a lab, v100")
    assert any(line.startswith("b gets nothing: The cheapest place costs 8.") for line in lines)
    assert "CO2e of DE is by annual means" in " ".join(shown.split())
    assert max(map(len, lines[:3])) <= 80


def test_a_round_as_json_books_nothing(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(capsys, pool)
    ledger = market_wiring.pool().ledger
    before = ledger.balance(available("me"))

    found = json.loads(out_of(capsys, "market", "clear", "--dry-run", "--hours", "24", "--json"))

    assert (found["is_trial"], found["hours"]) == (True, 24.0)
    assert [each["job"] for each in found["placed"]] == ["a"]
    assert found["placed"][0]["payment_microcredits"] >= found["placed"][0]["ask_microcredits"]
    assert ledger.balance(available("me")) == before
    assert len(json.loads(out_of(capsys, "jobs", "list", "--json"))) == 2


def test_a_job_is_told_why_it_gets_what_it_gets(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(capsys, pool)

    winner = out_of(capsys, "jobs", "explain", "a")
    loser = out_of(capsys, "jobs", "explain", "b")
    found = json.loads(out_of(capsys, "jobs", "explain", "b", "--json"))

    assert "It pays what the place costs" in winner
    assert "b gets nothing: The cheapest place costs 8." in loser
    assert "It would win if it paid 20 credits or more; then a (me) would get" in loser
    assert found["least_worth_microcredits"] == pytest.approx(20_000_000, abs=2)
    assert found["placed"] is None


def test_an_empty_round_is_a_round(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "0 jobs and 0 offers" in out_of(capsys, "market", "clear", "--dry-run")


def test_a_booked_round_holds_credits_and_a_release_gives_them_back(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(capsys, pool)
    ledger = market_wiring.pool().ledger
    before = ledger.balance(available("me"))

    cleared = out_of(capsys, "market", "clear")
    leases = json.loads(out_of(capsys, "market", "leases", "--json"))
    again = out_of(capsys, "market", "clear")
    states = {each["id"]: each["state"] for each in json.loads(out_of(capsys, "jobs", "list", "--json"))}
    held = before - ledger.balance(available("me"))
    released = out_of(capsys, "market", "release", "a.1")

    assert "Booked as round 1." in " ".join(cleared.split())
    assert "Sites are not told by this installation" in " ".join(cleared.split())
    assert [(each["id"], each["state"]) for each in leases] == [("a.1", "held")]
    assert held == leases[0]["escrow_microcredits"] >= leases[0]["payment_microcredits"]
    assert "A round over 1 job and" in again
    assert states == {"a": "placed", "b": "waiting"}
    assert "Released: a.1." in released
    assert ledger.balance(available("me")) == before
    assert "No lease is held" in out_of(capsys, "market", "leases")
    assert main.run_command(["ledger", "check"]) == 0


def test_a_lease_that_has_ended_cannot_be_released_again(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(capsys, pool)
    out_of(capsys, "market", "clear")
    out_of(capsys, "market", "release", "a.1")

    assert main.run_command(["market", "release", "a.1"]) == 2
    assert "has ended already (cancelled: released by its buyer)" in capsys.readouterr().err
    assert main.run_command(["market", "release", "nobody"]) == 2
    assert "No lease is called 'nobody'. There is none yet." in capsys.readouterr().err


def test_a_job_with_a_place_is_explained_and_not_withdrawn(
    pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(capsys, pool)
    out_of(capsys, "market", "clear")

    told = " ".join(out_of(capsys, "jobs", "explain", "a").split())

    assert "a is placed." in told
    assert "were expected to save 0 g CO2e beside beginning at once." in told
    assert main.run_command(["jobs", "withdraw", "a"]) == 2
    assert "Release it first: ayni market release a.1" in capsys.readouterr().err


def test_a_carbon_budget_is_set_shown_and_kept(pool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(capsys, pool)
    out_of(capsys, "market", "budget", "me", "--kilograms", "0.001")

    cleared = " ".join(out_of(capsys, "market", "clear").split())
    shown = json.loads(out_of(capsys, "market", "budget", "--json"))
    out_of(capsys, "market", "budget", "me", "--no-limit")

    assert "more than the 1 g that are left of me's budget" in cleared
    assert [(each["member"], each["grams"], each["used_grams"]) for each in shown] == [("me", 1.0, 0.0)]
    assert "No member has a carbon budget" in out_of(capsys, "market", "budget")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["me"], "--kilograms 50"),
        (["--kilograms", "5"], "whose budget it is"),
        (["me", "--kilograms", "-1"], "is no amount of CO2e"),
        (["me", "--kilograms", "nan"], "is no amount of CO2e"),
        (["me", "--month", "2026-13", "--kilograms", "1"], "is no month"),
        (["m e", "--kilograms", "1"], "is no name"),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused(
    home: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["market", "budget", *words]) == 2
    assert said in capsys.readouterr().err


def test_the_light_install_offers_and_submits_and_names_what_a_round_needs(pool: Path) -> None:
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('numpy', 'torch', 'numba', 'scipy')))\n"
        "from ayni.cli.main import run_command\n"
        "offer = ['offers', 'add', 'lab', '--accelerator', 'V100', '--ask', '0.4']\n"
        "submit = ['jobs', 'submit', sys.argv[1], '--work', '1', '--worth', '5']\n"
        "clear = ['market', 'clear', '--dry-run']\n"
        "print(*[run_command(words) for words in (offer, submit, clear)])\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, str(pool)], capture_output=True, text=True, check=True
    )

    assert done.stdout.splitlines()[-1] == "0 0 2"
    assert "pip install 'ayni[market]'" in done.stderr

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ayni.files import read_json_lines
from ayni.footprint.counters.cascade import NodeCounters
from ayni.footprint.counters.meters import ScriptedCounter
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.embodied import server
from ayni.footprint.receipts.receipt import ReceiptSubject, last_hash, receipt_of_step, write_receipt
from ayni.footprint.receipts.site_conditions import SiteConditions
from ayni.footprint.receipts.verification import verify_receipts
from ayni.footprint.windows.cpu_time import ScriptedCpuClock
from ayni.footprint.windows.node_meter import NodeMeter
from ayni.signing import SigningKey, load_or_create_key

STEPS = ("plan", "train", "compress", "publish")
SITE = SiteConditions(
    zone=None,
    pue=1.3,
    wue_litres_per_kwh=1.8,
    machine=server(num_processors=1, memory_gigabytes=64),
    tariff=Tariff(name="flat", flat_microcredits_per_kwh=300_000),
    ask_microcredits_per_core_hour=10_000_000,
)


def meter_steps(path: Path, *, unknown: tuple[str, ...] = ()) -> None:
    clock, counter = ScriptedCpuClock(), ScriptedCounter(idle_watts=3.0)
    counters = NodeCounters(processor=counter, device=None, unknown=unknown, notes=(), cpu_clock=clock)
    with NodeMeter(
        path, job="r1", counters=counters, reserved_cores=1, num_cores=2, interval_seconds=3600
    ) as meter:
        for step in STEPS:
            for attempt in (1, 2):
                meter.begin_step(step, attempt)
                counter.add(12_345_678)
                clock.job_seconds += 1.0
                clock.node_seconds += 1.5
                meter.end_step()


def write_receipts(folder: Path, key: SigningKey, *, steps: tuple[str, ...] = STEPS) -> None:
    rows = read_json_lines(folder / "meter" / "windows.jsonl")
    for step in steps:
        body = receipt_of_step(
            rows,
            step,
            subject=ReceiptSubject(run="r1", job="digits", member="me", site="own", node="vm"),
            conditions=SITE,
            previous_hash=last_hash(folder / "receipts"),
        )
        write_receipt(folder / "receipts", body, key)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "key.pem")


@pytest.fixture
def run(tmp_path: Path, key: SigningKey) -> Path:
    folder = tmp_path / "run"
    meter_steps(folder / "meter" / "windows.jsonl")
    write_receipts(folder, key)
    return folder


def edit_line(path: Path, position: int, edit: Callable[[dict], None]) -> None:
    lines = path.read_text().splitlines()
    value = json.loads(lines[position])
    edit(value)
    lines[position] = json.dumps(value)
    path.write_text("\n".join(lines) + "\n")


def test_an_honest_run_has_no_problem(run: Path, key: SigningKey) -> None:
    assert verify_receipts(run) == []
    assert verify_receipts(run, key.public_key) == []


def test_energy_that_is_unknown_verifies_as_unknown(tmp_path: Path, key: SigningKey) -> None:
    meter_steps(tmp_path / "run" / "meter" / "windows.jsonl", unknown=("gpu",))
    write_receipts(tmp_path / "run", key)

    assert verify_receipts(tmp_path / "run") == []


def test_any_flipped_byte_of_a_receipt_is_found(run: Path) -> None:
    path = run / "receipts" / "0002-train.json"
    honest = path.read_bytes()

    # Every seventh byte and the lowest bit, so that the file mostly stays text and JSON.
    for position in range(0, len(honest), 7):
        damaged = bytearray(honest)
        damaged[position] ^= 1
        if is_same_value(bytes(damaged), honest):
            continue
        path.write_bytes(damaged)
        assert verify_receipts(run), f"byte {position} of {path.name}"


def is_same_value(damaged: bytes, honest: bytes) -> bool:
    """Whether a flipped byte left the value alone (it was a blank between two tokens)."""
    try:
        return bool(json.loads(damaged) == json.loads(honest))
    except ValueError:
        return False


@pytest.mark.parametrize("position", range(len(STEPS)))
def test_a_removed_receipt_is_found_wherever_it_stood(run: Path, position: int) -> None:
    sorted((run / "receipts").iterdir())[position].unlink()

    problems = verify_receipts(run)

    assert any("windows without a receipt" in problem for problem in problems)


def test_a_replayed_receipt_is_found(run: Path) -> None:
    content = (run / "receipts" / "0002-train.json").read_bytes()
    (run / "receipts" / "0005-train.json").write_bytes(content)

    problems = verify_receipts(run)

    assert any("more than one receipt" in problem for problem in problems)
    assert any("missing, repeated or out of order" in problem for problem in problems)


def test_a_replayed_window_is_found(run: Path) -> None:
    path = run / "meter" / "windows.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:4], lines[3], *lines[4:]]) + "\n")

    assert any("missing or repeated" in problem for problem in verify_receipts(run))


def test_a_removed_window_is_found(run: Path) -> None:
    path = run / "meter" / "windows.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:4] + lines[5:]) + "\n")

    problems = verify_receipts(run)

    assert any("to 4 the meter's file lacks 1" in problem for problem in problems)
    assert any("does not begin where" in problem for problem in problems)


def test_energy_moved_from_the_job_to_others_is_found_though_it_still_adds_up(run: Path) -> None:
    def move(window: dict) -> None:
        window["jobs"]["r1"]["dynamic_microjoules"] -= 1
        window["other_microjoules"] += 1

    edit_line(run / "meter" / "windows.jsonl", 3, move)

    problems = verify_receipts(run)
    assert any("energy_microjoules" in problem for problem in problems)
    assert any("sha256" in problem for problem in problems)


def test_energy_that_vanishes_breaks_conservation(run: Path) -> None:
    def lose(window: dict) -> None:
        window["other_microjoules"] -= 1

    edit_line(run / "meter" / "windows.jsonl", 3, lose)

    assert any("the node drew" in problem for problem in verify_receipts(run))


def test_a_better_tier_claimed_in_the_meters_line_is_found(run: Path) -> None:
    edit_line(run / "meter" / "windows.jsonl", 0, lambda meter: meter["processor"].update(high_factor=1.0))

    assert any("sha256" in problem for problem in verify_receipts(run))


def test_a_removed_interruption_is_found(tmp_path: Path, key: SigningKey) -> None:
    path = tmp_path / "run" / "meter" / "windows.jsonl"
    meter_steps(path)
    lines = path.read_text().splitlines()
    interruption = {"kind": "interruption", "step": "train", "unmetered_seconds_at_most": 9.0}
    path.write_text("\n".join([*lines, json.dumps(interruption)]) + "\n")
    write_receipts(tmp_path / "run", key)
    assert verify_receipts(tmp_path / "run") == []

    path.write_text("\n".join(lines) + "\n")

    assert any("unmetered_seconds_at_most" in problem for problem in verify_receipts(tmp_path / "run"))


def test_receipts_signed_by_somebody_else_are_refused(run: Path, tmp_path: Path) -> None:
    other = load_or_create_key(tmp_path / "other.pem")

    assert any("somebody else" in problem for problem in verify_receipts(run, other.public_key))


def sign_again(run: Path, key: SigningKey, change: Callable[[dict], None]) -> None:
    """What a liar with the key would do: change the last receipt and sign it."""
    path = sorted((run / "receipts").iterdir())[-1]
    body = json.loads(path.read_text())
    path.unlink()
    for name in ("public_key", "hash", "signature"):
        body.pop(name)
    change(body)
    write_receipt(run / "receipts", body, key)


@pytest.mark.parametrize(
    "field",
    [
        "energy_microjoules",
        "facility_energy_microjoules",
        "cpu_seconds",
        "carbon.grams_co2e",
        "carbon.low_grams_co2e",
        "carbon.high_grams_co2e",
        "cost.machine_microcredits",
        "cost.electricity_microcredits",
        "cost.total_microcredits",
    ],
)
def test_a_re_signed_lie_is_caught_by_the_windows(run: Path, key: SigningKey, field: str) -> None:
    *section, name = field.split(".")

    def raise_it(body: dict) -> None:
        place = body[section[0]] if section else body
        place[name] = place[name] * 2 + 1

    sign_again(run, key, raise_it)

    assert [problem for problem in verify_receipts(run, key.public_key) if f" {field} is " in problem]


def test_a_re_signed_cost_whose_parts_still_add_up_is_caught(run: Path, key: SigningKey) -> None:
    def raise_both(body: dict) -> None:
        body["cost"]["machine_microcredits"] += 1000
        body["cost"]["total_microcredits"] += 1000

    sign_again(run, key, raise_both)

    problems = verify_receipts(run, key.public_key)
    assert any("machine_microcredits" in problem for problem in problems)


def test_a_run_without_receipts_or_windows_is_a_finding_and_not_a_crash(tmp_path: Path) -> None:
    assert any("no receipt" in problem for problem in verify_receipts(tmp_path))


def test_files_of_another_form_are_a_finding_and_not_a_crash(run: Path) -> None:
    (run / "meter" / "windows.jsonl").write_text('[1]\n{"kind": "window"}\n')

    assert any("lacks its form" in problem for problem in verify_receipts(run))


@pytest.mark.parametrize("value", ["NaN", '"\\ud800"'])
def test_what_json_does_not_allow_is_a_finding_and_not_a_crash(run: Path, value: str) -> None:
    path = run / "receipts" / "0001-plan.json"
    path.write_text(path.read_text().replace('"pue": 1.3', f'"pue": {value}'))

    assert any("cannot have been signed" in problem for problem in verify_receipts(run))

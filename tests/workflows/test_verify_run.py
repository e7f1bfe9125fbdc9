"""What `ayni verify` finds beside changed bytes: lies that were signed again, other keys, lost files."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ayni import wiring
from ayni.files import read_json, read_json_lines, write_json
from ayni.footprint.grid.tariffs import Tariff
from ayni.footprint.impacts.emissions import hourly_energy
from ayni.footprint.receipts.receipt import ReceiptSubject, build_receipt
from ayni.footprint.receipts.receipt_terms import terms_of_receipt
from ayni.footprint.windows.window_file import total_of_windows
from ayni.jobs.runs import Run
from ayni.signing import FIRST_OF_CHAIN, SIGNATURE_FIELDS, SigningKey, load_or_create_key, sign_record
from ayni.train.accepted import AcceptedUpdate, append_accepted, write_unused
from ayni.workflows.house import House
from ayni.workflows.progress import SilentProgress
from ayni.workflows.run_job import run_job
from ayni.workflows.seal_run import MANIFEST_FILE, seal_run
from ayni.workflows.verify_run import CheckResult, Verification, verify, verify_run


@pytest.fixture
def key(finished_once: tuple[Run, House]) -> SigningKey:
    """The key of the home that made the finished run."""
    return finished_once[1].key


@pytest.fixture
def own_run(house: House, new_run: Callable[..., Run]) -> Run:
    """A finished run that still lies in its home."""
    run = new_run()
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=False)
    return run


def failed(found: Verification) -> dict[str, str]:
    return {check.name: "; ".join(check.problems) for check in found.checks if check.problems}


def failed_of(found: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["detail"] for check in found["checks"] if not check["ok"]}


def seal_again(run: Run, key: SigningKey) -> None:
    (run.folder / MANIFEST_FILE).unlink()
    seal_run(run, key)


def sign_receipts_again(run: Run, key: SigningKey, change: Callable[[dict[str, Any]], None]) -> None:
    """What an owner would do who wants another bill: change receipts, chain and sign them, seal the run."""
    previous = FIRST_OF_CHAIN
    for path in sorted((run.folder / "receipts").iterdir()):
        body = {name: value for name, value in read_json(path).items() if name not in SIGNATURE_FIELDS}
        change(body)
        signed = sign_record({**body, "previous_hash": previous}, key)
        write_json(path, signed)
        previous = signed["hash"]
    seal_again(run, key)


def test_a_run_of_this_home_is_checked_with_its_key_by_id_and_by_path(own_run: Run, house: House) -> None:
    by_id, by_path = wiring.verify(own_run.id), wiring.verify(own_run.folder)

    assert by_id == by_path
    assert (by_id["run"], by_id["ok"]) == (own_run.id, True)
    assert by_id["key"] == {"public_key": house.key.public_key, "of": "home"}
    detail = next(check["detail"] for check in by_id["checks"] if check["name"] == "key")
    assert detail == f"{house.key.public_key[:12]}..., this home's"


@pytest.mark.parametrize("by_path", [False, True])
def test_a_run_in_this_home_that_somebody_else_signed_is_found(
    own_run: Run, tmp_path: Path, by_path: bool
) -> None:
    other = load_or_create_key(tmp_path / "other.pem")
    sign_receipts_again(own_run, other, lambda _receipt: None)

    found = wiring.verify(own_run.folder if by_path else own_run.id)

    assert {"key", "files", "receipts"} <= set(failed_of(found))
    assert f"signed by {other.public_key[:12]}" in failed_of(found)["key"]


@pytest.mark.parametrize("by_path", [False, True])
def test_a_home_without_its_key_cannot_call_a_run_its_own(own_run: Run, home: Path, by_path: bool) -> None:
    (home / "keys" / "signing.pem").unlink()

    found = wiring.verify(own_run.folder if by_path else "latest")

    assert "this home has no key" in failed_of(found)["key"]
    assert found["key"] == {"public_key": None, "of": "home"}
    assert not (home / "keys" / "signing.pem").exists()


def test_a_copy_from_elsewhere_is_named_by_its_manifest_and_checked_with_the_key_in_it(
    finished: Run, key: SigningKey, home: Path, tmp_path: Path
) -> None:
    copy = finished.folder.rename(tmp_path / "a copy")

    found = wiring.verify(copy)

    assert (found["run"], found["ok"]) == (finished.id, True)
    assert found["key"] == {"public_key": key.public_key, "of": "manifest"}
    assert any("the one inside its manifest" in check["detail"] for check in found["checks"])


def test_before_it_is_sealed_a_run_is_named_by_its_own_status(finished: Run, tmp_path: Path) -> None:
    copy = finished.folder.rename(tmp_path / "a copy")
    (copy / MANIFEST_FILE).unlink()

    found = verify(copy, expected_public_key=None, is_own=False)

    assert found.run == finished.id
    assert {"finished", "key", "files"} <= set(failed(found))


def test_published_files_of_a_run_of_this_home_that_are_gone_are_found_and_the_advice_brings_them_back(
    own_run: Run, house: House
) -> None:
    snapshot = house.hub.find("me/points")
    shutil.rmtree(snapshot.folder)

    found = failed_of(wiring.verify(own_run.id))
    assert list(found) == ["published"]
    assert f'ayni.load("me/points", revision="{snapshot.revision}")' in found["published"]

    wiring.load("me/points", revision=snapshot.revision)
    assert wiring.verify(own_run.id)["ok"]


def test_published_files_of_a_run_from_elsewhere_need_not_be_here(own_run: Run, tmp_path: Path) -> None:
    copy = shutil.copytree(own_run.folder, tmp_path / "copy")
    shutil.rmtree(own_run.folder.parent.parent / "hub")

    found = wiring.verify(copy)

    assert found["ok"]
    assert found["checks"][-1]["detail"].endswith("is not on this machine")


def test_a_bill_that_was_raised_and_signed_again_does_not_follow_from_the_windows(
    finished: Run, key: SigningKey
) -> None:
    def raise_bill(receipt: dict[str, Any]) -> None:
        if receipt["step"] == "train":
            receipt["cost"]["machine_microcredits"] += 1000
            receipt["cost"]["total_microcredits"] += 1000

    sign_receipts_again(finished, key, raise_bill)

    found = failed(verify(finished.folder, expected_public_key=key.public_key, is_own=True))
    assert "receipt of train: cost.machine_microcredits" in found["receipts"]
    assert "does not follow from the receipts" in found["ledger"]


def test_prices_that_were_raised_with_the_bill_are_not_those_of_the_job(
    finished: Run, key: SigningKey
) -> None:
    rows = read_json_lines(finished.folder / "meter" / "windows.jsonl")

    def raise_price(receipt: dict[str, Any]) -> None:
        terms = terms_of_receipt(receipt)
        dearer = replace(terms, tariff=Tariff(name="flat", flat_microcredits_per_kwh=900_000))
        body = build_receipt(
            total_of_windows(rows, receipt["step"], job=finished.id),
            hourly_energy(rows, receipt["step"], job=finished.id),
            subject=ReceiptSubject(**{name: receipt[name] for name in ReceiptSubject.__slots__}),
            terms=dearer,
        )
        receipt["cost"] = body["cost"]

    sign_receipts_again(finished, key, raise_price)

    found = failed(verify(finished.folder, expected_public_key=key.public_key, is_own=True))
    assert "receipts" not in found
    assert "tariff_microcredits_per_kwh is 900000, the job says 300000" in found["terms"]


def test_receipts_that_were_never_paid_are_found_though_the_run_was_sealed_again(
    own_run: Run, house: House
) -> None:
    path = own_run.folder / "ledger.json"
    rows = read_json(path)
    write_json(path, [row for row in rows if row["kind"] == "hold"])
    seal_again(own_run, house.key)

    found = failed(verify(own_run.folder, expected_public_key=house.key.public_key, is_own=True))

    assert list(found) == ["ledger"]
    gone = next(row["id"] for row in rows if row["kind"] == "draw")
    assert f"{gone} is missing" in found["ledger"]


def test_every_charged_receipt_of_an_honest_run_is_paid_once(finished: Run, key: SigningKey) -> None:
    found = verify(finished.folder, expected_public_key=key.public_key, is_own=True)

    details = {check.name: check.detail for check in found.checks}
    assert found.is_ok
    # plan, train, explain, publish; settling and reporting are not charged.
    assert "4 receipts are paid once" in details["ledger"]


def test_a_run_under_way_has_one_finding_that_it_is_not_finished(
    house: House, new_run: Callable[..., Run]
) -> None:
    run = new_run()

    checks = verify_run(run.folder, expected_public_key=house.key.public_key)

    found = {check.name: check.problems for check in checks if check.problems}
    assert "finished" in found
    assert not found.keys() & {"files", "ledger", "published"}


def samples_check(folder: Path) -> CheckResult:
    checks = verify_run(folder, expected_public_key=None)
    return next(check for check in checks if check.name == "samples")


def test_a_block_that_a_learner_works_on_is_no_gap_before_training_is_over(tmp_path: Path) -> None:
    names = {"round": 1, "learner": 1, "attempt": 1, "num_examples": 100}
    append_accepted(tmp_path / "train", [AcceptedUpdate(**names, start=16, num_samples=16)])

    under_way = samples_check(tmp_path)
    write_json(tmp_path / "steps" / "train.json", {})
    over = samples_check(tmp_path)

    assert (under_way.problems, under_way.detail) == ((), "each counts once so far")
    assert over.problems == ("examples [0, 16) of the stream were skipped",)


def test_blocks_that_a_training_ended_without_are_named_and_not_a_finding(tmp_path: Path) -> None:
    names = {"round": 1, "learner": 1, "attempt": 1, "num_examples": 100}
    append_accepted(tmp_path / "train", [AcceptedUpdate(**names, start=16, num_samples=16)])
    write_json(tmp_path / "steps" / "train.json", {})

    write_unused(tmp_path / "train", [(0, 16)])

    assert samples_check(tmp_path).problems == ()
    assert "16 of learners that did not answer in the end are left out" in samples_check(tmp_path).detail


def test_a_home_that_was_moved_as_a_whole_still_verifies(
    house: House, new_run: Callable[..., Run], home: Path
) -> None:
    run = new_run()
    with run.lock():
        run_job(run, house, progress=SilentProgress(), approve=None, yes=True)
    key = house.key.public_key
    moved = home.rename(home.with_name("moved"))

    checks = verify_run(moved / "runs" / run.id, expected_public_key=key)

    assert [check for check in checks if check.problems] == []

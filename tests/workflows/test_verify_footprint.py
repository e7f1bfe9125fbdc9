"""Receipts that were tampered with are found from files alone, and honest ones are not accused."""

import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.footprint.pretended_node import SITE, Node

from ayni.files import read_json_lines
from ayni.footprint.receipts.evidence import NoEvidenceError
from ayni.footprint.receipts.receipt import ReceiptSubject, last_hash, receipt_of_step, write_receipt
from ayni.signing import SigningKey, load_or_create_key, sign_record
from ayni.workflows.verify_footprint import FootprintVerification, verify_footprint


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "key.pem")


@pytest.fixture
def stranger(tmp_path: Path) -> SigningKey:
    return load_or_create_key(tmp_path / "stranger.pem")


def meter(node: Node, *jobs: str, seed: int = 0, num_windows: int = 16) -> None:
    """Two steps of work of all jobs at once, in windows that are all different."""
    rng = random.Random(seed)
    for step in ("train", "compress"):
        for job in jobs:
            node.meters[job].begin_step(step)
        for _ in range(num_windows // 2):
            busy = {job: rng.uniform(0.1, 1.0) for job in jobs}
            node.work(1.0 + rng.random() / 100, busy, others=rng.random(), device=rng.randrange(10**7))
            for job in jobs:
                node.meters[job].begin_step(step)
    for job in jobs:
        node.stop(job)


@pytest.fixture
def run(tmp_path: Path, key: SigningKey) -> Path:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    node.start("r1", cores=2)
    meter(node, "r1")
    return node.sign("r1", key)


def verify(*paths: Path, **given_: Any) -> FootprintVerification:
    return verify_footprint(paths, **given_)


def failed(found: FootprintVerification) -> list[str]:
    return [check.name for check in found.checks if check.problems]


def problems(found: FootprintVerification) -> str:
    return " | ".join(problem for check in found.checks for problem in check.problems)


def detail(found: FootprintVerification, name: str) -> str:
    return next(check.detail for check in found.checks if check.name == name)


def receipts_of(run: Path) -> list[Path]:
    return sorted((run / "receipts").iterdir())


def windows_of(run: Path) -> Path:
    return run / "meter" / "windows.jsonl"


def edit(path: Path, change: Callable[[Any], None]) -> None:
    body = json.loads(path.read_text())
    change(body)
    path.write_text(json.dumps(body))


def edit_rows(run: Path, change: Callable[[list[Any]], None]) -> None:
    rows = read_json_lines(windows_of(run))
    change(rows)
    windows_of(run).write_text("".join(json.dumps(row) + "\n" for row in rows))


def sign_again(run: Path, key: SigningKey, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """What a liar with a key does: make all receipts again from the windows as they are now."""
    old = [json.loads(path.read_text()) for path in receipts_of(run)]
    shutil.rmtree(run / "receipts")
    rows = read_json_lines(windows_of(run))
    for receipt in old:
        job = next(job for row in rows if row["kind"] == "window" for job in row["jobs"])
        subject = ReceiptSubject(run=job, job=job, member="me", site="own", node="pretended")
        body = receipt_of_step(
            rows,
            receipt["step"],
            subject=subject,
            conditions=SITE,
            previous_hash=last_hash(run / "receipts"),
        )
        if change is not None:
            change(body)
        write_receipt(run / "receipts", body, key)


# --- honest files


def test_an_honest_run_is_well_in_every_form_in_which_it_may_be_handed_in(run: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "run"), "zip", run.parent))
    single = [*receipts_of(run), windows_of(run)]

    for given_ in ([run], [run.parent], [run.parent.parent], [archive], single, receipts_of(run)):
        found = verify(*given_)
        assert failed(found) == [], problems(found)
        assert sum(each["receipts"] for each in found.runs) == 2

    assert failed(verify(windows_of(run))) == []
    assert "2 receipts follow from their windows" in detail(verify(*single), "sums")
    assert "2 only by themselves" in detail(verify(*receipts_of(run)), "sums")
    assert failed(verify(run / "receipts")) == []


def test_the_energy_is_that_of_the_receipts(run: Path) -> None:
    receipts = [json.loads(path.read_text()) for path in receipts_of(run)]
    energy = sum(receipt["energy_microjoules"] for receipt in receipts)

    found = verify(run)

    assert (found.energy_microjoules, found.tier) == (energy, "W1")
    assert found.to_json()["energy_joules"] == energy / 1e6
    assert verify(windows_of(run)).to_json()["energy_joules"] == 0


def test_part_of_a_chain_is_well_and_says_that_it_begins_later(run: Path) -> None:
    found = verify(receipts_of(run)[1])

    assert failed(found) == []
    assert "1 begin later" in detail(found, "chains")


def test_energy_that_is_unknown_is_unknown_and_well(tmp_path: Path, key: SigningKey) -> None:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    node.start("r1", cores=2)
    node.processor.lose_track()
    meter(node, "r1")

    folder = node.sign("r1", key)

    for given_ in ([folder], receipts_of(folder)):
        found = verify(*given_)
        assert failed(found) == [], problems(found)
        assert (found.energy_microjoules, found.tier) == (None, "W5")


def test_eight_ranks_side_by_side_are_well_and_are_one_machine(tmp_path: Path, key: SigningKey) -> None:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    ranks = [f"rank{number}" for number in range(8)]
    for rank in ranks:
        node.start(rank, cores=4, holds_gpu=True)
    meter(node, *ranks)
    for rank in ranks:
        node.sign(rank, key)

    found = verify(node.folder)

    assert failed(found) == [], problems(found)
    assert "28 pairs of meters" in detail(found, "node")
    assert found.energy_microjoules is not None
    assert found.energy_microjoules <= node.processor.read().microjoules + node.device.read().microjoules


def nested(tmp_path: Path, key: SigningKey) -> Node:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    node.start("outer", cores=4)
    node.start("inner", cores=2, within="outer")
    node.start("innermost", cores=2, within="inner")
    meter(node, "innermost", "inner", "outer")
    for job in node.clocks:
        node.sign(job, key)
    return node


def test_runs_within_others_are_counted_once(tmp_path: Path, key: SigningKey) -> None:
    node = nested(tmp_path, key)
    energy = {job: node.total(job).job_microjoules for job in node.clocks}
    home = node.folder

    assert failed(verify(home)) == [], problems(verify(home))
    # The receipts are of steps; only the time after the last one is in none of them.
    of_steps = {
        job: sum(json.loads(path.read_text())["energy_microjoules"] for path in receipts_of(home / job))
        for job in energy
    }
    assert verify(home).energy_microjoules == of_steps["outer"]
    assert verify(home / "inner", home / "innermost").energy_microjoules == of_steps["inner"]
    assert verify(home / "outer", home / "innermost").energy_microjoules == of_steps["outer"]
    assert verify(home / "innermost").energy_microjoules == of_steps["innermost"]
    assert "2 count in full" in detail(verify(home / "innermost"), "nested")


# --- one byte


def flips(content: bytes, stride: int) -> Iterator[tuple[int, bytes]]:
    """Files of which one bit is another, where this changes what the file says."""
    for position in range(0, len(content), stride):
        damaged = bytearray(content)
        damaged[position] ^= 1
        if not says_the_same(bytes(damaged), content):
            yield position, bytes(damaged)


def says_the_same(damaged: bytes, honest: bytes) -> bool:
    try:
        return [json.loads(line) for line in damaged.splitlines()] == [
            json.loads(line) for line in honest.splitlines()
        ]
    except ValueError:
        pass
    try:
        return bool(json.loads(damaged) == json.loads(honest))
    except ValueError:
        return False


@pytest.mark.parametrize("alone", [True, False])
def test_any_flipped_bit_of_a_receipt_is_found_with_its_windows_and_without(run: Path, alone: bool) -> None:
    path = receipts_of(run)[1]
    honest = path.read_bytes()

    for position, damaged in flips(honest, 5 if alone else 29):
        path.write_bytes(damaged)
        found = verify(path) if alone else verify(run)
        assert failed(found), f"byte {position}: {damaged[position - 20 : position + 20]!r}"


def test_any_flipped_bit_of_the_windows_that_receipts_hold_is_found(run: Path) -> None:
    lines = windows_of(run).read_bytes().splitlines(keepends=True)
    signed = [
        number
        for number, line in enumerate(lines)
        if json.loads(line)["kind"] == "meter" or json.loads(line).get("step") in ("train", "compress")
    ]

    for number in signed:
        for position, damaged in flips(lines[number], 17):
            windows_of(run).write_bytes(b"".join([*lines[:number], damaged, *lines[number + 1 :]]))
            assert failed(verify(run)), f"line {number}, byte {position}: {damaged!r}"


def test_windows_without_receipts_contradict_themselves_when_energy_cpu_time_or_length_is_changed(
    run: Path,
) -> None:
    honest = windows_of(run).read_bytes()

    def double(row: dict[str, Any], *path: str) -> None:
        *way, name = path
        for step in way:
            row = row[step]
        row[name] = row[name] * 2 + 1

    for path in (
        ("node_microjoules",),
        ("other_microjoules",),
        ("unreserved_idle_microjoules",),
        ("neighbours_microjoules",),
        ("seconds",),
        ("busy_cpu_seconds",),
        ("jobs", "r1", "cpu_seconds"),
        ("jobs", "r1", "dynamic_microjoules"),
        ("jobs", "r1", "idle_microjoules"),
        ("jobs", "r1", "device_microjoules"),
        ("jobs", "r1", "reserved_cores"),
    ):
        edit_rows(run, lambda rows, path=path: double(rows[3], *path))
        assert "windows" in failed(verify(windows_of(run))), path
        windows_of(run).write_bytes(honest)


def test_energy_moved_from_the_job_to_others_contradicts_the_cpu_time_though_it_adds_up(
    run: Path, key: SigningKey
) -> None:
    def move(rows: list[Any]) -> None:
        for row in rows:
            if row["kind"] == "window":
                half = row["jobs"]["r1"]["dynamic_microjoules"] // 2
                row["jobs"]["r1"]["dynamic_microjoules"] -= half
                row["other_microjoules"] += half

    edit_rows(run, move)
    sign_again(run, key)

    assert failed(verify(run)) == ["windows"]
    assert "CPU seconds" in problems(verify(run))


def test_any_flipped_byte_of_an_archive_is_found(run: Path, tmp_path: Path) -> None:
    archive = tmp_path / "run.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for path in [*receipts_of(run), windows_of(run)]:
            opened.write(path, path.relative_to(run))
        info = opened.getinfo("meter/windows.jsonl")
    honest = archive.read_bytes()
    start = info.header_offset + 30 + len(info.filename)

    for position in range(start, start + info.compress_size, 31):
        damaged = bytearray(honest)
        damaged[position] ^= 1
        archive.write_bytes(damaged)
        try:
            found = verify(archive)
        except NoEvidenceError:
            continue
        assert failed(found), position


# --- receipts that are missing, moved, foreign


@pytest.mark.parametrize("position", [0, 1])
def test_a_removed_receipt_is_found(run: Path, position: int) -> None:
    receipts_of(run)[position].unlink()

    assert "sums" in failed(verify(run))


def test_a_receipt_cut_out_of_the_middle_of_single_files_is_found(tmp_path: Path, key: SigningKey) -> None:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    node.start("r1", cores=2)
    for step in ("a", "b", "c"):
        node.meters["r1"].begin_step(step)
        node.work(1.0, {"r1": 0.5})
    node.stop("r1")
    paths = receipts_of(node.sign("r1", key))

    assert failed(verify(paths[0], *paths[2:])) == ["chains"]
    assert failed(verify(*paths[1:])) == []


def test_receipts_in_another_order_are_found(run: Path) -> None:
    first, second = receipts_of(run)
    swapped = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(swapped)

    assert "chains" in failed(verify(run))


def test_a_history_that_was_written_twice_is_found(run: Path, key: SigningKey, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    body = json.loads(receipts_of(run)[1].read_text())
    for name in ("hash", "signature", "public_key"):
        body.pop(name)
    body["cpu_seconds"] += 1
    other.write_text(json.dumps(sign_record(body, key)))

    found = verify(*receipts_of(run), other)

    assert "chains" in failed(found)
    assert "follow the same receipt" in problems(found)


def test_a_chain_that_another_key_goes_on_with_is_found(
    run: Path, key: SigningKey, stranger: SigningKey
) -> None:
    body = json.loads(receipts_of(run)[1].read_text())
    for name in ("hash", "signature", "public_key"):
        body.pop(name)
    receipts_of(run)[1].unlink()
    write_receipt(run / "receipts", body, stranger)

    assert failed(verify(run)) == ["keys"]
    assert "signed by several keys" in problems(verify(run))


def test_a_key_is_vouched_for_by_this_home_by_a_file_or_by_nobody(
    run: Path, key: SigningKey, stranger: SigningKey, tmp_path: Path
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(f"# partners\n\n{stranger.public_key} The Other Lab\n{key.public_key} Our Lab\n")

    assert "nobody vouches" in detail(verify(run), "keys")
    assert failed(verify(run)) == []
    assert "this home" in detail(verify(run, home_key=key.public_key), "keys")
    assert "Our Lab" in detail(verify(run, keys=[str(file)]), "keys")
    assert "that was given" in detail(verify(run, keys=[key.public_key]), "keys")
    assert failed(verify(run, keys=[stranger.public_key], home_key=key.public_key)) == ["keys"]
    (owner,) = verify(run, keys=[str(file)]).to_json()["keys"]
    assert owner == {"public_key": key.public_key, "owner": "Our Lab", "receipts": 2}


def test_receipts_of_an_earlier_form_are_refused_in_words(run: Path) -> None:
    edit(receipts_of(run)[0], lambda body: body.update(schema="ayni/receipt/1"))

    found = verify(run)

    assert "files" in failed(found)
    assert "'ayni/receipt/1', and this version reads 'ayni/receipt/2'" in problems(found)
    assert "version of Ayni that wrote it" in problems(found)


# --- the same twice


def test_a_copied_run_is_found(run: Path) -> None:
    shutil.copytree(run, run.parent / "copy")

    found = verify(run.parent)

    assert "replay" in failed(found)
    assert f"stands again in {run}" in problems(found)


def rename(run: Path, name: str) -> None:
    def change(rows: list[Any]) -> None:
        for row in rows:
            if row["kind"] == "window":
                row["jobs"] = {name: row["jobs"].popitem()[1]}

    edit_rows(run, change)


def test_a_run_that_was_copied_renamed_and_signed_by_another_is_found(
    run: Path, stranger: SigningKey
) -> None:
    copy = Path(shutil.copytree(run, run.parent / "mine"))
    rename(copy, "mine")
    sign_again(copy, stranger)
    assert failed(verify(copy)) == []

    found = verify(run, copy)

    assert "replay" in failed(found)
    assert "replay" in failed(verify(*receipts_of(run), *receipts_of(copy)))


def shift(run: Path, **by: float) -> None:
    def change(rows: list[Any]) -> None:
        for row in rows:
            for name in ("at", "started_at", "ended_at", "until"):
                if name in row:
                    row[name] = (datetime.fromisoformat(row[name]) + timedelta(**by)).isoformat()

    edit_rows(run, change)


def test_a_copy_with_other_times_is_found_by_its_windows(run: Path, stranger: SigningKey) -> None:
    copy = Path(shutil.copytree(run, run.parent / "yesterday"))
    rename(copy, "yesterday")
    shift(copy, days=-1, seconds=0.5)
    sign_again(copy, stranger)
    assert failed(verify(copy)) == []

    found = verify(run, copy)

    assert failed(found) == ["replay"]
    assert "copy with other times" in problems(found)


def test_windows_that_stand_twice_in_one_file_are_found(run: Path, key: SigningKey) -> None:
    def repeat(rows: list[Any]) -> None:
        windows = [row for row in rows if row["kind"] == "window" and row["step"] == "train"]
        last = max(row["window"] for row in rows if row["kind"] == "window")
        rows.append({**rows[0], "meter": 2})
        for number, row in enumerate(windows, start=last + 1):
            rows.append({**row, "window": number, "meter": 2})

    edit_rows(run, repeat)
    sign_again(run, key)

    assert "replay" in failed(verify(run))
    assert "stands again as" in problems(verify(run))


def test_the_same_path_given_twice_is_no_replay(run: Path) -> None:
    assert failed(verify(run, run)) == []
    assert failed(verify(receipts_of(run)[0], receipts_of(run)[0])) == []


# --- several runs of one node


def test_meters_that_each_claim_the_whole_node_at_once_are_found(tmp_path: Path, key: SigningKey) -> None:
    """As meters do that do not know of each other: each counts the idle power of all cores as its own."""
    ranks = []
    for number in range(4):
        node = Node(tmp_path / f"rank{number}", jitter_seconds=1e-4)
        node.start(f"rank{number}", cores=4)
        ranks.append(node)
    for number, node in enumerate(ranks):
        meter(node, f"rank{number}", seed=number, num_windows=40)
        node.sign(f"rank{number}", key)
    for number, node in enumerate(ranks):
        assert failed(verify(node.folder)) == [], number

    found = verify(*(node.folder for node in ranks))

    assert failed(found) == ["node"]
    assert "counted more than once" in problems(found)


def test_runs_one_after_the_other_are_not_side_by_side(tmp_path: Path, key: SigningKey) -> None:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    for seed, job in enumerate(("one", "two")):
        node.start(job, cores=4)
        meter(node, job, seed=seed)
        node.sign(job, key)
    shift(tmp_path / "home" / "two", minutes=5)
    sign_again(tmp_path / "home" / "two", key)

    found = verify(node.folder)

    assert failed(found) == []
    assert "no two runs" in detail(found, "node")


def test_a_run_that_claims_to_lie_within_another_that_drew_less_is_found(
    tmp_path: Path, key: SigningKey
) -> None:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    node.start("small", cores=0)
    node.start("large", cores=4)
    rng = random.Random(1)
    for _ in range(40):
        node.work(1.0 + rng.random() / 100, {"small": 0.05, "large": 3.0})
        for job in ("small", "large"):
            node.meters[job].begin_step("train")
    for job in ("large", "small"):
        node.stop(job)
        node.sign(job, key)

    def hide(rows: list[Any]) -> None:
        for row in rows:
            if row["kind"] == "window":
                row["within"] = [{"run": "small", "devices": False}]

    edit_rows(node.folder / "large", hide)
    sign_again(node.folder / "large", key)

    found = verify(node.folder)
    assert set(failed(found)) == {"node", "nested"}
    assert "not in it" in problems(found)
    receipts = [*receipts_of(node.folder / "large"), *receipts_of(node.folder / "small")]
    assert failed(verify(*receipts)) == ["nested"]


# --- whatever else


def test_a_path_that_does_not_exist_or_holds_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(NoEvidenceError, match="no such file"):
        verify(tmp_path / "nothing")
    with pytest.raises(NoEvidenceError, match="no receipts and no windows"):
        verify(tmp_path / "empty")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    yield path


JUNK = [None, True, -1, 10**30, 1.5, -0.5, "", "x", [], [None], {}, {"run": 1}, float("nan"), 1e308]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SigningKey]:
    folder = tmp_path_factory.mktemp("shared")
    key = load_or_create_key(folder / "key.pem")
    return nested(folder, key).folder, key


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_junk_in_a_line_of_windows_or_a_receipt_is_a_crash(
    shared: tuple[Path, SigningKey], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = Path(shutil.copytree(shared[0], tmp_path_factory.mktemp("junk") / "home"))
    run = home / data.draw(st.sampled_from(["inner", "outer"]))
    path = data.draw(st.sampled_from([windows_of(run), receipts_of(run)[0]]))
    values = read_json_lines(path) if path.suffix == ".jsonl" else [json.loads(path.read_text())]
    number = data.draw(st.integers(0, len(values) - 1))
    *way, last = data.draw(st.sampled_from([each for each in leaves(values[number]) if each]))
    place = values[number]
    for step in way:
        place = place[step]
    place[last] = data.draw(st.sampled_from(JUNK))
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(value) + "\n" for value in values))
        if data.draw(st.booleans()):
            try:
                sign_again(run, shared[1])
            except Exception:
                return  # such lines cannot even be signed
    else:
        body = {
            name: values[0][name] for name in values[0] if name not in ("hash", "signature", "public_key")
        }
        try:
            path.write_text(json.dumps(sign_record(body, shared[1])))
        except ValueError:
            path.write_text(json.dumps(values[0]))

    verify(home).to_json()
    verify(*receipts_of(run)).to_json()

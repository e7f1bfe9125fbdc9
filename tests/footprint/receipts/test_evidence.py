import json
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest
from tests.footprint.pretended_node import Node

from ayni.footprint.receipts import evidence
from ayni.footprint.receipts.evidence import NoEvidenceError, read_evidence
from ayni.signing import load_or_create_key


@pytest.fixture
def home(tmp_path: Path) -> Path:
    node = Node(tmp_path / "home", jitter_seconds=1e-4)
    key = load_or_create_key(tmp_path / "key.pem")
    for job in ("one", "two"):
        node.start(job, cores=1)
        node.work(1.0, {job: 0.5})
        node.stop(job)
        node.sign(job, key)
    return node.folder


def receipt_of(run: Path) -> Path:
    return run / "receipts" / "0001-train.json"


def windows_of(run: Path) -> Path:
    return run / "meter" / "windows.jsonl"


def test_a_folder_gives_each_run_below_it_with_its_windows(home: Path) -> None:
    found = read_evidence([home])

    assert [each.place for each in found] == [str(home / "one"), str(home / "two")]
    assert all(each.is_folder and len(each.receipts) == 1 and each.windows for each in found)
    assert found[0].receipts[0].place == str(receipt_of(home / "one"))


def test_an_archive_is_read_in_place(home: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "all"), "zip", home)

    found = read_evidence([Path(archive)])

    assert [each.place for each in found] == [f"{archive}/one", f"{archive}/two"]
    assert [len(each.windows) for each in found] == [len(each.windows) for each in read_evidence([home])]


def test_single_files_are_put_together_by_the_run_that_they_name_whatever_they_are_called(
    home: Path, tmp_path: Path
) -> None:
    windows, first, second = (tmp_path / name for name in ("a", "b.txt", "c.jsonl"))
    shutil.copy(windows_of(home / "two"), windows)
    shutil.copy(receipt_of(home / "one"), first)
    shutil.copy(receipt_of(home / "two"), second)

    found = {each.receipts[0].receipt["run"]: each for each in read_evidence([windows, first, second])}

    assert found["one"].rows is None
    assert found["two"].windows
    assert not found["two"].is_folder


def test_windows_that_no_receipt_belongs_to_stand_alone(home: Path) -> None:
    found = read_evidence([receipt_of(home / "one"), windows_of(home / "two")])

    assert [len(each.receipts) for each in found] == [1, 0]
    assert found[1].windows


def test_half_a_line_of_a_crash_is_passed_over(home: Path) -> None:
    path = windows_of(home / "one")
    num_before = len(read_evidence([path])[0].windows)
    path.write_bytes(path.read_bytes() + b'{"kind": "window", "wind')

    (found,) = read_evidence([path])

    assert (len(found.windows), found.problems) == (num_before, ())


def test_a_line_in_which_a_key_stands_twice_is_a_problem(home: Path) -> None:
    path = windows_of(home / "one")
    lines = path.read_text().splitlines()
    lines[1] = lines[1].replace('"window": 1', '"window": 7, "window": 1')
    path.write_text("\n".join(lines) + "\n")

    (found,) = read_evidence([home / "one"])

    assert found.problems == ("meter/windows.jsonl, line 2: the key 'window' stands twice",)


def test_a_line_without_its_form_is_a_problem_with_its_number(home: Path) -> None:
    path = windows_of(home / "one")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[1]["seconds"] = "1"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    (found,) = read_evidence([home / "one"])

    assert found.problems == ("meter/windows.jsonl: the window in line 2 lacks its form at 'seconds'",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is no receipt"),
        (b"{", "is no receipt"),
        (b"[1]", "is no receipt"),
        (b'{"schema": 2}', "is no receipt"),
        (b'{"schema": "ayni/receipt/2"}', "lacks the form of a receipt at 'run'"),
        (b'{"schema": "ayni/receipt/1"}', "verify it with the version of Ayni that wrote it"),
        (b"[" * 100_000, "is no receipt"),
        (b"1" * 10_000, "is no receipt"),
        (b"\xff\xfe\x00", "is no receipt"),
    ],
)
@pytest.mark.parametrize("is_in_folder", [True, False])
def test_what_is_no_receipt_is_a_problem_and_the_rest_is_still_read(
    home: Path, content: bytes, problem: str, is_in_folder: bool
) -> None:
    broken = receipt_of(home / "one")
    broken.write_bytes(content)

    found = read_evidence([home] if is_in_folder else [broken, receipt_of(home / "two")])

    assert any(problem in each for evidence_ in found for each in evidence_.problems)
    assert [each.receipt["run"] for evidence_ in found for each in evidence_.receipts] == ["two"]


def test_an_archive_in_which_a_name_stands_twice_is_a_problem(home: Path, tmp_path: Path) -> None:
    archive = tmp_path / "twice.zip"
    with warnings.catch_warnings(), zipfile.ZipFile(archive, "w") as opened:
        warnings.simplefilter("ignore")
        for content in (receipt_of(home / "one"), receipt_of(home / "two")):
            opened.writestr("receipts/0001-train.json", content.read_bytes())

    (found,) = read_evidence([archive])

    assert found.receipts == ()
    assert found.problems == ("the archive holds receipts/0001-train.json twice",)


def test_a_damaged_archive_is_an_error_or_a_problem(home: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "all"), "zip", home))
    content = archive.read_bytes()
    with zipfile.ZipFile(archive) as opened:
        middle = opened.getinfo("one/meter/windows.jsonl").header_offset + 100
    archive.write_bytes(content[:middle] + bytes(40) + content[middle + 40 :])
    assert any(each.problems for each in read_evidence([archive]))

    archive.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(NoEvidenceError, match="no receipts and no windows"):
        read_evidence([archive])


def test_a_small_archive_that_unpacks_to_more_than_there_is_room_for_is_a_problem(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "LARGEST_FILE_BYTES", 3 << 20)
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(4):
            opened.writestr(f"r{number}/meter/windows.jsonl", b" " * (2 << 20))

    found = read_evidence([archive])

    assert archive.stat().st_size < 20_000
    assert [each.problems for each in found].count(("the archive holds more than 3 MiB",)) == 3


def test_a_file_that_cannot_be_read_is_a_problem(home: Path) -> None:
    receipt_of(home / "one").unlink()
    receipt_of(home / "one").symlink_to("/proc/self/mem")

    found = read_evidence([home])

    assert "cannot be read" in found[0].problems[0]
    assert len(found[1].receipts) == 1


def test_a_path_that_holds_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()

    with pytest.raises(NoEvidenceError, match="no such file"):
        read_evidence([tmp_path / "nowhere"])
    with pytest.raises(NoEvidenceError, match="no receipts and no windows"):
        read_evidence([tmp_path / "folder"])

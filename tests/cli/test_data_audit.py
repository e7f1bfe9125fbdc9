"""`ayni data audit` on files: a verdict, a page with the nearest pairs, and exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest

from ayni.cli import main
from ayni.data.arrays_file import write_records
from ayni.data.audit.controls import noisy_copies
from ayni.data.records import Records


def pictures(count: int, *, seed: int) -> Records:
    """Bright squares on the left or on the right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.random((count, 1, 6, 6), dtype=np.float32)
    images[labels == 0, :, :, :3] += 0.5
    images[labels == 1, :, :, 3:] += 0.5
    return Records(inputs=images, labels=labels)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    members = pictures(300, seed=1)
    sides = {
        "members": members,
        "unseen": pictures(300, seed=2),
        "fresh": pictures(300, seed=3),
        "copies": noisy_copies(members, seed=0),
    }
    for name, records in sides.items():
        write_records(records, tmp_path / f"{name}.npz")
    return {name: tmp_path / f"{name}.npz" for name in sides}


def audit(files: dict[str, Path], generated: str, *more: str) -> int:
    paths = {"--generated": files[generated], "--members": files["members"], "--unseen": files["unseen"]}
    arguments = [part for option, path in paths.items() for part in (option, str(path))]
    output = ["--output", str(files["members"].parent / "out")]
    return main.run_command(["data", "audit", *arguments, *output, *more])


def test_copies_fail_and_their_page_shows_them_beside_the_members(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(files, "copies") == 2

    shown = capsys.readouterr().out
    assert "FAIL: " in shown and "near copies" in shown
    page = (files["members"].parent / "out" / "audit.html").read_text()
    assert page.count("data:image/png") == 3 * 8
    assert "not to be shared" in page and "http" not in page.replace("http-equiv", "")


def test_fresh_records_pass_and_json_holds_the_audit(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert audit(files, "fresh", "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["verdict"]["kind"] == "pass" and Path(found["page"]).is_file()


def test_files_that_do_not_fit_and_files_that_are_none_are_named(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = Records(inputs=np.zeros((300, 3), dtype=np.float32), labels=np.zeros(300, dtype=np.int64))
    write_records(wide, tmp_path / "wide.npz")

    assert audit({**files, "wide": tmp_path / "wide.npz"}, "wide") == 2
    assert "(1, 6, 6) cannot be joined with (3,)" in capsys.readouterr().err
    assert audit({**files, "none": tmp_path / "none.npz"}, "none") == 2
    assert "There is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["latest", "--generated", "a.npz"],
        ["--generated", "a.npz", "--members", "b.npz"],
        ["latest", "--members", "b.npz"],
    ],
)
def test_it_must_be_said_what_is_audited(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["data", "audit", *arguments]) == 2
    assert "Name a run" in capsys.readouterr().err

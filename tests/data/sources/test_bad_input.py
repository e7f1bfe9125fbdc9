"""What a person gets who brings bad data: one line that names file and row, by command and by a job."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ayni.cli import main
from ayni.data.config import DataConfig
from ayni.data.preparation import prepare_data
from ayni.data.prepared_task import PreparedTask
from ayni.data.sources.collection import SourceError

Files = dict[str, str | bytes]


def png(level: int, size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (level, 90, 20)).save(out, "png")
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def pictures(**changed: bytes) -> Files:
    files: Files = {f"{name}/{number}.png": png(number) for name in ("iris", "rose") for number in range(6)}
    return files | {name.replace("_", "/") + ".png": content for name, content in changed.items()}


PIXELS = np.random.default_rng(0).random((8, 4))
WITH_NAN = np.where(np.arange(8)[:, None] == 5, np.nan, PIXELS)
NAMES = (
    "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
    "        names: {'0': no, '1': yes}\n---\n"
)
CASES: list[tuple[Files, str]] = [
    ({"a.csv": ""}, "a.csv: the file is empty: expected a header"),
    ({"a.csv": "x,label\n"}, "there are no examples in it"),
    ({}, "the folder is empty: there are no files in it"),
    ({"a.csv": "x,label\n1,a\n2,a\n"}, "all 2 examples are of one class, 'a'"),
    ({"rose/1.png": png(1), "rose/2.png": png(2)}, "all 2 examples are of one class, 'rose'"),
    ({"a.csv": "x,y,label\n1,2,a\n3,nan,b\n"}, "a.csv: row 3, column 'y' is empty or NaN"),
    ({"a.csv": "x,label\n1,a\ninf,b\n"}, "a.csv: row 3, column 'x' is 'inf'"),
    ({"a.csv": "x,label\n1,a\nmany,b\n"}, "a.csv: row 3, column 'x' is 'many'"),
    ({"a.csv": "x,label\n1,a\n2,\n"}, "a.csv: row 3, column 'label' is empty"),
    ({"a.csv": "x,y,label\n1,2,a\n3,b\n"}, "a.csv: line 3 has 2 cells, the header has 3"),
    (
        {"a.csv": "text,label\ngut,1\nsch\xf6n,0\n".encode("latin-1")},
        "a.csv: line 3 is not utf-8 (byte 0xf6)",
    ),
    (pictures(rose_3=b"torn"), "rose/3.png: the image cannot be read (it is damaged"),
    (pictures(rose_3=png(3)[:45]), "rose/3.png: the image cannot be read"),
    (pictures(rose_3=png(3, (10, 8))), "rose/3.png: the image has 10x8 pixels"),
    ({"a.npz": npz(inputs=PIXELS, labels=[0, 1, -1, 1, 0, 1, 0, 1])}, "a.npz: the label of row 2 is -1"),
    ({"a.npz": npz(inputs=WITH_NAN, labels=np.arange(8) % 2)}, "a.npz: 1 inputs hold NaN or infinity"),
    ({"a.npz": npz(inputs=PIXELS, labels=PIXELS[:, 0])}, "a.npz: labels are float64, expected whole numbers"),
    ({"a.npz": npz(inputs=PIXELS, labels=[0, 1])}, "inputs (8, 4) and labels (2,) do not fit"),
    ({"a.npz": b"PK torn"}, "a.npz: it holds no plain arrays of NumPy"),
    (
        {"README.md": NAMES, "train.jsonl": '{"text":"a","label":0}\n{"text":"b","label":7}\n'},
        "train.jsonl, row 2: the label is 7, the card names the classes 0, 1",
    ),
]


@pytest.fixture
def place(tmp_path: Path) -> Callable[[Files], Path]:
    """Writes files; one alone is the source itself, else their folder."""

    def write(files: Files) -> Path:
        folder = tmp_path / "set"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / next(iter(files)) if len(files) == 1 else folder

    return write


@pytest.mark.parametrize(("files", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_the_command_names_file_and_row_in_one_line(
    files: Files, message: str, place: Callable[[Files], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["data", "card", str(place(files))]) == 2

    said = capsys.readouterr().err.strip()
    assert message in said
    assert said.startswith("Error: ") and "\n" not in said
    # Nothing of Python's own, and no advice to load what could run code.
    assert "0x7" not in said.replace("(byte", "") and "allow_pickle" not in said and "Traceback" not in said


@pytest.mark.parametrize(("files", "message"), CASES, ids=[message[:40] for _, message in CASES])
def test_a_job_says_the_same_before_it_trains(
    files: Files, message: str, place: Callable[[Files], Path], tmp_path: Path
) -> None:
    preparation = prepare_data(DataConfig(source=str(place(files))), folder=tmp_path)
    assert preparation is not None

    with pytest.raises(SourceError) as refused:
        PreparedTask(object(), preparation)

    assert message in str(refused.value)


def test_too_few_examples_to_be_split_are_said_to_be_too_few(
    place: Callable[[Files], Path], tmp_path: Path
) -> None:
    source = place({"few.csv": "x,label\n1,a\n2,b\n"})
    preparation = prepare_data(DataConfig(source=str(source)), folder=tmp_path)
    assert preparation is not None

    with pytest.raises(
        SourceError, match=r"few\.csv: 2 examples are too few: nothing is left for validation"
    ):
        PreparedTask(object(), preparation)


def test_too_few_records_for_an_audit_get_no_verdict_and_not_a_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for name in ("made", "own", "other"):
        records = {"inputs": rng.random((20, 1, 6, 6), dtype=np.float32), "labels": np.arange(20) % 2}
        np.savez(tmp_path / f"{name}.npz", **records)  # type: ignore[arg-type]
    sides = ("--generated", "made"), ("--members", "own"), ("--unseen", "other")
    paths = [part for option, name in sides for part in (option, str(tmp_path / f"{name}.npz"))]

    main.run_command(["data", "audit", *paths, "--output", str(tmp_path / "out"), "--json"])

    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert verdict["kind"] == "none" and "250" in " ".join(verdict["reasons"])

import json
from pathlib import Path

import numpy as np
import pytest

from ayni.cli import main
from ayni.data.arrays_file import write_records
from ayni.data.records import Records

pytest.importorskip("sklearn")
pytest.importorskip("PIL")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AYNI_HOME", str(tmp_path / "home"))
    inputs = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    write_records(Records(inputs=inputs, labels=np.arange(40) % 2), tmp_path / "rows.npz")
    return tmp_path / "rows.npz"


def test_it_says_what_was_made_and_that_nobody_audited_it(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(source), "--kind", "copula", "--per-class", "7", "--output", str(source.parent / "made")]

    assert main.run_command(["data", "generate", *arguments]) == 0

    shown = capsys.readouterr().out
    assert "14 synthetic examples" in shown
    assert "No leak audit was run" in shown


def test_json_has_the_card(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(source), "--kind", "gaussian", "--output", str(source.parent / "made"), "--json"]

    assert main.run_command(["data", "generate", *arguments]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["generator"]["is_synthetic"] is True
    assert found["generator"]["audit"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nothing.npz"], "There is no file nothing.npz"), (["rows.csv"], "rows.csv is no source")],
)
def test_a_source_that_is_none_is_named(
    source: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["data", "generate", *arguments]) == 2

    assert message in " ".join(capsys.readouterr().err.split())

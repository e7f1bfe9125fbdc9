"""Fixtures that several folders of tests share."""

import os
from pathlib import Path

import hypothesis
import pytest

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("ayni", deadline=None)
hypothesis.settings.load_profile("ayni")
# One thread for each process that a test starts: learners are processes, and more threads than cores
# slow everything down.
os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh AYNI_HOME that this process and its children use."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AYNI_HOME", str(folder))
    return folder

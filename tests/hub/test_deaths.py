"""Whatever dies while it tends a hub leaves it whole, and what is begun again comes to the same end."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(("work", "stride", "num_deaths"), [("collect", 2, 50), ("mirror", 3, 50)])
def test_what_dies_before_any_change_leaves_a_whole_hub(
    tmp_path: Path, work: str, stride: int, num_deaths: int
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hub.die_while_tending", work, str(tmp_path), str(stride)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[0]) >= num_deaths

"""What README.md tells a newcomer to type works as it stands, from Python and on the command line."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
commands = runpy.run_path(str(ROOT / "dev" / "readme_commands.py"))["commands"]
LONGEST_SECONDS = 400

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def run(words: list[str], *, home: Path, folder: Path) -> str:
    answer = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "AYNI_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert answer.returncode == 0, f"{shlex.join(words)}\n{answer.stdout}\n{answer.stderr}"
    return answer.stdout


def type_commands(name: str, *, home: Path, folder: Path) -> str:
    """Run the README's commands of one name as a person would, and return all that they print."""
    lines = [shlex.split(command) for command in commands(README, name)]
    assert {words[0] for words in lines} == {"ayni"}
    return "".join(run(["-m", "ayni", *words[1:]], home=home, folder=folder) for words in lines)


def test_the_python_in_the_readme_runs_as_a_script_and_what_follows_goes_on_from_it(
    tmp_path: Path,
) -> None:
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "ayni.run(" in each)
    script = tmp_path / "script.py"
    script.write_text(block, encoding="utf-8")

    run([str(script)], home=tmp_path / "home", folder=ROOT)
    shown = type_commands("tour", home=tmp_path / "home", folder=ROOT)

    # One run: workers that import the script must not start runs of their own.
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1
    assert "is as it was written" in shown
    assert re.search(r"seven\.png\s+7\b", shown)

    # The model that it published is what a newcomer has to compress.
    shown = type_commands("compress", home=tmp_path / "home", folder=tmp_path)

    assert (tmp_path / "digits-compress" / "job.yaml").exists()
    assert shown.count("Search: ") == 2 and "full-onnx" in shown


def test_the_first_job_of_ones_own_takes_the_commands_in_the_readme(tmp_path: Path) -> None:
    shown = type_commands("init", home=tmp_path / "home", folder=tmp_path)

    assert "finished" in shown
    assert "me/my-job" in shown

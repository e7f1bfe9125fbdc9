"""What a `.gitignore` leaves out is what git leaves out."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from ayni.hub.gitignore import Ignored

RULES = """
# a comment
*.log
!keep.log
/build
cache/
deep/**/x.txt
a/*/b
**/end
file?.bin
[abc].dat
[!xyz]z.dat
/docs/*.md
"""
PATHS = [
    "a.log",
    "keep.log",
    "sub/a.log",
    "sub/keep.log",
    "build",
    "build/x",
    "sub/build",
    "cache",
    "cache/keep.log",
    "sub/cache/y",
    "deep/x.txt",
    "deep/1/2/x.txt",
    "deep/y.txt",
    "a/1/b",
    "a/1/2/b",
    "end",
    "x/end",
    "x/endy",
    "file1.bin",
    "file12.bin",
    "a.dat",
    "d.dat",
    "qz.dat",
    "xz.dat",
    "docs/a.md",
    "docs/deep/a.md",
    "other/docs/a.md",
    "README.md",
]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle")
def test_every_path_is_left_out_as_git_does(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text(RULES)

    said = subprocess.run(
        ["git", "-C", tmp_path, "check-ignore", "--no-index", "--stdin"],
        input="\n".join(PATHS),
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()

    ignored = Ignored(RULES)
    assert [path for path in PATHS if ignored.covers(path)] == said


def test_hostile_rules_take_no_time() -> None:
    ignored = Ignored("*a" * 40 + "\n" + "**/" * 30 + "b\n" + "x*x*x*x\n")
    begun_at = time.monotonic()

    assert not ignored.covers("/".join(["a" * 200] * 5))
    assert not ignored.covers("x" * 250 + "y")
    assert time.monotonic() - begun_at < 5

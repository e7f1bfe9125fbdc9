"""The hub says which files are kept by LFS, and `.gitattributes` says the same to git."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ayni.hub.large_files import first_gitattributes, is_large, with_lines_for


@pytest.mark.parametrize(
    ("path", "size_bytes", "expected"),
    [
        ("model.safetensors", 10, True),
        ("deep/data.PARQUET", 10, True),
        ("README.md", 10, False),
        ("notes.txt", 11 << 20, True),
        ("empty.bin", 0, False),
        ("bin", 10, False),
        ("folder.bin/name", 10, False),
    ],
)
def test_weights_data_and_everything_large_is_kept_by_lfs(path: str, size_bytes: int, expected: bool) -> None:
    assert is_large(path, size_bytes) == expected


def test_only_paths_that_no_pattern_covers_get_a_line() -> None:
    first = first_gitattributes()

    assert with_lines_for(first, ["model.safetensors", "deep/x.bin"]) is None
    second = with_lines_for(first, ["deep/odd", "model.safetensors"])
    assert second is not None and second.startswith(first)
    assert second.endswith(b"/deep/odd filter=lfs diff=lfs merge=lfs -text\n")
    assert with_lines_for(second, ["deep/odd"]) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the oracle")
@pytest.mark.parametrize(
    "path", ["odd", "deep/odd", "a b", 'quo"te', "sta*r", "br[a]cket", "back#hash", "!bang"]
)
def test_git_reads_the_lines_as_they_were_meant(tmp_path: Path, path: str) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    written = with_lines_for(b"", [path])
    assert written is not None
    (tmp_path / ".gitattributes").write_bytes(written)

    said = subprocess.run(
        ["git", "-C", tmp_path, "check-attr", "-z", "filter", "--", path, "another"],
        check=True,
        capture_output=True,
    ).stdout.split(b"\0")

    assert said[2] == b"lfs"
    assert said[5] == b"unspecified"
    assert with_lines_for(written, [path]) is None

"""Our differences, given to git itself."""

import random
import subprocess
from pathlib import Path

import pytest

from ayni.hub import git_diff as module
from ayni.hub.commit_lines import large_entry
from ayni.hub.git_diff import git_diff
from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_sha1
from ayni.signing import sha256_hex

CONTENT: dict[str, bytes] = {}


def entry(content: bytes | None) -> TreeEntry | None:
    if content is None:
        return None
    digest = sha256_hex(content)
    CONTENT[digest] = content
    return TreeEntry(
        name="x", mode=FILE_MODE, git_sha1=blob_sha1(content), sha256=digest, size_bytes=len(content)
    )


def diff(before: dict[str, bytes], after: dict[str, bytes]) -> str:
    names = sorted(before.keys() | after.keys())
    changed = {path: (entry(before.get(path)), entry(after.get(path))) for path in names}
    differing = {path: pair for path, pair in changed.items() if pair[0] != pair[1]}
    return git_diff(differing, lambda each: CONTENT[str(each.sha256)])


def applied(folder: Path, before: dict[str, bytes], text: str) -> dict[str, bytes]:
    """What `git apply` makes of it."""
    for path, content in before.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    done = subprocess.run(
        ["git", "apply", "-"], input=text.encode(), cwd=folder, capture_output=True, check=False
    )
    assert done.returncode == 0, f"{done.stderr.decode()}\n{text}"
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def drawn(rng: random.Random) -> bytes:
    lines = [rng.choice(["a", "b", "", " c", "\x0c", "d\r", "-- x", "é"]) for _ in range(rng.randrange(30))]
    text = "\n".join(lines)
    return (text + rng.choice(["", "\n"])).encode()


def changed(rng: random.Random, content: bytes) -> bytes:
    lines = content.split(b"\n")
    for _ in range(rng.randrange(4)):
        place = rng.randrange(len(lines) + 1)
        lines[place : place + rng.randrange(3)] = [b"new"] * rng.randrange(3)
    return b"\n".join(lines)


@pytest.mark.parametrize("most_compared", [1_500, 0])
def test_git_makes_the_new_files_of_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_compared: int
) -> None:
    monkeypatch.setattr(module, "MOST_COMPARED_LINES", most_compared)
    rng = random.Random(3)
    for turn in range(25):
        before = {f"f{number}": drawn(rng) for number in range(4)} | {"dir/a b": drawn(rng)}
        after = {path: changed(rng, content) for path, content in before.items() if rng.random() < 0.8}
        after |= {'new "q" \\é': drawn(rng) or b"x"} if rng.random() < 0.5 else {}

        text = diff(before, after)
        folder = tmp_path / str(turn)
        folder.mkdir()

        if text:
            assert applied(folder, before, text) == after


def test_files_that_are_no_text_are_named_only() -> None:
    text = diff({"a.bin": b"\0\1"}, {"a.bin": b"\0\2", "latin.txt": "é".encode("latin-1")})

    assert "Binary files a/a.bin and b/a.bin differ\n" in text
    assert "Binary files /dev/null and b/latin.txt differ\n" in text


def test_a_large_file_is_its_pointer() -> None:
    new = large_entry("w", "ab" * 32, 7)

    text = git_diff({"w": (None, new)}, lambda _: b"never read")

    assert f"+oid sha256:{'ab' * 32}\n+size 7\n" in text


def test_what_is_too_much_is_left_out_and_said() -> None:
    many = {f"{number:04}": b"x\n" for number in range(module.MOST_FILES + 7)}
    long = {"long": b"x" * (module.MOST_FILE_BYTES + 1)}

    assert "# 7 more files differ and are not shown.\n" in diff({}, many)
    assert "Binary files /dev/null and b/long differ" in diff({}, long)

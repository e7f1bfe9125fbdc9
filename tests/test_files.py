import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.files import (
    DamagedJsonError,
    DiskFullError,
    NotWritableError,
    append_json_line,
    create_atomically,
    explain_os_errors,
    make_folder,
    read_json,
    read_json_lines,
    sha256_of_file,
    write_atomically,
    write_json,
)

MEBIBYTE = 1 << 20


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "device"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root; the file size limit is tested in its place")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder that cannot be written, also not by root where root may mount."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    if os.geteuid():
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    command = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("root that may not mount can write everywhere")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_and_nothing_else_stays_in_its_folder(tmp_path: Path) -> None:
    write_atomically(tmp_path / "new" / "file", b"old")
    write_atomically(tmp_path / "new" / "file", b"new")

    assert (tmp_path / "new" / "file").read_bytes() == b"new"
    assert names_in(tmp_path / "new") == ["file"]


def test_a_failing_write_leaves_the_old_file_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "file", b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", b"new")

    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_the_umask_lessens_the_mode_of_new_files_and_folders(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "made" / "file", b"private")
    finally:
        os.umask(before)

    assert (tmp_path / "made" / "file").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o700


def test_of_many_that_create_a_file_one_wins_and_all_read_its_bytes(tmp_path: Path) -> None:
    path, start = tmp_path / "key", threading.Barrier(8)
    outcomes: list[tuple[bool, bytes]] = []

    def create(number: int) -> None:
        start.wait()
        is_first = create_atomically(path, b"%d" % number * 1000)
        outcomes.append((is_first, path.read_bytes()))

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(is_first for is_first, _ in outcomes) == [False] * 7 + [True]
    assert len({content for _, content in outcomes}) == 1
    assert names_in(tmp_path) == ["key"]


def test_a_full_disk_is_named_and_nothing_written_before_is_lost(small_device: Path) -> None:
    write_atomically(small_device / "file", b"old")
    append_json_line(small_device / "lines", {"n": 0})

    with pytest.raises(DiskFullError, match=r"No space left .* Free some space"):
        write_atomically(small_device / "file", bytes(2 * MEBIBYTE))

    assert (small_device / "file").read_bytes() == b"old"
    assert names_in(small_device) == ["file", "lines"]
    assert read_json_lines(small_device / "lines") == [{"n": 0}]


def test_a_line_that_a_full_disk_cut_is_an_error_and_the_next_one_is_whole(small_device: Path) -> None:
    path, written = small_device / "lines", 0
    with pytest.raises(DiskFullError):
        for written in range(1000):
            append_json_line(path, {"n": written, "text": "x" * 5000})
    assert not path.read_bytes().endswith(b"\n"), "the device should have taken a part of the last line"

    subprocess.run(["mount", "-o", "remount,size=2m", str(small_device)], check=True)
    append_json_line(path, {"n": "after"})

    assert [row["n"] for row in read_json_lines(path)] == [*range(written), "after"]


@pytest.mark.cluster
def test_a_file_size_limit_counts_as_a_full_disk(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; from ayni.files import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))\n"
        "path = Path(sys.argv[1])\n"
        "try:\n    [append_json_line(path, {'n': n, 'text': 'x' * 300}) for n in range(100)]\n"
        "except DiskFullError as error:\n    print(error)\n"
    )

    printed = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "lines"], check=True, capture_output=True, text=True
    ).stdout

    assert "No space left" in printed
    kept = [row["n"] for row in read_json_lines(tmp_path / "lines")]
    assert kept == list(range(len(kept)))
    assert len(kept) > 20


def test_a_read_only_folder_is_named_with_the_way_out(read_only_folder: Path) -> None:
    for write in (
        lambda: write_json(read_only_folder / "a" / "file.json", {}),
        lambda: append_json_line(read_only_folder / "lines", {}),
        lambda: create_atomically(read_only_folder / "key", b""),
        lambda: make_folder(read_only_folder / "deep" / "folder"),
    ):
        with pytest.raises(NotWritableError, match="AYNI_HOME="):
            write()


def test_a_file_in_place_of_a_folder_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")

    for path in (tmp_path / "home" / "file", tmp_path / "home" / "runs" / "file"):
        with pytest.raises(NotWritableError, match="home"):
            write_atomically(path, b"")
        with pytest.raises(NotWritableError, match="home"):
            append_json_line(path, {})


def test_a_folder_where_nothing_can_be_made_is_the_users_mistake() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("no /proc here")

    with pytest.raises(NotWritableError):
        make_folder(Path("/proc/ayni/home"))


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOENT, errno.EMFILE])
def test_other_refusals_of_the_system_pass_through(code: int) -> None:
    with pytest.raises(OSError) as caught, explain_os_errors(Path("x")):
        raise OSError(code, os.strerror(code))

    assert caught.value.errno == code


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1}{', b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_json_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.json").write_bytes(content)

    with pytest.raises(DamagedJsonError, match=r"state\.json is damaged"):
        read_json(tmp_path / "state.json")


def test_a_json_file_with_a_key_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_text('{"energy": 1, "step": {"energy": 2, "energy": 3}}')

    with pytest.raises(DamagedJsonError, match="'energy' stands twice"):
        read_json(tmp_path / "receipt.json")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("aé\n\u2028\r\x00"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    rows=st.lists(st.dictionaries(st.text(max_size=3), json_values, max_size=3), max_size=4),
    cut=st.integers(0, 400),
)
def test_a_torn_line_never_passes_for_a_whole_one(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("lines") / "lines"
    for row in rows:
        append_json_line(path, row, durable=False)
    content = path.read_bytes() if rows else b""
    path.write_bytes(content[:cut])

    append_json_line(path, {"after": True}, durable=False)

    *kept, last = read_json_lines(path)
    assert last == {"after": True}
    assert kept == rows[: len(kept)]
    assert len(kept) >= content[:cut].count(b"\n")


@pytest.mark.parametrize("value", [12345, 1.5, "text", None, True])
def test_a_line_whose_half_could_be_a_whole_one_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="an object or a list"):
        append_json_line(tmp_path / "lines", value)


def test_not_a_number_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for write in (write_json, append_json_line):
        with pytest.raises(ValueError, match="Out of range"):
            write(tmp_path / "file", {"loss": float("nan")})

    assert names_in(tmp_path) == []


def test_json_is_written_so_that_people_can_read_it(tmp_path: Path) -> None:
    write_json(tmp_path / "file.json", {"name": "爱你"})

    assert (tmp_path / "file.json").read_text(encoding="utf-8") == '{\n  "name": "爱你"\n}\n'
    assert read_json(tmp_path / "file.json") == {"name": "爱你"}


def test_the_digest_of_an_empty_file_is_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()

    assert sha256_of_file(tmp_path / "empty").startswith("e3b0c44298fc1c149afbf4c8996fb924")


@pytest.mark.cluster
def test_lines_acknowledged_before_a_kill_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    script = (
        "import sys; from pathlib import Path; from ayni.files import *\n"
        "first = int(sys.argv[2])\n"
        "for n in range(first, first + 10**6):\n"
        "    append_json_line(Path(sys.argv[1]), {'n': n, 'text': 'x' * 20_000})\n"
        "    print(n, flush=True)\n"
    )
    acknowledged = -1

    for num_lines in (5, 17, 40):
        command = [sys.executable, "-c", script, str(path), str(acknowledged + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(num_lines):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])

        numbers = [row["n"] for row in read_json_lines(path)]
        assert set(range(acknowledged + 1)) <= set(numbers)
        # A line may be whole although its writer died before it could say so; never more than one a kill.
        assert len(numbers) <= acknowledged + 1 + 3


@pytest.mark.cluster
def test_a_file_replaced_while_its_writer_is_killed_is_old_or_new(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    script = (
        "import sys; from pathlib import Path; from ayni.files import *\n"
        "for n in range(10**6):\n    write_json(Path(sys.argv[1]), {'n': n, 'text': str(n) * 20_000})\n"
        "    print(n, flush=True)\n"
    )

    for num_writes in (3, 11):
        command = [sys.executable, "-c", script, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(num_writes):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)

        value = json.loads(path.read_bytes())
        assert value["text"] == str(value["n"]) * 20_000

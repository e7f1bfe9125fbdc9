"""Meters that see each other through files: with real processes, real locks and real signals."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ayni.footprint.windows.reservation_folder import ReservationFolder, default_folder, lineage
from ayni.footprint.windows.reservation_shares import outer_reservations
from ayni.footprint.windows.reservations import Reservation, ReservationsUnavailableError

ENTER = """
import sys, time
from pathlib import Path
from ayni.footprint.windows.reservation_folder import ReservationFolder
folder = ReservationFolder(Path(sys.argv[1]))
own = folder.enter(job=sys.argv[2], cores=2, has_devices=False, now_seconds=time.monotonic())
"""
WAIT = """
print("here", flush=True)
sys.stdin.readline()
"""
LEAVE = "folder.leave(own, now_seconds=time.monotonic())\n"


@contextmanager
def process(folder: Path, job: str, *, code: str = ENTER + WAIT + LEAVE) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(folder), job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "here\n"
        try:
            yield started
        finally:
            started.kill()


def go_on(started: "subprocess.Popen[str]") -> None:
    started.communicate("\n", timeout=60)


class Meter:
    """This process's own reservation, which looks at the others."""

    def __init__(self, folder: Path, *, job: str = "own") -> None:
        self.folder = ReservationFolder(folder)
        self.since = time.monotonic()
        self.own = self.folder.enter(job=job, cores=1, has_devices=False, now_seconds=self.since)

    def look(self) -> list[Reservation]:
        now = time.monotonic()
        since, self.since = self.since, now
        return sorted(
            self.folder.look(self.own, since_seconds=since, until_seconds=now), key=lambda each: each.job
        )

    def jobs(self) -> list[str]:
        return [each.job for each in self.look()]

    def leave(self) -> None:
        self.folder.leave(self.own, now_seconds=time.monotonic())


def files(folder: Path) -> list[str]:
    return sorted(path.name.rpartition(".")[2] for path in folder.iterdir())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "node"


def test_meters_of_two_processes_see_each_other(folder: Path) -> None:
    meter = Meter(folder)
    with process(folder, "rank 1"):
        (seen,) = meter.look()

    assert (seen.job, seen.cores, seen.left_seconds) == ("rank 1", 2, None)
    # It was started by this process, so it is inside this one.
    assert outer_reservations([meter.own, seen])[seen.holder] == meter.own
    assert folder.stat().st_mode & 0o777 == 0o700
    meter.leave()


def test_a_killed_meter_leaves_nothing_and_counts_until_it_was_missed(folder: Path) -> None:
    meter = Meter(folder)
    with process(folder, "rank 1") as other:
        assert meter.jobs() == ["rank 1"]
        other.send_signal(signal.SIGKILL)
        other.wait()
        (seen,) = meter.look()

    assert seen.left_seconds == meter.since
    assert meter.look() == []
    meter.leave()
    assert list(folder.iterdir()) == []


def test_what_a_killed_meter_left_is_swept_by_one_that_never_saw_it_alive(folder: Path) -> None:
    with process(folder, "rank 1") as other:
        other.kill()
        other.wait()
    assert files(folder) == ["json"]
    time.sleep(0.01)

    meter = Meter(folder)

    assert meter.look() != []  # nobody knows when it was killed: perhaps just now
    assert meter.look() == []
    meter.leave()
    assert list(folder.iterdir()) == []


def test_a_meter_that_came_and_went_within_a_window_is_still_seen_by_it(folder: Path) -> None:
    meter = Meter(folder)
    before = time.monotonic()
    with process(folder, "short") as other:
        go_on(other)
    (seen,) = meter.look()

    assert seen.left_seconds is not None
    assert before < seen.entered_seconds <= seen.left_seconds < meter.since
    assert meter.look() == []
    meter.leave()
    assert list(folder.iterdir()) == []


def test_a_stopped_meter_is_not_taken_for_a_killed_one(folder: Path) -> None:
    meter = Meter(folder)
    with process(folder, "rank 1") as other:
        other.send_signal(signal.SIGSTOP)
        assert [meter.jobs(), meter.jobs()] == [["rank 1"], ["rank 1"]]
        other.send_signal(signal.SIGCONT)
        go_on(other)
    meter.leave()


def test_a_meter_alone_leaves_no_file_behind(folder: Path) -> None:
    meter = Meter(folder)
    assert files(folder) == ["json"]

    meter.leave()
    meter.leave()

    assert list(folder.iterdir()) == []
    assert meter.jobs() == []


def test_two_meters_of_one_process_see_each_other_and_the_later_is_inside(folder: Path) -> None:
    one, two = Meter(folder, job="one"), Meter(folder, job="two")

    assert (one.jobs(), two.jobs()) == (["two"], ["one"])
    assert outer_reservations([one.own, two.own])[two.own.holder] == one.own
    two.leave()
    assert one.jobs() == ["two"]
    assert one.jobs() == []
    one.leave()
    assert list(folder.iterdir()) == []


def test_two_meters_that_share_one_object_see_each_other(folder: Path) -> None:
    shared = ReservationFolder(folder)
    one = shared.enter(job="one", cores=1, has_devices=False, now_seconds=1.0)
    two = shared.enter(job="two", cores=1, has_devices=False, now_seconds=2.0)

    assert shared.look(one, since_seconds=1.0, until_seconds=3.0) == (two,)
    shared.leave(two, now_seconds=3.0)
    (seen,) = shared.look(one, since_seconds=1.0, until_seconds=4.0)
    assert seen.left_seconds == 3.0
    shared.leave(one, now_seconds=5.0)
    assert list(folder.iterdir()) == []


def test_no_file_stays_open(folder: Path) -> None:
    num_before = open_files()
    meter = Meter(folder)
    for number in range(3):
        with process(folder, f"rank {number}") as other:
            assert f"rank {number}" in meter.jobs()
            other.kill()
            other.wait()
        meter.look()
        meter.look()
    assert open_files() == num_before + 1
    with process(folder, "still there"):
        assert meter.jobs() == ["still there"]
        num_during = open_files()
        meter.leave()

        assert open_files() == num_during - 2


def test_a_child_that_lives_on_does_not_keep_its_killed_parents_reservation(folder: Path) -> None:
    code = (
        ENTER
        + """
import os
if os.fork() == 0:
    os.close(1)
    folder.leave(own, now_seconds=time.monotonic())  # a copy: takes nothing from its parent
    time.sleep(60)
else:
    time.sleep(0.2)
"""
        + WAIT
    )
    meter = Meter(folder)
    with process(folder, "parent", code=code) as other:
        (child,) = children_of(other.pid)
        assert meter.jobs() == ["parent"]
        other.kill()
        other.wait()
        assert Path(f"/proc/{child}").exists()
        meter.look()
        assert meter.jobs() == []
        os.kill(child, signal.SIGKILL)
    meter.leave()


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_forked_copy_of_a_meter_sees_nobody_and_can_meter_itself(folder: Path) -> None:
    meter = Meter(folder)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        copy = Meter(folder, job="child")
        os.write(writing, json.dumps([meter.jobs(), copy.jobs(), len(copy.own.lineage)]).encode())
        copy.leave()
        os._exit(0)
    os.waitpid(pid, 0)

    of_copy, of_child, depth = json.loads(os.read(reading, 1000))
    assert (of_copy, of_child) == ([], ["own"])
    assert depth == len(meter.own.lineage) + 1
    assert meter.jobs() == ["child"]
    meter.leave()


def test_a_programme_that_replaces_the_meters_process_gives_the_reservation_up(folder: Path) -> None:
    code = ENTER + 'import os\nos.execv("/bin/sh", ["sh", "-c", "echo here; read line"])\n'
    meter = Meter(folder)
    with process(folder, "replaced", code=code):
        meter.look()
        assert meter.jobs() == []
    meter.leave()


def test_a_folder_that_was_swept_is_made_again(folder: Path) -> None:
    meter = Meter(folder)
    with process(folder, "rank 1"):
        assert meter.jobs() == ["rank 1"]
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        meter.look()
        assert meter.jobs() == []  # it looks itself within a second, and is there again

        assert files(folder) == ["json"]
    meter.leave()
    assert list(folder.iterdir()) == []


def test_what_left_a_minute_ago_is_forgotten(folder: Path) -> None:
    watcher, short = ReservationFolder(folder), ReservationFolder(folder)
    own = watcher.enter(job="own", cores=1, has_devices=False, now_seconds=0.0)
    other = short.enter(job="short", cores=1, has_devices=False, now_seconds=1.0)
    watcher.look(own, since_seconds=0.0, until_seconds=1.5)
    short.leave(other, now_seconds=2.0)

    (seen,) = watcher.look(own, since_seconds=1.5, until_seconds=2.5)
    assert seen.left_seconds == 2.0
    assert files(folder) == ["json", "left"]
    assert len(watcher.look(own, since_seconds=1.9, until_seconds=63.0)) == 1

    assert files(folder) == ["json"]
    assert watcher.look(own, since_seconds=1.9, until_seconds=64.0) == ()
    watcher.leave(own, now_seconds=65.0)


def test_files_of_other_starts_of_the_machine_are_strangers_and_swept_after_a_day(folder: Path) -> None:
    meter = Meter(folder)
    (file,) = folder.iterdir()
    old, new = folder / "0a0b0c0d-1-22.json", folder / "0a0b0c0d-1-23.json"
    for path in (old, new):
        path.write_bytes(file.read_bytes())
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))

    second = Meter(folder)

    assert meter.jobs() == ["own"]
    assert (old.exists(), new.exists()) == (False, True)
    second.leave()
    meter.leave()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"holder": 1}', b"\xff\xfe", b"[" * 70_000])
def test_files_that_hold_no_reservation_are_passed_over(folder: Path, content: bytes) -> None:
    meter = Meter(folder)
    prefix = meter.own.holder.partition("-")[0]
    (folder / f"{prefix}-1-junk.json").write_bytes(content)
    (folder / f"{prefix}-1-junk2.left").write_bytes(content)
    (folder / f"{prefix}-1-folder.json").mkdir()
    (folder / f"{prefix}-1-link.json").symlink_to("/etc/hostname")

    assert meter.look() == []
    meter.leave()


def test_a_folder_that_others_may_enter_is_refused(folder: Path) -> None:
    folder.mkdir(mode=0o755)

    with pytest.raises(ReservationsUnavailableError, match="not a folder of this user alone"):
        Meter(folder)


def test_a_link_in_the_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ReservationsUnavailableError, match="mode 0700"):
        Meter(folder)


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ReservationsUnavailableError, match=r"no/such/folder"):
        Meter(tmp_path / "no" / "such" / "folder")


def test_the_lineage_begins_here_and_leads_to_the_parent() -> None:
    own = lineage()

    assert f":{os.getpid()}:" in own[0]
    assert f":{os.getppid()}:" in own[1]
    assert len(set(own)) == len(own)


def test_the_folder_is_the_users_own_and_the_same_for_every_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/somewhere/else")

    assert default_folder() == Path(f"/tmp/ayni-node-{os.getuid()}")


def test_many_threads_that_come_and_go_never_lose_sight_of_one_that_stays(folder: Path) -> None:
    meter = Meter(folder, job="stays")
    missed: list[str] = []

    def come_and_go() -> None:
        for _ in range(20):
            other = Meter(folder, job="goes")
            if "stays" not in other.jobs():
                missed.append("the one that stays was not seen")
            other.leave()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        seen |= {each.holder for each in meter.look()}
    seen |= {each.holder for each in meter.look()}

    assert missed == []
    assert len(seen) == 80
    meter.leave()
    assert list(folder.iterdir()) == []


@pytest.mark.slow
def test_meters_that_are_killed_at_random_leave_a_folder_that_the_last_one_empties(folder: Path) -> None:
    code = """
        import random, sys, time
        from pathlib import Path
        from ayni.footprint.windows.reservation_folder import ReservationFolder
        random.seed(sys.argv[2])
        print("here", flush=True)
        while True:
            folder = ReservationFolder(Path(sys.argv[1]))
            own = folder.enter(job=sys.argv[2], cores=1, has_devices=False, now_seconds=time.monotonic())
            for _ in range(random.randrange(4)):
                folder.look(own, since_seconds=time.monotonic() - 1, until_seconds=time.monotonic())
            folder.leave(own, now_seconds=time.monotonic())
    """
    meter = Meter(folder)
    for start in range(4):
        with process(folder, f"a{start}", code=code), process(folder, f"b{start}", code=code):
            for _ in range(20):
                meter.look()
                time.sleep(0.005)

    meter.look()
    assert meter.look() == []
    meter.leave()
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == []

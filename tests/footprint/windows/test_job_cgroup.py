import os
import subprocess
import sys
from pathlib import Path

import pytest

from ayni.footprint.windows.job_cgroup import make_job_cgroup


def pretend(tmp_path: Path, *, cgroup: str, groups: tuple[str, ...]) -> dict[str, Path]:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    for name in groups:
        (tmp_path / "cgroup" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name / "cgroup.procs").write_text("")
    return {"proc": tmp_path / "proc", "mount": tmp_path / "cgroup"}


def test_a_system_without_cgroups_makes_none(tmp_path: Path) -> None:
    assert make_job_cgroup(proc=tmp_path / "nowhere", mount=tmp_path) is None
    assert make_job_cgroup(**pretend(tmp_path, cgroup="0::/user\n", groups=())) is None


def test_a_group_that_counts_nothing_is_taken_away_again(tmp_path: Path) -> None:
    # A plain folder: what is made in it has no cpu.stat, as with a version 1 without cpuacct.
    system = pretend(tmp_path, cgroup="0::/user\n2:memory:/user\n", groups=("user",))

    assert make_job_cgroup(**system) is None
    assert [path.name for path in (tmp_path / "cgroup" / "user").iterdir()] == ["cgroup.procs"]


def test_a_group_outside_of_this_container_is_left_alone(tmp_path: Path) -> None:
    system = pretend(tmp_path, cgroup="0::/../other\n", groups=("other",))

    assert make_job_cgroup(**system) is None
    assert sorted(path.name for path in (tmp_path / "cgroup" / "other").iterdir()) == ["cgroup.procs"]


def test_empty_groups_of_killed_processes_are_taken_away_and_no_others(tmp_path: Path) -> None:
    dead, alive, new = "ayni-4194999", f"ayni-{os.getppid()}", "ayni-4194998"
    groups = ("user", f"user/{dead}", f"user/{alive}", f"user/{new}", "user/ayni-other")
    system = pretend(tmp_path, cgroup="0::/user\n", groups=groups)
    (tmp_path / "proc" / str(os.getppid())).mkdir()
    for name in (dead, alive, "ayni-other"):
        (tmp_path / "cgroup" / "user" / name / "cgroup.procs").unlink()
        os.utime(tmp_path / "cgroup" / "user" / name, (0, 0))
    (tmp_path / "cgroup" / "user" / new / "cgroup.procs").unlink()

    make_job_cgroup(**system)

    left = sorted(path.name for path in (tmp_path / "cgroup" / "user").iterdir() if path.is_dir())
    assert left == sorted([alive, new, "ayni-other"])


def test_a_real_group_counts_what_nobody_waits_for_and_gives_back_what_still_lives() -> None:
    group = make_job_cgroup()
    if group is None:
        pytest.skip("this system lets nobody make cgroups here")
    burn = "import time\nwhile time.process_time() < 0.2: pass"
    # The shell is gone at once; the burner belongs to nobody that waits for it.
    with group.entered():
        orphan = subprocess.Popen([sys.executable, "-c", burn])
        sleeper = subprocess.Popen(["sleep", "600"])
    try:
        assert {orphan.pid, sleeper.pid} <= group.process_ids()
        assert os.getpid() not in group.process_ids()
        orphan.wait(120)
        assert group.clock().job_busy_seconds() >= 0.2
        assert group.process_ids() == {sleeper.pid}
    finally:
        group.remove()
        assert not group.folder.exists()
        assert sleeper.poll() is None
        sleeper.kill()
        sleeper.wait()

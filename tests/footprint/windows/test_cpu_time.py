import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ayni.footprint.windows.cpu_time import (
    CgroupCpuClock,
    CpuClock,
    ProcCpuClock,
    PsutilCpuClock,
    choose_cpu_clock,
    find_job_cgroup,
)

TICKS_PER_SECOND = 100
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
pytestmark = linux_only


def write_process(
    proc: Path,
    pid: int,
    *,
    parent: int,
    ticks: tuple[int, int, int, int],
    started: int = 5,
    command: str = "job",
) -> None:
    times = " ".join(map(str, ticks))
    fields = f"S {parent} 1 1 0 -1 0 0 0 0 0 {times} 20 0 1 0 {started} 1000 10"
    (proc / str(pid)).mkdir(exist_ok=True)
    (proc / str(pid) / "stat").write_text(f"{pid} ({command}) {fields}\n")


def remove_process(proc: Path, pid: int) -> None:
    (proc / str(pid) / "stat").unlink()
    (proc / str(pid)).rmdir()


def burn_in_children(*, num_children: int, seconds: float) -> None:
    code = f"import time\nwhile time.process_time() < {seconds}: pass"
    for _ in range(num_children):
        subprocess.run([sys.executable, "-S", "-c", code], check=True)


def waited_for_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_node_time_counts_work_but_neither_steal_nor_guests_twice(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice
    (tmp_path / "stat").write_text("cpu  100 20 30 9999 888 4 6 7777 50 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n")

    busy = ProcCpuClock(root_pid=1, proc=tmp_path).node_busy_seconds()

    assert busy == (100 + 20 + 30 + 4 + 6) / TICKS_PER_SECOND


def test_job_time_is_that_of_the_tree_with_its_dead_and_of_nobody_else(tmp_path: Path) -> None:
    write_process(tmp_path, 10, parent=1, ticks=(100, 10, 300, 20))
    write_process(tmp_path, 11, parent=10, ticks=(50, 5, 0, 0), command="a (strange) name) 1 2")
    write_process(tmp_path, 12, parent=11, ticks=(7, 0, 0, 0))
    write_process(tmp_path, 99, parent=1, ticks=(100_000, 0, 0, 0))

    seconds = ProcCpuClock(root_pid=10, proc=tmp_path).job_busy_seconds()

    assert seconds == (430 + 55 + 7) / TICKS_PER_SECOND


def test_a_descendant_adopted_by_init_stays_in_the_job(tmp_path: Path) -> None:
    write_process(tmp_path, 10, parent=1, ticks=(0, 0, 0, 0))
    write_process(tmp_path, 11, parent=10, ticks=(50, 0, 0, 0))
    clock = ProcCpuClock(root_pid=10, proc=tmp_path)
    clock.job_busy_seconds()

    write_process(tmp_path, 11, parent=1, ticks=(80, 0, 0, 0))

    assert clock.job_busy_seconds() == 0.80


def test_a_stranger_with_a_reused_process_number_is_not_the_job(tmp_path: Path) -> None:
    write_process(tmp_path, 10, parent=1, ticks=(0, 0, 50, 0))
    write_process(tmp_path, 11, parent=1, ticks=(9, 0, 0, 0), started=5)
    clock = ProcCpuClock(root_pid=10, proc=tmp_path)
    write_process(tmp_path, 11, parent=10, ticks=(9, 0, 0, 0), started=5)
    clock.job_busy_seconds()

    write_process(tmp_path, 11, parent=1, ticks=(70_000, 0, 0, 0), started=6)

    assert clock.job_busy_seconds() == pytest.approx(0.59)


def test_time_of_a_process_nobody_waited_for_is_kept_and_later_work_is_credited_in_full(
    tmp_path: Path,
) -> None:
    write_process(tmp_path, 10, parent=1, ticks=(100, 0, 0, 0))
    write_process(tmp_path, 11, parent=10, ticks=(500, 0, 0, 0))
    clock = ProcCpuClock(root_pid=10, proc=tmp_path)
    assert clock.job_busy_seconds() == 6.0

    remove_process(tmp_path, 11)
    assert clock.job_busy_seconds() == 6.0
    write_process(tmp_path, 10, parent=1, ticks=(150, 0, 0, 0))

    assert clock.job_busy_seconds() == 6.5


@pytest.mark.parametrize("make_clock", [ProcCpuClock, PsutilCpuClock])
def test_children_that_die_between_two_looks_are_captured(make_clock: type[CpuClock]) -> None:
    clock = make_clock()
    before, truth_before = clock.job_busy_seconds(), waited_for_seconds()

    burn_in_children(num_children=4, seconds=0.1)

    captured = clock.job_busy_seconds() - before
    assert captured >= 0.95 * (waited_for_seconds() - truth_before)


@pytest.mark.slow
def test_twenty_children_of_three_tenths_of_a_second_are_captured_to_95_percent() -> None:
    clock = choose_cpu_clock()
    before, truth_before = clock.job_busy_seconds(), waited_for_seconds()

    burn_in_children(num_children=20, seconds=0.3)

    truth = waited_for_seconds() - truth_before
    captured = clock.job_busy_seconds() - before
    assert 0.95 * truth <= captured <= 1.10 * truth + 0.1


def test_the_job_is_part_of_the_node() -> None:
    clock = choose_cpu_clock()
    job, node = clock.job_busy_seconds(), clock.node_busy_seconds()

    burn_in_children(num_children=1, seconds=0.2)

    job_difference, node_difference = clock.job_busy_seconds() - job, clock.node_busy_seconds() - node
    assert 0.15 <= job_difference <= node_difference + 0.1


def write_membership(proc: Path, pid: int, *lines: str) -> None:
    (proc / str(pid) / "cgroup").write_text("".join(f"{line}\n" for line in lines))


def write_group(folder: Path, *members: int, usage: str = "usage_usec 2500000\nuser_usec 1\n") -> Path:
    folder.mkdir(parents=True)
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in members))
    (folder / "cpu.stat").write_text(usage)
    return folder


def test_a_group_of_version_2_counts_microseconds_and_one_of_version_1_nanoseconds(tmp_path: Path) -> None:
    second = write_group(tmp_path / "v2")
    first = write_group(tmp_path / "v1", usage="nr_periods 0\n")
    (first / "cpuacct.usage").write_text("2500000000\n")

    assert CgroupCpuClock(second).job_busy_seconds() == 2.5
    assert CgroupCpuClock(first).job_busy_seconds() == 2.5


def test_a_group_that_is_gone_keeps_what_it_had(tmp_path: Path) -> None:
    folder = write_group(tmp_path / "job")
    clock = CgroupCpuClock(folder)
    before = clock.job_busy_seconds()

    (folder / "cpu.stat").unlink()

    assert clock.job_busy_seconds() == before == 2.5


def test_a_folder_that_is_no_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="counts no CPU time"):
        CgroupCpuClock(tmp_path)


def test_the_group_that_holds_the_jobs_tree_and_nobody_else_is_found(tmp_path: Path) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    write_process(proc, 10, parent=1, ticks=(1, 0, 0, 0))
    write_process(proc, 11, parent=10, ticks=(1, 0, 0, 0))
    write_membership(proc, 10, "0::/slurm/job_7")
    write_group(mount / "slurm" / "job_7", 10)
    write_group(mount / "slurm" / "job_7" / "step_0", 11)

    assert find_job_cgroup(root_pid=10, proc=proc, mount=mount) == mount / "slurm" / "job_7"


def test_a_group_that_strangers_share_is_not_the_jobs(tmp_path: Path) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    write_process(proc, 9, parent=1, ticks=(1, 0, 0, 0))
    write_process(proc, 10, parent=9, ticks=(1, 0, 0, 0))
    write_membership(proc, 10, "0::/user.slice/session")
    write_group(mount / "user.slice" / "session", 9, 10)

    assert find_job_cgroup(root_pid=10, proc=proc, mount=mount) is None


def test_the_root_group_and_groups_outside_the_container_are_nobodys_job(tmp_path: Path) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    write_process(proc, 10, parent=1, ticks=(1, 0, 0, 0))
    write_group(mount, 10)
    for line in ("0::/", "0::/../other", "4:cpu,cpuacct:/"):
        write_membership(proc, 10, line)
        assert find_job_cgroup(root_pid=10, proc=proc, mount=mount) is None


def test_version_2_goes_before_version_1_where_both_are_there(tmp_path: Path) -> None:
    proc, mount = tmp_path / "proc", tmp_path / "cgroup"
    proc.mkdir()
    write_process(proc, 10, parent=1, ticks=(1, 0, 0, 0))
    write_membership(proc, 10, "4:cpu,cpuacct:/job", "0::/job")
    first = write_group(mount / "cpu,cpuacct" / "job", 10, usage="")
    (first / "cpuacct.usage").write_text("1\n")

    assert find_job_cgroup(root_pid=10, proc=proc, mount=mount) == first
    second = write_group(mount / "unified" / "job", 10)
    assert find_job_cgroup(root_pid=10, proc=proc, mount=mount) == second


def test_a_group_named_by_the_caller_is_taken(tmp_path: Path) -> None:
    folder = write_group(tmp_path / "job")

    assert choose_cpu_clock(cgroup=folder).job_busy_seconds() == 2.5

import os
from pathlib import Path

import pytest

from ayni.footprint.windows.usable_cores import usable_cores

# What this process may run on, whatever machine the tests are on.
OURS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pretend(tmp_path: Path, *, cgroup: str, files: dict[str, str]) -> dict[str, Path]:
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text(cgroup)
    for name, content in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {"proc": tmp_path / "proc", "mount": tmp_path / "cgroup"}


def test_without_a_quota_all_that_the_process_may_run_on_counts(tmp_path: Path) -> None:
    system = pretend(tmp_path, cgroup="0::/user.slice\n", files={"user.slice/cpu.max": "max 100000\n"})

    assert usable_cores(**system) == OURS


@pytest.mark.parametrize("name", ["job/cpu.max", "cpu.max", "unified/job/cpu.max"])
def test_a_quota_of_version_2_of_its_own_or_above_is_kept(name: str, tmp_path: Path) -> None:
    system = pretend(tmp_path, cgroup="0::/job/part\n", files={name: "50000 100000\n"})

    assert usable_cores(**system) == 1


def test_a_quota_of_version_1_is_kept(tmp_path: Path) -> None:
    files = {"cpu,cpuacct/job/cpu.cfs_quota_us": "20000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}
    system = pretend(tmp_path, cgroup="3:cpu,cpuacct:/job\n", files=files)

    assert usable_cores(**system) == 1


def test_a_quota_of_version_1_that_is_none_limits_nothing(tmp_path: Path) -> None:
    files = {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"}
    system = pretend(tmp_path, cgroup="3:cpu:/job\n", files=files)

    assert usable_cores(**system) == OURS


def test_a_quota_above_the_machine_limits_nothing(tmp_path: Path) -> None:
    system = pretend(tmp_path, cgroup="0::/job\n", files={"job/cpu.max": "99900000 100000\n"})

    assert usable_cores(**system) == OURS


def test_a_quota_file_that_cannot_be_read_limits_nothing(tmp_path: Path) -> None:
    system = pretend(tmp_path, cgroup="0::/job\n1:cpu:/../outside\n", files={"job/cpu.max": "nonsense\n"})

    assert usable_cores(**system) == OURS
    assert usable_cores(proc=tmp_path / "nowhere", mount=tmp_path) == OURS

import os
import sys
from pathlib import Path

import pytest

from ayni.footprint.counters.gpu_use import has_gpu_files, hold_gpu

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="open files are listed in /proc")


@pytest.mark.parametrize("name", ["nvidia0", "nvidia12", "kfd", "accel/accel0"])
@linux_only
def test_a_process_that_has_the_file_of_a_gpu_open_uses_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert has_gpu_files(tmp_path)
    assert not hold_gpu([os.getpid()], devices=tmp_path)

    with (tmp_path / name).open():
        assert hold_gpu([os.getpid()], devices=tmp_path)


@pytest.mark.parametrize("name", ["nvidiactl", "nvidia-uvm", "null", "dri/renderD128"])
@linux_only
def test_other_device_files_are_no_gpu_at_work(name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()

    with (tmp_path / name).open():
        assert not has_gpu_files(tmp_path)
        assert not hold_gpu([os.getpid()], devices=tmp_path)


def test_a_process_that_is_gone_uses_nothing(tmp_path: Path) -> None:
    assert not hold_gpu([2**22 + 1], devices=tmp_path)

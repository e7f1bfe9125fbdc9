from pathlib import Path

import pytest

from ayni.footprint.counters.design_power import Processor, design_watts, read_processor


def write_cpuinfo(
    path: Path, *sockets: int, name: str = "AMD EPYC 7763 64-Core Processor", flags: str = "fpu"
) -> Path:
    blocks = [
        f"processor\t: {number}\nmodel name\t: {name}\nphysical id\t: {socket}\nflags\t\t: {flags}\n"
        for number, socket in enumerate(sockets)
    ]
    path.write_text("\n".join(blocks))
    return path


def processor(name: str, **changes: int | bool) -> Processor:
    return Processor(**{"name": name, "num_sockets": 1, "num_cpus": 16, "is_virtual": False} | changes)


@pytest.mark.parametrize(
    ("name", "watts"),
    [
        ("AMD EPYC 8024P 8-Core Processor", 90.0),
        ("AMD Ryzen Threadripper 1950X 16-Core Processor", 180.0),
        ("Intel(R) Xeon(R) CPU E3-1240 V2 @ 3.40GHz", 69.0),
        ("Intel(R) Core(TM) i7-8550U CPU @ 1.80GHz", 15.0),
    ],
)
def test_the_systems_spelling_of_a_name_is_found(name: str, watts: float) -> None:
    assert design_watts(processor(name)) == watts


@pytest.mark.parametrize(
    "name", ["AMD EPYC", "Intel(R) Xeon(R) CPU @ 2.20GHz", "AMD EPYC 7763X", "Neoverse-N1"]
)
def test_a_name_that_only_resembles_one_of_the_table_is_not_it(name: str) -> None:
    assert design_watts(processor(name)) is None


def test_two_sockets_have_twice_the_power() -> None:
    assert design_watts(processor("Intel(R) Xeon(R) CPU E5-2620 v3 @ 2.40GHz", num_sockets=2)) == 170.0


def test_a_virtual_machine_gets_the_share_of_its_threads_of_the_host() -> None:
    found = design_watts(processor("AMD EPYC 7763 64-Core Processor", is_virtual=True, num_cpus=8))

    assert found == pytest.approx(280.0 * 8 / 128)


def test_a_virtual_machine_whose_host_has_unknown_cores_gets_nothing() -> None:
    assert design_watts(processor("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", is_virtual=True)) is None


def test_cpuinfo_tells_sockets_threads_and_whether_it_is_virtual(tmp_path: Path) -> None:
    real = read_processor(write_cpuinfo(tmp_path / "real", 0, 0, 1, 1))
    virtual = read_processor(write_cpuinfo(tmp_path / "virtual", 0, 0, flags="fpu hypervisor sse"))

    assert real == processor("AMD EPYC 7763 64-Core Processor", num_sockets=2, num_cpus=4, is_virtual=False)
    assert virtual is not None and virtual.is_virtual


def test_a_system_that_names_no_processor_has_none(tmp_path: Path) -> None:
    (tmp_path / "arm").write_text("processor\t: 0\nBogoMIPS\t: 108.00\n")

    assert read_processor(tmp_path / "arm") is None
    assert read_processor(tmp_path / "absent") is None

from pathlib import Path

import pytest

from ayni.footprint.counters.meters import MeterUnavailableError, energy_between
from ayni.footprint.counters.rapl_counter import RaplCounter

RANGE_MICROJOULES = 262_143_000_000


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def write_zone(powercap: Path, zone: str, name: str, microjoules: int, *, limit_watts: int = 400) -> Path:
    folder = powercap / zone
    folder.mkdir(parents=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{RANGE_MICROJOULES}\n")
    (folder / "constraint_0_power_limit_uw").write_text(f"{limit_watts * 1_000_000}\n")
    return folder


def add(folder: Path, microjoules: int) -> None:
    file = folder / "energy_uj"
    file.write_text(str((int(file.read_text()) + microjoules) % RANGE_MICROJOULES))


def test_package_and_its_memory_are_added_50_and_30_joules_are_80(tmp_path: Path) -> None:
    package = write_zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    core = write_zone(tmp_path, "intel-rapl:0:0", "core", 500_000)
    memory = write_zone(tmp_path, "intel-rapl:0:1", "dram", 2_000_000)
    counter = RaplCounter(powercap=tmp_path)
    before = counter.read()

    add(package, 50_000_000)
    add(core, 45_000_000)
    add(memory, 30_000_000)

    assert energy_between(before, counter.read()) == 80_000_000


def test_two_sockets_are_both_counted_and_a_mirrored_zone_once(tmp_path: Path) -> None:
    zones = [
        write_zone(tmp_path, "intel-rapl:0", "package-0", 0),
        write_zone(tmp_path, "intel-rapl:0:0", "dram", 0),
        write_zone(tmp_path, "intel-rapl:1", "package-1", 0),
        write_zone(tmp_path, "intel-rapl:1:0", "dram", 0),
        write_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
        write_zone(tmp_path, "intel-rapl-mmio:0:0", "dram", 0),
        write_zone(tmp_path, "intel-rapl:2", "psys", 0),
    ]
    counter = RaplCounter(powercap=tmp_path)

    for zone in zones:
        add(zone, 1_000_000)

    assert counter.read().microjoules == 4_000_000


def test_one_wrap_of_the_counter_is_undone_exactly(tmp_path: Path) -> None:
    package = write_zone(tmp_path, "intel-rapl:0", "package-0", RANGE_MICROJOULES - 10)
    clock = Clock()
    counter = RaplCounter(powercap=tmp_path, now=clock)
    before = counter.read()

    clock.seconds = 600.0  # a full turn takes 655 s at 400 W
    add(package, 100_000_000_000)

    assert energy_between(before, counter.read()) == 100_000_000_000


def test_when_two_wraps_are_possible_the_energy_is_unknown_and_not_guessed(tmp_path: Path) -> None:
    package = write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = Clock()
    counter = RaplCounter(powercap=tmp_path, now=clock)
    before = counter.read()

    clock.seconds = 700.0
    add(package, 300_000_000_000)
    after = counter.read()
    add(package, 5)

    assert energy_between(before, after) is None
    assert energy_between(after, counter.read()) == 5


def test_a_gap_seen_by_one_reader_is_seen_by_every_other(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    clock = Clock()
    counter = RaplCounter(powercap=tmp_path, now=clock)
    before = counter.read()

    clock.seconds = 700.0
    counter.read()

    assert energy_between(before, counter.read()) is None


def test_a_counter_that_stops_answering_makes_a_gap(tmp_path: Path) -> None:
    package = write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    counter = RaplCounter(powercap=tmp_path)
    before = counter.read()

    (package / "energy_uj").unlink()

    assert energy_between(before, counter.read()) is None


def test_idle_power_is_a_fifth_of_the_power_limits(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0, limit_watts=100)
    write_zone(tmp_path, "intel-rapl:0:0", "dram", 0, limit_watts=40)

    assert RaplCounter(powercap=tmp_path).idle_watts == pytest.approx(20.0)


def test_a_machine_without_the_tree_says_so(tmp_path: Path) -> None:
    with pytest.raises(MeterUnavailableError, match="No RAPL package"):
        RaplCounter(powercap=tmp_path / "absent")


def test_a_refused_read_names_the_file_and_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    read_text = Path.read_text

    def refuse(path: Path, *arguments: str) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read_text(path, *arguments)

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(MeterUnavailableError, match=r"chmod a\+r .*energy_uj"):
        RaplCounter(powercap=tmp_path)


def nest(powercap: Path) -> Path:
    """The same tree as the kernel shows it below /sys/devices: zones inside zones."""
    tree = powercap / "intel-rapl"
    write_zone(tree, "intel-rapl:0", "package-0", 0)
    write_zone(tree / "intel-rapl:0", "intel-rapl:0:0", "dram", 0)
    return tree


def test_zones_inside_zones_are_found_and_none_is_counted_twice(tmp_path: Path) -> None:
    tree = nest(tmp_path)
    (tmp_path / "intel-rapl:0").symlink_to(tree / "intel-rapl:0")
    (tmp_path / "intel-rapl:0:0").symlink_to(tree / "intel-rapl:0" / "intel-rapl:0:0")
    counter = RaplCounter(powercap=tmp_path)

    add(tree / "intel-rapl:0", 50_000_000)
    add(tree / "intel-rapl:0" / "intel-rapl:0:0", 30_000_000)

    assert counter.read().microjoules == 80_000_000


def test_a_nested_tree_without_the_flat_names_is_read_too(tmp_path: Path) -> None:
    tree = nest(tmp_path)
    counter = RaplCounter(powercap=tmp_path)

    add(tree / "intel-rapl:0", 50_000_000)
    add(tree / "intel-rapl:0" / "intel-rapl:0:0", 30_000_000)

    assert counter.read().microjoules == 80_000_000
    assert counter.trust.scope == "processor and memory"


def test_dies_that_mirror_their_sockets_counter_are_counted_once_with_one_memory(tmp_path: Path) -> None:
    zones = [
        write_zone(tmp_path, "intel-rapl:0", "package-0-die-0", 7_000_000_000),
        write_zone(tmp_path, "intel-rapl:0:0", "dram", 900_000_000),
        write_zone(tmp_path, "intel-rapl:1", "package-0-die-1", 7_000_000_500),
        write_zone(tmp_path, "intel-rapl:1:0", "dram", 900_000_100),
    ]
    counter = RaplCounter(powercap=tmp_path)

    for zone in zones:
        add(zone, 68_000_000)

    assert counter.read().microjoules == 2 * 68_000_000


def test_dies_with_counters_of_their_own_are_all_counted(tmp_path: Path) -> None:
    zones = [
        write_zone(tmp_path, "intel-rapl:0", "package-0-die-0", 7_000_000_000),
        write_zone(tmp_path, "intel-rapl:1", "package-0-die-1", 1_000_000_000),
        write_zone(tmp_path, "intel-rapl:2", "package-1-die-0", 7_000_000_000),
    ]
    counter = RaplCounter(powercap=tmp_path)

    for zone in zones:
        add(zone, 10)

    assert counter.read().microjoules == 30


def test_memory_is_told_by_its_package_where_psys_shifts_the_numbers_of_one_tree(tmp_path: Path) -> None:
    zones = [
        write_zone(tmp_path, "intel-rapl:0", "psys", 0),
        write_zone(tmp_path, "intel-rapl:1", "package-0", 0),
        write_zone(tmp_path, "intel-rapl:1:0", "dram", 0),
        write_zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0),
        write_zone(tmp_path, "intel-rapl-mmio:0:0", "dram", 0),
    ]
    counter = RaplCounter(powercap=tmp_path)

    for zone in zones:
        add(zone, 1_000)

    assert counter.read().microjoules == 2_000


def test_the_platform_zone_is_read_instead_of_its_parts_when_asked_for(tmp_path: Path) -> None:
    package = write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    platform = write_zone(tmp_path, "intel-rapl:1", "psys", 0)
    counter = RaplCounter(powercap=tmp_path, reads_psys=True)

    add(package, 50)
    add(platform, 90)

    assert counter.read().microjoules == 90
    assert "psys" in counter.trust.method


def test_a_platform_zone_that_is_not_there_is_not_replaced_by_something_else(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0)

    with pytest.raises(MeterUnavailableError, match="No RAPL psys zone"):
        RaplCounter(powercap=tmp_path, reads_psys=True)


def test_without_a_memory_zone_the_scope_says_that_memory_is_not_counted(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0)

    assert RaplCounter(powercap=tmp_path).trust.scope == "processor (no counter of memory)"


def test_after_a_failed_read_the_next_window_is_unknown_too_because_it_holds_both(tmp_path: Path) -> None:
    package = write_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    counter = RaplCounter(powercap=tmp_path)
    before = counter.read()

    (package / "energy_uj").rename(package / "gone")
    failed = counter.read()
    (package / "gone").rename(package / "energy_uj")
    add(package, 100)
    recovered = counter.read()
    add(package, 7)

    assert energy_between(before, failed) is None
    assert energy_between(failed, recovered) is None
    assert energy_between(recovered, counter.read()) == 7


@pytest.mark.parametrize("limit_watts", [0, 4095])
def test_a_limit_that_says_nothing_does_not_make_all_energy_idle(tmp_path: Path, limit_watts: int) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0, limit_watts=limit_watts)

    idle_watts = RaplCounter(powercap=tmp_path).idle_watts

    assert 0 < idle_watts <= 0.2 * 4.5 * 1024


def test_a_calibrated_idle_power_goes_before_the_pooled_one(tmp_path: Path) -> None:
    write_zone(tmp_path, "intel-rapl:0", "package-0", 0, limit_watts=100)

    assert RaplCounter(powercap=tmp_path, idle_watts=7.5).idle_watts == 7.5

from pathlib import Path

from ayni.footprint.counters.cpu_frequency import CpufreqFrequency, ScriptedFrequency, find_frequency


def write_cpus(folder: Path, *kilohertz: int | None) -> None:
    for number, value in enumerate(kilohertz):
        cpufreq = folder / f"cpu{number}" / "cpufreq"
        cpufreq.mkdir(parents=True, exist_ok=True)
        (cpufreq / "scaling_cur_freq").write_text("<unknown>" if value is None else f"{value}\n")


def test_the_share_is_the_mean_over_cpus_against_the_highest_mean_seen(tmp_path: Path) -> None:
    write_cpus(tmp_path, 3_000_000, 2_000_000)
    frequency = CpufreqFrequency(folder=tmp_path)

    at_first = frequency.share()
    write_cpus(tmp_path, 1_000_000, 1_000_000)

    assert at_first == 1.0
    assert frequency.megahertz() == 1000.0
    assert frequency.share() == 1000 / 2500


def test_a_highest_clock_that_is_known_from_before_counts_at_once(tmp_path: Path) -> None:
    write_cpus(tmp_path, 1_500_000)

    assert CpufreqFrequency(highest_megahertz=3000.0, folder=tmp_path).share() == 0.5


def test_a_cpu_that_is_switched_off_is_left_out(tmp_path: Path) -> None:
    write_cpus(tmp_path, 3_000_000, None)

    assert CpufreqFrequency(folder=tmp_path).megahertz() == 3000.0


def test_of_many_cpus_some_answer_each_time_and_all_get_their_turn(tmp_path: Path) -> None:
    write_cpus(tmp_path, *([1_000_000] * 64), *([3_000_000] * 64))
    frequency = CpufreqFrequency(folder=tmp_path)

    seen = [frequency.megahertz() for _ in range(4)]

    assert all(1900 <= (value or 0) <= 2100 for value in seen)


def test_a_machine_that_does_not_tell_has_no_frequency(tmp_path: Path) -> None:
    assert find_frequency(folder=tmp_path) is None
    assert CpufreqFrequency(folder=tmp_path).share() == 1.0


def test_the_one_in_memory_behaves_the_same() -> None:
    frequency = ScriptedFrequency(highest_megahertz=2000.0)
    frequency.present_megahertz = 500.0

    assert (frequency.megahertz(), frequency.share()) == (500.0, 0.25)
    frequency.present_megahertz = None
    assert (frequency.megahertz(), frequency.share()) == (None, 1.0)

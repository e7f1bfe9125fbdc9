from typing import Any

from ayni.footprint.receipts.evidence import Evidence, FoundReceipt
from ayni.footprint.receipts.replay import find_replays


def window(number: int, *, energy: int | None = None, start: int | None = None) -> dict[str, Any]:
    """One of many that are all different."""
    second = number if start is None else start
    return {
        "kind": "window",
        "window": number,
        "started_at": f"2026-03-01T12:{second // 60:02d}:{second % 60:02d}+00:00",
        "ended_at": f"2026-03-01T12:{(second + 1) // 60:02d}:{(second + 1) % 60:02d}+00:00",
        "seconds": 1 + number * 1e-6,
        "busy_cpu_seconds": 0.5,
        "node_microjoules": 1000 + number if energy is None else energy,
    }


def evidence(place: str, *windows: dict[str, Any], receipts: tuple[dict[str, Any], ...] = ()) -> Evidence:
    found = tuple(FoundReceipt(place=f"{place}/{each['step']}", receipt=each) for each in receipts)
    return Evidence(place=place, is_folder=True, rows=windows, receipts=found)


def receipt(step: str, **changes: Any) -> dict[str, Any]:
    return {
        "step": step,
        "hash": f"hash of {step}",
        "started_at": f"start of {step}",
        "ended_at": "end",
        "windows": {"sha256": f"sha of {step}"},
        "node_account": {"node_microjoules": 7},
        **changes,
    }


def test_windows_that_are_all_different_are_no_replay() -> None:
    one = evidence("one", *(window(number) for number in range(20)))
    two = evidence("two", *(window(number, energy=5, start=number) for number in range(20)))

    assert find_replays([one, two]) == []


def test_a_window_at_the_same_time_with_the_same_energy_is_told_once_for_each_pair_of_runs() -> None:
    windows = [window(number) for number in range(3)]
    one, two, three = (evidence(name, *windows) for name in ("one", "two", "three"))

    assert find_replays([one, two, three]) == [
        "window 0 of one stands again in two as 0, and 2 more",
        "window 0 of one stands again in three as 0, and 2 more",
    ]


def test_a_window_that_stands_twice_in_one_run_is_told() -> None:
    found = find_replays([evidence("one", window(1), window(2), {**window(1), "window": 3})])

    assert found == ["one: window 1 stands again as 3"]


def test_a_stretch_of_windows_with_other_times_is_found_and_a_shorter_one_is_not() -> None:
    one = evidence("one", *(window(number) for number in range(10)))
    long = evidence("long", *(window(number, start=number + 100) for number in range(3, 9)))
    short = evidence("short", *(window(number, start=number + 200) for number in range(3, 8)))

    assert find_replays([one, short]) == []
    assert find_replays([one, long]) == [
        "windows from 3 of one and from 3 of long are alike one by one: one is a copy with other times"
    ]


def test_windows_that_are_all_alike_are_no_stretch_that_one_could_recognise() -> None:
    one = evidence("one", *({**window(1), **{"window": n, "started_at": f"{n}"}} for n in range(10)))
    two = evidence("two", *({**window(1), **{"window": n, "started_at": f"later {n}"}} for n in range(10)))

    assert find_replays([one, two]) == []


def test_windows_of_unknown_or_no_energy_are_nobodys_copy() -> None:
    one = evidence("one", *({**window(n), "node_microjoules": None if n % 2 else 0} for n in range(10)))

    assert find_replays([one, evidence("two", *one.windows)]) == []


def test_a_receipt_is_known_by_its_hash_by_its_windows_and_by_its_time_and_energy() -> None:
    one = evidence("one", receipts=(receipt("a"),))

    assert find_replays([one, evidence("two", receipts=(receipt("b"),))]) == []
    for same in (
        {"hash": "hash of a"},
        {"windows": {"sha256": "sha of a"}},
        {"started_at": "start of a"},
    ):
        (found,) = find_replays([one, evidence("two", receipts=(receipt("b", **same),))])
        assert found == "receipt a (one/a) of one stands again in two as b (two/b)"

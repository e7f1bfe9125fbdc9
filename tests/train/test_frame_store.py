import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.files import DiskFullError, NotWritableError
from ayni.train.engine import Frame
from ayni.train.frame_sequence import FrameSequence
from ayni.train.frame_store import SpillingStore


def frames_of(*sizes: int, seed: int = 0) -> list[Frame]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]


def assert_same(kept: Sequence[Frame], frames: Sequence[Frame]) -> None:
    assert [frame.dtype for frame in kept] == [np.uint8] * len(frames)
    np.testing.assert_equal(list(kept), list(frames))


@given(sizes=st.lists(st.lists(st.integers(0, 300), max_size=5), max_size=6), budget=st.integers(0, 1500))
@settings(deadline=None, max_examples=40)
def test_every_frame_comes_back_and_the_budget_is_kept(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[list[int]], budget: int
) -> None:
    store = SpillingStore(tmp_path_factory.getbasetemp() / "spill", budget_bytes=budget)
    updates = [frames_of(*own, seed=seed) for seed, own in enumerate(sizes)]

    kept = [store.keep(update) for update in updates]

    assert store.bytes_in_memory <= budget
    for own, update in zip(kept, updates, strict=True):
        assert len(own) == len(update)
        assert_same(own, update)
        assert_same(own[::-1], update[::-1])
    store.close()
    assert store.bytes_in_memory == 0


def test_what_is_held_in_memory_is_not_copied(tmp_path: Path) -> None:
    frames = frames_of(10, 20)
    store = SpillingStore(tmp_path, budget_bytes=30)

    kept = store.keep(frames)

    assert [one is two for one, two in zip(kept, frames, strict=True)] == [True, True]


def test_a_released_update_makes_room(tmp_path: Path) -> None:
    store = SpillingStore(tmp_path, budget_bytes=30)
    first = store.keep(frames_of(20))
    second = store.keep(frames_of(20))

    store.release(first)
    store.release(second)
    store.release(second)
    store.release(frames_of(5))

    assert store.bytes_in_memory == 0
    frames = frames_of(25)
    assert store.keep(frames)[0] is frames[0]


def test_a_released_update_is_gone(tmp_path: Path) -> None:
    store = SpillingStore(tmp_path, budget_bytes=30)
    held, spilled = store.keep(frames_of(20)), store.keep(frames_of(20))

    store.close()

    with pytest.raises(IndexError):
        held[0]
    with pytest.raises(ValueError, match="closed"):
        spilled[0]


def test_spilled_updates_leave_no_files_behind(tmp_path: Path) -> None:
    store = SpillingStore(tmp_path / "spill", budget_bytes=0)

    kept = store.keep(frames_of(5000, 3000))

    assert list((tmp_path / "spill").iterdir()) == []
    assert kept[-1].nbytes == 3000


@pytest.mark.parametrize("number", [2, -3])
def test_there_is_no_frame_beyond_the_last(tmp_path: Path, number: int) -> None:
    for budget_bytes in (0, 100):
        kept = SpillingStore(tmp_path, budget_bytes=budget_bytes).keep(frames_of(5, 5))

        with pytest.raises(IndexError):
            kept[number]


def test_many_threads_keep_read_and_release_at_once(tmp_path: Path) -> None:
    store = SpillingStore(tmp_path, budget_bytes=4000)
    problems: list[object] = []

    def work(seed: int) -> None:
        for turn in range(20):
            frames = frames_of(1000, 500, seed=seed * 100 + turn)
            kept = store.keep(frames)
            if not all(np.array_equal(a, b) for a, b in zip(kept, frames, strict=True)):
                problems.append((seed, turn))
            store.release(kept)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert store.bytes_in_memory == 0


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be larger than 64 KiB here, which the kernel reports like a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_is_an_error_and_leaves_the_others_alone(tmp_path: Path) -> None:
    store = SpillingStore(tmp_path, budget_bytes=0)
    frames = frames_of(1000)
    kept = store.keep(frames)

    with pytest.raises(DiskFullError, match="Free some space"):
        store.keep(frames_of(40_000, 40_000))

    assert_same(kept, frames)


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = SpillingStore(tmp_path / "file", budget_bytes=0)

    with pytest.raises(NotWritableError):
        store.keep(frames_of(10))


def test_a_spilled_update_takes_one_open_file_until_it_is_released(tmp_path: Path) -> None:
    def num_open() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    store = SpillingStore(tmp_path, budget_bytes=0)
    before = num_open()

    store.keep(frames_of(10, 10, 10))
    during = num_open()
    store.close()

    assert (during - before, num_open() - before) == (1, 0)


class Awaited(FrameSequence):
    """One frame, which arrives when it is allowed to."""

    def __init__(self) -> None:
        self.is_asked, self.may_arrive = threading.Event(), threading.Event()
        self.nbytes = 10

    def __len__(self) -> int:
        return 1

    def _read(self, number: int) -> Frame:
        self.is_asked.set()
        assert self.may_arrive.wait(10)
        return np.zeros(10, np.uint8)


def test_an_update_on_its_way_holds_nobody_up(tmp_path: Path) -> None:
    store = SpillingStore(tmp_path, budget_bytes=30)
    there, awaited = store.keep(frames_of(20)), Awaited()
    arriving = threading.Thread(target=store.keep, args=(awaited,))
    arriving.start()
    assert awaited.is_asked.wait(10)

    store.release(there)
    assert store.bytes_in_memory == 10  # the room of what is on its way is taken

    awaited.may_arrive.set()
    arriving.join(10)
    assert not arriving.is_alive()

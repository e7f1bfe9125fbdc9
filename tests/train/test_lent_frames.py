import gc
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ayni.train.engine import Frame
from ayni.train.lent_frames import BorrowedFrames, FrameBox, FrameList, LendingPool, can_lend, total_bytes

pytestmark = pytest.mark.skipif(not can_lend(), reason="this system has no files in memory")

# Says what it read, and holds a part of it until it is told to end.
BORROWER = """
import pickle, sys
frames = pickle.loads(bytes.fromhex(sys.argv[1]))
print([int(frame.sum()) for frame in frames], flush=True)
held = frames[0][1:]
del frames
sys.stdin.readline()
"""


def filled(box: FrameBox, *values: int, size: int = 100) -> FrameBox:
    for index, value in enumerate(values):
        box.room(index, size + index)[:] = value
    return box


def borrower_of(frames: FrameBox) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", BORROWER, pickle.dumps(frames).hex()]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def address_of(frames: FrameBox) -> int:
    return int(frames[0].ctypes.data)


def test_another_process_reads_what_was_written() -> None:
    frames = filled(LendingPool(1000).begin(), 1, 2)

    with borrower_of(frames) as process:
        assert said(process) == "[100, 202]"
        process.communicate("")

    assert process.returncode == 0


def test_few_bytes_are_sent_whatever_the_frames_hold() -> None:
    frames = filled(LendingPool(2**20).begin(), 1, size=10**6)

    assert len(pickle.dumps(frames)) < 200
    assert len(pickle.dumps(pickle.loads(pickle.dumps(frames)))) < 200


def test_a_region_is_used_again_when_nobody_reads_it_any_more() -> None:
    pool = LendingPool(1000)
    frames = filled(pool.begin(), 1)
    before = address_of(frames)
    with borrower_of(frames) as process:
        said(process)
        del frames
        second = filled(pool.begin(), 2)
        assert address_of(second) != before
        process.communicate("")

    third = pool.begin()

    assert address_of(filled(third, 3)) == before


def test_a_killed_borrower_holds_nothing_up() -> None:
    pool = LendingPool(1000)
    frames = filled(pool.begin(), 1)
    before = address_of(frames)
    with borrower_of(frames) as process:
        said(process)
        process.kill()
    del frames

    assert address_of(filled(pool.begin(), 2)) == before


def test_a_part_that_is_still_held_here_is_not_written_over() -> None:
    pool = LendingPool(1000)
    part = filled(pool.begin(), 7)[0][10:20]
    gc.collect()

    filled(pool.begin(), 8)

    np.testing.assert_array_equal(part, np.full(10, 7))


def test_a_pool_gives_up_what_is_held_for_ever() -> None:
    pool = LendingPool(1000)
    before = len(list(Path("/proc/self/fd").iterdir()))

    held = [filled(pool.begin(), number) for number in range(20)]

    # A region that the pool gave up lives until its last reader has gone.
    assert [int(frames[0][0]) for frames in held] == list(range(20))
    del held
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 2 * 4


def test_borrowers_cannot_write() -> None:
    frames = filled(LendingPool(1000).begin(), 1)
    borrowed = pickle.loads(pickle.dumps(frames))

    for frame in (frames[0], borrowed[0]):
        with pytest.raises(ValueError, match="read-only"):
            frame[0] = 9


def test_what_does_not_fit_is_refused() -> None:
    frames = LendingPool(1000).begin()
    frames.room(0, 900)

    with pytest.raises(ValueError, match="200 bytes does not fit into 1000"):
        frames.room(1, 200)


@pytest.mark.parametrize("make", [lambda: LendingPool(1000).begin(), FrameList])
def test_frames_come_back_by_index_and_slice(make: "type[FrameList]") -> None:
    frames = filled(make(), 1, 2, 3)

    assert (len(frames), frames.nbytes, total_bytes(frames)) == (3, 303, 303)
    assert [frame[0] for frame in frames[1:]] == [2, 3]
    assert frames[-1][0] == 3
    with pytest.raises(IndexError):
        frames[3]


def test_the_bytes_of_plain_arrays_are_counted_too() -> None:
    frames: list[Frame] = [np.zeros(3, np.uint8), np.zeros(4, np.uint8)]

    assert total_bytes(frames) == 7


def test_a_lender_that_is_gone_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        BorrowedFrames(2**22 + 1, 3, [(0, 10)])[0]

import io
import random
import zipfile

import pytest

from ayni.hub.ranged_file import BLOCK_BYTES, KEPT_BLOCKS, MAX_READ_BYTES, RangedFile


def ranged(content: bytes) -> RangedFile:
    return RangedFile(lambda start, stop: content[start:stop], size_bytes=len(content))


def test_steps_about_a_file_read_what_a_file_in_memory_reads() -> None:
    """Oracle: io.BytesIO."""
    rng = random.Random(7)
    content = bytes(rng.choices(b"ab\n" + b"c" * 40, k=3 * BLOCK_BYTES + 5))
    ours, oracle = ranged(content), io.BytesIO(content)

    for _ in range(400):
        position, size = rng.randrange(len(content) + 10), rng.choice([0, 1, 7, 5000, BLOCK_BYTES + 1])
        assert ours.seek(position) == oracle.seek(position)
        assert ours.read(size) == oracle.read(size)
        assert ours.readline() == oracle.readline()
        assert ours.readline(size) == oracle.readline(size)
        assert ours.tell() == oracle.tell()
    assert ours.seek(-3, io.SEEK_END) == oracle.seek(-3, io.SEEK_END)
    assert ours.read() == oracle.read()


def test_python_reads_an_archive_through_it() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a.txt", "hello")

    with zipfile.ZipFile(ranged(packed.getvalue())) as archive:  # type: ignore[arg-type]
        assert archive.read("a.txt") == b"hello"


def test_small_steps_ask_once_for_a_block_and_memory_is_bounded() -> None:
    asked: list[int] = []

    def read_range(start: int, stop: int) -> bytes:
        asked.append(start)
        return b"x" * (stop - start)

    file = RangedFile(read_range, size_bytes=(KEPT_BLOCKS + 4) * BLOCK_BYTES)
    for _ in range(1000):
        file.read(10)

    assert asked == [0]
    file.read()
    file.seek(0)
    file.read(1)
    assert len(asked) == KEPT_BLOCKS + 4 + 1


def test_a_read_beyond_all_measure_and_a_place_before_the_start_are_refused() -> None:
    file = RangedFile(lambda start, stop: b"x" * (stop - start), size_bytes=1 << 40)

    with pytest.raises(ValueError, match="more than"):
        file.read(MAX_READ_BYTES + 1)
    with pytest.raises(OSError, match="before the start"):
        file.seek(-1)

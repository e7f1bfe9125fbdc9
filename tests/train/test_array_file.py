import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ayni.files import DiskFullError, NotWritableError
from ayni.train.array_file import DamagedArrayFileError, checksum_of, read_arrays, save_arrays


def some_arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "momentum/w": rng.standard_normal((3, 5)),
        "counts": np.arange(3, dtype=np.uint8),
        "parameters/w": rng.standard_normal((700, 500)).astype(np.float32),  # more than one piece of 1 MiB
        "scalar": np.array(2.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "half": np.ones(3, np.float16),
        "\u00e4\u00f6": np.array([True, False]),
    }


def are_equal(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return set(left) == set(right) and all(
        np.array_equal(left[name], right[name]) and left[name].dtype == right[name].dtype for name in left
    )


def test_what_is_saved_is_read_by_us_and_by_the_library(tmp_path: Path) -> None:
    arrays, path = some_arrays(), tmp_path / "deep" / "a.safetensors"

    digest = save_arrays(path, arrays)

    assert are_equal(dict(read_arrays(path)), arrays)
    assert are_equal(safetensors.numpy.load_file(path), arrays)
    assert digest == checksum_of(path) == xxhash.xxh3_128_hexdigest(path.read_bytes())
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_the_library_saved_is_read(tmp_path: Path) -> None:
    arrays, path = some_arrays(), tmp_path / "a.safetensors"
    safetensors.numpy.save_file(arrays, path, metadata={"made": "elsewhere"})

    assert are_equal(dict(read_arrays(path)), arrays)


def test_arrays_may_come_one_after_the_other_and_need_not_be_contiguous(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    transposed = np.arange(12, dtype=np.float32).reshape(3, 4).T
    big_endian = np.arange(3, dtype=">f4")

    save_arrays(path, ((name, array) for name, array in [("t", transposed), ("b", big_endian)]))

    read = dict(read_arrays(path))
    assert np.array_equal(read["t"], transposed)
    assert np.array_equal(read["b"], [0, 1, 2])


def test_arrays_that_are_read_can_be_changed_without_changing_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"w": np.zeros(3, np.float32)})

    for _, array in read_arrays(path):
        array[:] = 1

    assert all((array == 0).all() for _, array in read_arrays(path))


def test_a_reader_of_the_old_file_is_not_disturbed_by_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"v": np.zeros(3), "w": np.zeros(3)})
    reader = read_arrays(path)
    next(reader)

    save_arrays(path, {"v": np.ones(3), "w": np.ones(3)})

    assert (next(reader)[1] == 0).all()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_shrinks_while_it_is_read_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"v": np.zeros(3), "w": np.zeros(3)})
    reader = read_arrays(path)
    next(reader)

    os.truncate(path, path.stat().st_size - 1)

    with pytest.raises(DamagedArrayFileError, match="ends inside w"):
        next(reader)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"w": np.zeros(3, np.float32)})
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # to write(2) as good as a full disk

    try:
        with pytest.raises(DiskFullError):
            save_arrays(path, some_arrays())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)

    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(NotWritableError, match="file"):
        save_arrays(tmp_path / "file" / "a.safetensors", {})


def test_arrays_that_the_format_cannot_hold_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"

    with pytest.raises(ValueError, match="w has dtype complex64"):
        save_arrays(path, {"w": np.zeros(3, np.complex64)})
    with pytest.raises(ValueError, match="two arrays have the same name"):
        save_arrays(path, [("w", np.zeros(3)), ("w", np.zeros(3))])

    assert not any(tmp_path.iterdir())


def test_a_file_that_is_not_there_is_not_damaged(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_arrays(tmp_path / "none.safetensors"))


GENUINE = safetensors.numpy.save({"w": np.zeros((2, 3), np.float32), "b": np.zeros(2, np.uint8)})


@given(st.data())
def test_a_file_cut_off_or_with_another_header_is_damaged_or_read_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "hostile.safetensors"

    path.write_bytes(GENUINE[: data.draw(st.integers(0, len(GENUINE) - 1))])
    with pytest.raises(DamagedArrayFileError, match=r"hostile.safetensors is damaged"):
        list(read_arrays(path))

    changed = bytearray(GENUINE)
    changed[data.draw(st.integers(0, len(GENUINE) - 27))] = data.draw(st.integers(0, 255))
    path.write_bytes(changed)
    try:
        arrays = dict(read_arrays(path))
    except DamagedArrayFileError:
        return
    assert sum(array.nbytes for array in arrays.values()) == 26


@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}},
        {"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}},
        {"w": {"dtype": "WHAT", "shape": [2], "data_offsets": [0, 8]}},
        {"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}},
        {
            "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            "v": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]},
        },
        {"w": "no entry"},
        [],
        {
            "w": {
                "dtype": "F32",
                "shape": [2],
                "data_offsets": [0, 8],
                "deep": json.loads("[" * 90 + "]" * 90),
            }
        },
    ],
)
def test_a_hostile_header_is_a_clear_error_and_takes_no_memory(tmp_path: Path, header: object) -> None:
    text = json.dumps(header).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))

    try:
        arrays = dict(read_arrays(path))
    except DamagedArrayFileError:
        return
    assert arrays["w"].nbytes == 8  # a field too many does no harm

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.content_scan import Scan, scan_file
from ayni.hub.ranged_file import RangedFile


class Calls:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


BAD = pickle.dumps(Calls(os.system, "id"), 2)
GOOD = pickle.dumps({"a": [1, 2.0]}, 2)
TEXT_BAD = b"cos\nsystem\n(S'id'\ntR."


def scan(content: bytes, path: str = "file") -> Scan:
    return scan_file(RangedFile(lambda start, stop: content[start:stop], size_bytes=len(content)), path)


def zipped(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def numpy_file(body: bytes, kind: str) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': (1,), }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def safetensors(tensors: dict[str, Any], num_bytes: int) -> bytes:
    header = json.dumps(tensors).encode()
    return struct.pack("<Q", len(header)) + header + bytes(num_bytes)


WRAPPED = {
    "raw": lambda inner: inner,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zlib": zlib.compress,
    "zip": lambda inner: zipped({"notes.txt": inner}),
    "tar": lambda inner: tarred({"notes.txt": inner}),
    "zip in zip": lambda inner: zipped({"a": zipped({"b": inner})}),
    "tar in gzip": lambda inner: gzip.compress(tarred({"a": inner}), mtime=0),
    "array of objects": lambda inner: numpy_file(inner, "|O"),
    "arrays in zip": lambda inner: zipped({"x.npy": numpy_file(inner, "|O")}),
    "zip file behind a pickle": lambda inner: inner + zipped({"harmless": b"x"}),
}


@pytest.mark.parametrize("wrapping", WRAPPED)
@pytest.mark.parametrize("bad", [BAD, TEXT_BAD], ids=["binary", "text"])
@pytest.mark.parametrize("path", ["weights.bin", "picture.png", "notes"])
def test_a_pickle_that_runs_commands_is_found_whatever_it_is_wrapped_in(
    wrapping: str, bad: bytes, path: str
) -> None:
    found = scan(WRAPPED[wrapping](bad), path)

    assert found.verdict == "dangerous"
    assert found.holds_pickle
    assert found.findings[0].what.endswith(".system")


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_a_harmless_pickle_is_safe_whatever_it_is_wrapped_in(wrapping: str) -> None:
    found = scan(WRAPPED[wrapping](GOOD))

    assert (found.verdict, found.findings) == ("safe", ())


@pytest.mark.parametrize(
    ("content", "path", "kind"),
    [
        (b"# Title\n", "README.md", "other"),
        (b"", "empty", "other"),
        (b"GGUF\x03\x00\x00\x00", "m.gguf", "gguf"),
        (numpy_file(b"\x00" * 4, "<f4"), "x.npy", "numpy"),
        (zipped({"a.txt": b"hello"}), "a.zip", "zip"),
        (tarred({"a.txt": b"hello"}), "a.tar", "tar"),
        (gzip.compress(b"hello", mtime=0), "a.gz", "compressed"),
        (
            safetensors({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 4),
            "m.safetensors",
            "safetensors",
        ),
        (safetensors({"__metadata__": {"format": "pt"}}, 0), "m.safetensors", "safetensors"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "m.h5", "hdf5"),
    ],
)
def test_files_without_a_pickle_are_none(content: bytes, path: str, kind: str) -> None:
    found = scan(content, path)

    assert (found.kind, found.verdict, found.holds_pickle) == (kind, "none", False)


@pytest.mark.parametrize(
    "content",
    [
        b"hello",
        BAD,
        safetensors({"w": {"data_offsets": [0, 4]}}, 5),
        safetensors({"w": {"data_offsets": [4, 8]}}, 8),
        safetensors({"v": {"data_offsets": [0, 4]}, "w": {"data_offsets": [2, 6]}}, 6),
        safetensors({"w": {}}, 0),
        safetensors({"w": {"data_offsets": [0, 4]}}, 4)[:-1],
    ],
)
def test_what_is_named_safetensors_and_is_none_is_unreadable(content: bytes) -> None:
    found = scan(content, "model.safetensors")

    assert found.kind == "broken"
    assert found.verdict in ("unreadable", "dangerous")


def test_files_of_pytorch_are_safe_and_their_raw_numbers_are_not_taken_for_pickles(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    # These numbers begin with the bytes of a pickle of protocol 4.
    weights = {
        "w": torch.tensor([0x80 | 4 << 8], dtype=torch.int32),
        "b": torch.zeros(3, dtype=torch.bfloat16),
    }
    for new in (True, False):
        path = tmp_path / f"{new}.pt"
        torch.save(weights, path, _use_new_zipfile_serialization=new)

        assert scan(path.read_bytes(), path.name).verdict == "safe"


def test_a_whole_model_of_pytorch_is_unlisted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(2, 2), tmp_path / "m.pt")

    found = scan((tmp_path / "m.pt").read_bytes())

    assert found.verdict == "unlisted"
    assert "torch.nn.modules.linear.Linear" in {each.what for each in found.findings}
    assert {each.inside for each in found.findings} == {"m/data.pkl"}


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_files_of_joblib_are_looked_into(tmp_path: Path, compress: Any) -> None:
    joblib = pytest.importorskip("joblib")
    joblib.dump({"f": Calls(os.system, "id")}, tmp_path / "m.joblib", compress=compress)

    assert scan((tmp_path / "m.joblib").read_bytes()).verdict == "dangerous"


def test_a_function_in_a_model_of_keras_is_unlisted() -> None:
    config = b'{"layers": [{"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__"}}}]}'

    assert scan(zipped({"config.json": config}), "m.keras").verdict == "unlisted"
    assert scan(b"\x89HDF\r\n\x1a\n" + bytes(2 << 20) + config, "m.h5").verdict == "unlisted"


def test_a_bomb_is_given_up_and_said() -> None:
    found = scan(zipped({f"zeros{number}": b"(" + bytes(40 << 20) for number in range(3)}))

    assert [each.partition(":")[0] for each in found.archive_problems] == ["bomb"]


def test_archives_that_are_too_deep_or_cut_are_unreadable() -> None:
    deep = GOOD
    for _ in range(5):
        deep = zipped({"a": deep})

    assert scan(deep).verdict == "unreadable"
    assert scan(gzip.compress(os.urandom(5000), mtime=0)[:-2000]).verdict == "unreadable"
    assert scan(zipped({"a": b"x" * 1000})[:-5]).verdict == "unreadable"


def test_members_with_damaged_bytes_or_another_name_in_front_are_unreadable() -> None:
    content = bytearray(zipped({"data.pkl": GOOD}))
    content[30:38] = b"othr.pkl"

    assert scan(bytes(content)).verdict == "unreadable"


def test_a_form_that_is_not_unpacked_is_unreadable_only_where_a_pickle_is_expected() -> None:
    content = b"\x28\xb5\x2f\xfd" + bytes(20)

    assert scan(content, "model.pkl").verdict == "unreadable"
    assert scan(content, "data.zst").verdict == "none"

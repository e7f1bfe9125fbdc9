"""What a file is by its content, and what a program that loads it would run.

The name says nothing: `torch.load` and `numpy.load` look at the content as well. So every file is looked at
from its first bytes, as a pickle and as each container that may hold one; a file that is two things at once
(a pickle with a zip file behind it) is judged as both.

    pickles, joblib, PyTorch (new and old), arrays of objects of NumPy, Keras with functions inside
    zip, tar, gzip, bzip2, xz and zlib, up to three deep; read from memory, never written to disk

Not covered: what a virus scanner looks for, 7z, rar, lz4 and zstd (said to be unreadable where the name is
one of a pickle), and code in a repository's .py files, which `trust_remote_code` would run.
"""

import bz2
import gzip
import io
import json
import lzma
import math
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ayni.hub.archives import ARCHIVE_ERRORS, Listing, list_tar, list_zip
from ayni.hub.pickles import Finding, Readable, Verdict, is_pickle, may_begin_pickle, read_pickles, worst
from ayni.hub.picklescan_scanner import second_opinion
from ayni.hub.ranged_file import RangedFile

SCANNER_VERSION = 2
"""Raised when the same content may be judged otherwise, so that it is scanned again."""

Kind = Literal[
    "safetensors", "gguf", "onnx", "hdf5", "numpy", "pickle", "zip", "tar", "compressed", "broken", "other"
]

MAX_DEPTH = 3
MAX_INNER_ARCHIVE_BYTES = 32 << 20
MAX_UNPACKED_BYTES = 512 << 20
MAX_SCANNED_MEMBERS = 20_000
MAX_SAFETENSORS_HEADER_BYTES = 25 << 20
MAX_SEARCHED_BYTES = 64 << 20
# What fits into a row of any database.
MAX_PARAMETERS = 1 << 60
MAX_TYPES = 32
_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,15}")
_START_BYTES = 1024
PICKLE_SUFFIXES = frozenset(
    ["bin", "ckpt", "dill", "joblib", "pickle", "pkl", "pt", "pth", "pt2", "mar", "nemo"]
)
_OTHER_COMPRESSED = {
    b"\x04\x22\x4d\x18": "lz4",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a file is and what was found in it.

    Attributes:
        kind: what it is by its content.
        findings: what is not safe, worst first.
        holds_pickle: whether a loader would unpickle something of it, harmless or not.
        archive_problems: what unpacking it would do.
        parameters: numbers of values by type, of a safetensors file.
    """

    kind: Kind
    findings: tuple[Finding, ...] = ()
    holds_pickle: bool = False
    archive_problems: tuple[str, ...] = ()
    parameters: Mapping[str, int] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """The worst of all that was found; "none" where no pickle is."""
        return worst("safe" if self.holds_pickle else "none", *(each.verdict for each in self.findings))


def scan_file(file: RangedFile, path: str) -> Scan:
    """Look into one file. Reads what it needs; unpacks at most MAX_UNPACKED_BYTES in memory.

    Args:
        file: the content.
        path: only to know what its readers expect, where the content leaves doubt.
    """
    scan = _scan(file, path, budget=_Budget(MAX_UNPACKED_BYTES), depth=0)
    if scan.holds_pickle and scan.verdict != "dangerous" and scan.kind in ("pickle", "zip"):
        # Only what ours let pass: a file cannot get better by it.
        opinion = second_opinion(file, is_zip=scan.kind == "zip")
        scan = replace(scan, findings=(*scan.findings, *opinion))
    findings = sorted(scan.findings, key=lambda each: _ORDER[each.verdict])
    return replace(scan, findings=tuple(findings))


_ORDER: dict[Verdict, int] = {"dangerous": 0, "unreadable": 1, "unlisted": 2, "safe": 3, "none": 4}


class _Budget:
    """How many bytes may still be unpacked for one file."""

    def __init__(self, num_bytes: int) -> None:
        self._all = self._left = num_bytes

    def take(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise ValueError(f"more than {self._all} bytes when unpacked")
        return piece


class _Unpacking:
    """A stream that unpacks, within a budget."""

    def __init__(self, stream: Any, budget: _Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, size: int, /) -> bytes:
        return self._budget.take(self._stream.read(size))

    def readline(self, size: int, /) -> bytes:
        return self._budget.take(self._stream.readline(size))


def _scan(file: RangedFile, path: str, *, budget: _Budget, depth: int) -> Scan:
    file.seek(0)
    start = file.read(_START_BYTES)
    scans = [_as_pickle(file, start)]
    if _has_zip_directory(file):
        scans.append(_zip(file, budget=budget, depth=depth))
    elif start.startswith(b"PK\x03\x04"):
        scans.append(_unreadable("zip", "a zip file whose directory cannot be found"))
    elif start[257:262] == b"ustar":
        scans.append(_tar(file, budget=budget, depth=depth))
    elif (opened := _decompressing(file, start)) is not None:
        scans.append(_compressed(opened, budget=budget, depth=depth))
    else:
        scans.append(_plain(file, start, path))
    return _together([each for each in scans if each is not None])


def _together(scans: list[Scan]) -> Scan:
    # A container says more of what a file is than the pickle in front of it.
    return Scan(
        kind=next((each.kind for each in reversed(scans) if each.kind != "other"), "other"),
        findings=tuple(finding for each in scans for finding in each.findings),
        holds_pickle=any(each.holds_pickle for each in scans),
        archive_problems=tuple(problem for each in scans for problem in each.archive_problems),
        parameters=next((each.parameters for each in scans if each.parameters), {}),
    )


def _as_pickle(file: RangedFile, start: bytes) -> Scan | None:
    if not may_begin_pickle(start):
        return None
    file.seek(0)
    reading = read_pickles(file)
    if not is_pickle(start, reading):
        return None
    return Scan(kind="pickle", findings=reading.findings, holds_pickle=True)


def _plain(file: RangedFile, start: bytes, path: str) -> Scan:
    suffix = path.rpartition(".")[2].lower()
    if suffix == "safetensors" or _header_length(file, start) is not None:
        problem = safetensors_problem(file)
        if not problem:
            return Scan(kind="safetensors", parameters=_counted(file))
        if suffix == "safetensors":
            return _unreadable("broken", problem)
    if start.startswith(b"\x93NUMPY"):
        return _numpy(file)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return _hdf5(file)
    return _by_magic(start, suffix)


def _by_magic(start: bytes, suffix: str) -> Scan:
    name = next((name for magic, name in _OTHER_COMPRESSED.items() if start.startswith(magic)), None)
    if name is not None and suffix in PICKLE_SUFFIXES:
        return _unreadable("compressed", f"{name} is not unpacked here")
    if name is not None:
        return Scan(kind="compressed")
    if start.startswith(b"GGUF"):
        return Scan(kind="gguf")
    return Scan(kind="onnx" if suffix == "onnx" else "other")


def _unreadable(kind: Kind, what: str) -> Scan:
    return Scan(kind=kind, findings=(Finding(verdict="unreadable", what=what),))


def _header_length(file: RangedFile, start: bytes) -> int | None:
    if len(start) < 10:
        return None
    (length,) = struct.unpack("<Q", start[:8])
    return int(length) if start[8:9] == b"{" and 2 <= length <= file.size_bytes - 8 else None


def safetensors_problem(file: RangedFile) -> str:
    """Why a file is no sound safetensors file; empty when it is one.

    Source: safetensors, "Format": 8 bytes of length, a JSON object, then the tensors without gaps.
    """
    file.seek(0)
    length = _header_length(file, file.read(_START_BYTES))
    if length is None or length > MAX_SAFETENSORS_HEADER_BYTES:
        return "it is named safetensors and does not begin as one"
    file.seek(8)
    try:
        header = json.loads(file.read(length))
        spans = sorted(
            tuple(tensor["data_offsets"]) for name, tensor in header.items() if name != "__metadata__"
        )
        end = 0
        for start, stop in spans:
            if start != end or stop < start:
                return "its tensors overlap or leave gaps"
            end = stop
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its header is not that of a safetensors file"
    if 8 + length + end != file.size_bytes:
        return f"its tensors take {end} bytes, and {file.size_bytes - 8 - length} are there"
    return ""


def _counted(file: RangedFile) -> dict[str, int]:
    """Values by type, by the header of a sound file; nothing where shapes are none."""
    file.seek(0)
    (length,) = struct.unpack("<Q", file.read(8))
    counts: dict[str, int] = {}
    for name, tensor in json.loads(file.read(length)).items():
        if name == "__metadata__":
            continue
        kind, shape = tensor.get("dtype"), tensor.get("shape")
        is_shape = isinstance(shape, list) and all(type(side) is int and side >= 0 for side in shape)
        if not is_shape or not isinstance(kind, str) or not _TYPE.fullmatch(kind):
            return {}
        counts[kind] = counts.get(kind, 0) + math.prod(shape)
    return counts if sum(counts.values()) < MAX_PARAMETERS and len(counts) <= MAX_TYPES else {}


def _numpy(file: Readable | RangedFile) -> Scan:
    """An array of NumPy; arrays of objects are pickles."""
    if isinstance(file, RangedFile):
        file.seek(0)
    magic = file.read(8)
    width = 2 if magic[6:7] == b"\x01" else 4
    length = int.from_bytes(file.read(width), "little")
    header = file.read(min(length, 1 << 20))
    if not any(mark in header for mark in (b"'|O'", b"'O'", b'"|O"', b'"O"', b"|O", b"object")):
        return Scan(kind="numpy")
    reading = read_pickles(file)
    return Scan(kind="numpy", findings=reading.findings, holds_pickle=True)


_FUNCTIONS_IN_KERAS = (b'"class_name": "Lambda"', b'"class_name":"Lambda"', b'"__lambda__"')


def _hdf5(file: RangedFile) -> Scan:
    """Files of Keras keep functions as compiled code within a text."""
    file.seek(0)
    before, searched = b"", 0
    while searched < MAX_SEARCHED_BYTES and (piece := file.read(1 << 20)):
        if any(mark in before + piece for mark in _FUNCTIONS_IN_KERAS):
            return Scan(kind="hdf5", findings=(_KERAS_FUNCTION,))
        before, searched = piece[-64:], searched + len(piece)
    return Scan(kind="hdf5")


_KERAS_FUNCTION = Finding(verdict="unlisted", what="a Lambda layer of Keras, with Python code")


def _has_zip_directory(file: RangedFile) -> bool:
    file.seek(0)
    return zipfile.is_zipfile(file)


def _zip(file: RangedFile, *, budget: _Budget, depth: int) -> Scan:
    file.seek(0)
    listing = list_zip(file)
    scans = [_listed("zip", listing)]
    if not listing.members:
        return scans[0]
    if depth >= MAX_DEPTH:
        return _together([*scans, _unreadable("zip", f"archives more than {MAX_DEPTH} deep")])
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        members = [each for each in archive.infolist() if not each.is_dir()]
        storages = _storages({each.filename for each in members})
        looked_at = [each for each in members if each.filename not in storages]
        for each in looked_at[:MAX_SCANNED_MEMBERS]:
            scans.append(_member(archive, each, budget=budget, depth=depth))
    if len(looked_at) > MAX_SCANNED_MEMBERS:
        scans.append(
            _unreadable("zip", f"only {MAX_SCANNED_MEMBERS} of {len(looked_at)} members were looked at")
        )
    return replace(_together(scans), kind="zip")


def _storages(names: set[str]) -> set[str]:
    """The raw numbers of PyTorch: `x/data/0` beside `x/data.pkl`. They may begin like anything."""
    tops = {name.removesuffix("data.pkl") for name in names if name.endswith("data.pkl")}
    return {
        name
        for name in names
        for top in tops
        if name.startswith(f"{top}data/") and name.split("/")[-1].isdigit()
    }


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, *, budget: _Budget, depth: int) -> Scan:
    try:
        with archive.open(member) as opened:
            scan = _inner(_Unpacking(opened, budget), member.filename, member.file_size, budget, depth)
    except ARCHIVE_ERRORS as error:
        scan = _unreadable("other", f"a member cannot be read: {_one_line(error)}")
    return _placed(scan, member.filename)


def _inner(stream: Readable, name: str, size_bytes: int, budget: _Budget, depth: int) -> Scan:
    """A stream inside a container: small ones are looked at whole, large ones from their first bytes on."""
    start = _read_fully(stream, _START_BYTES)
    if size_bytes <= MAX_INNER_ARCHIVE_BYTES:
        rest = start + _read_fully(stream, MAX_INNER_ARCHIVE_BYTES + 1 - len(start))
        if len(rest) <= MAX_INNER_ARCHIVE_BYTES:
            inner = RangedFile(lambda begin, end: rest[begin:end], size_bytes=len(rest))
            scan = _scan(inner, name, budget=budget, depth=depth + 1)
            # Models of Keras 3 are zip files with their layers as JSON.
            if name.endswith(".json") and any(mark in rest for mark in _FUNCTIONS_IN_KERAS):
                scan = replace(scan, findings=(*scan.findings, _KERAS_FUNCTION))
            return scan
        start = rest
    joined = _Joined(start, stream)
    if start.startswith(b"\x93NUMPY"):
        return _numpy(joined)
    if start.startswith((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")) or start[257:262] == b"ustar":
        return _unreadable("other", f"an archive of more than {MAX_INNER_ARCHIVE_BYTES} bytes inside another")
    if not may_begin_pickle(start):
        return Scan(kind="other")
    reading = read_pickles(joined)
    if not is_pickle(start, reading):
        return Scan(kind="other")
    return Scan(kind="pickle", findings=reading.findings, holds_pickle=True)


class _Joined:
    """Bytes that were read already, and the rest of their stream."""

    def __init__(self, start: bytes, rest: Readable) -> None:
        self._start = io.BytesIO(start)
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        return self._start.read(size) or self._rest.read(size)

    def readline(self, size: int, /) -> bytes:
        line = self._start.readline(size)
        return line if line.endswith(b"\n") else line + self._rest.readline(size)


def _tar(file: RangedFile, *, budget: _Budget, depth: int) -> Scan:
    file.seek(0)
    scans = [_listed("tar", list_tar(file))]  # type: ignore[arg-type]
    if depth >= MAX_DEPTH:
        return _together([*scans, _unreadable("tar", f"archives more than {MAX_DEPTH} deep")])
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for number, member in enumerate(_tar_members(archive)):
                if number == MAX_SCANNED_MEMBERS:
                    scans.append(_unreadable("tar", f"only {MAX_SCANNED_MEMBERS} members were looked at"))
                    break
                opened = archive.extractfile(member)
                if opened is not None:
                    found = _inner(_Unpacking(opened, budget), member.name, member.size, budget, depth)
                    scans.append(_placed(found, member.name))
    except ARCHIVE_ERRORS as error:
        scans.append(_unreadable("tar", f"it cannot be read: {_one_line(error)}"))
    return replace(_together(scans), kind="tar")


def _tar_members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        archive.members = []  # type: ignore[attr-defined]
        if member.isreg():
            yield member


def _decompressing(file: RangedFile, start: bytes) -> Any:
    """A stream of what is inside a compressed file; None for a file that is not compressed."""
    file.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(file)
    if start.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        return lzma.LZMAFile(file)  # type: ignore[arg-type]
    if start[:1] == b"\x78" and len(start) > 1 and int.from_bytes(start[:2], "big") % 31 == 0:
        return io.BufferedReader(_Zlib(file))
    return None


class _Zlib(io.RawIOBase):
    """What joblib writes: a zlib stream without a frame."""

    def __init__(self, file: RangedFile) -> None:
        super().__init__()
        self._file = file
        self._inflate = zlib.decompressobj()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        while not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._file.read(1 << 16)
            piece = self._inflate.decompress(packed, len(view))
            if piece:
                view[: len(piece)] = piece
                return len(piece)
            if not packed:
                break
        return 0


def _compressed(opened: Any, *, budget: _Budget, depth: int) -> Scan:
    if depth >= MAX_DEPTH:
        return _unreadable("compressed", f"archives more than {MAX_DEPTH} deep")
    try:
        # Its size is not known before it is unpacked: the small way is tried first.
        found = _inner(_Unpacking(opened, budget), "", 0, budget, depth)
    except ARCHIVE_ERRORS as error:
        found = _unreadable("compressed", f"it cannot be unpacked: {_one_line(error)}")
    return replace(found, kind="compressed")


def _listed(kind: Kind, listing: Listing) -> Scan:
    unreadable = [each for each in listing.problems if each.startswith("unreadable")]
    findings = tuple(Finding(verdict="unreadable", what=each.partition(": ")[2]) for each in unreadable)
    return Scan(kind=kind, findings=findings, archive_problems=listing.problems)


def _placed(scan: Scan, inside: str) -> Scan:
    name = inside[:200]
    placed = tuple(
        replace(each, inside=f"{name}/{each.inside}" if each.inside else name) for each in scan.findings
    )
    return replace(scan, findings=placed)


def _read_fully(stream: Readable, size: int) -> bytes:
    pieces, left = [], size
    while left > 0 and (piece := stream.read(left)):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]

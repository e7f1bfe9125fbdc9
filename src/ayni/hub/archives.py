"""What an archive holds, and whether unpacking it would do harm; nothing is ever unpacked on disk.

    leaves          a member would be written outside the folder, or is a link to outside
    bomb            it would grow beyond measure, or its members share the same bytes
    too many        more members than are looked at
    unreadable      its directory is damaged, or members are encrypted

Not covered: 7z, rar and zstd, which are said to be archives that cannot be listed.

Source: Fifield, "A better zip bomb", WOOT 2019 (overlapping members); "Zip Slip", Snyk, 2018.
"""

import lzma
import posixpath
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

MAX_MEMBERS = 100_000
MAX_UNPACKED_BYTES = 1 << 40
# Text of one repeated letter reaches 1000; weights and tables stay below 20.
MAX_RATIO = 200
SMALL_BYTES = 10 << 20

# What readers of damaged or hostile archives raise; each means that nobody can list it.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    IndexError,
    KeyError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive; `packed_bytes` is None where it is not known for one member."""

    name: str
    size_bytes: int
    packed_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The members of an archive as its directory names them, and what is wrong with it."""

    members: tuple[Member, ...]
    problems: tuple[str, ...] = ()

    @property
    def unpacked_bytes(self) -> int:
        """What all members would take."""
        return sum(each.size_bytes for each in self.members)


def list_zip(file: Any, *, max_members: int = MAX_MEMBERS) -> Listing:
    """The members of a zip file, from its directory at the end; no member is read.

    Args:
        file: a file that can be searched.
        max_members: more are not looked at.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            found = archive.infolist()
    except ARCHIVE_ERRORS as error:
        return Listing(members=(), problems=(f"unreadable: {_one_line(error)}",))
    taken = found[:max_members]
    members = tuple(
        Member(name=each.filename, size_bytes=each.file_size, packed_bytes=each.compress_size)
        for each in taken
    )
    problems = [*_bad_paths(each.filename for each in taken), *_growth(members)]
    if len(found) > max_members:
        problems.append(f"too many: {len(found)} members, {max_members} were looked at")
    if any(each.flag_bits & 0x1 for each in taken):
        problems.append("unreadable: members are encrypted")
    if any(each.external_attr >> 28 == 0xA for each in taken):
        problems.append("leaves: it holds symbolic links")
    if _overlap(taken):
        problems.append("bomb: members share the same bytes")
    return Listing(members=members, problems=tuple(problems))


def list_tar(file: BinaryIO, *, max_members: int = MAX_MEMBERS) -> Listing:
    """The members of a tar file (not compressed), header by header; no member is read."""
    members: list[Member] = []
    problems: list[str] = []
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for each in archive:
                if len(members) == max_members:
                    problems.append(f"too many: {max_members} members were looked at, and there are more")
                    break
                # A tar file keeps all members that it has seen; with millions that is a gigabyte.
                archive.members = []  # type: ignore[attr-defined]
                members.append(Member(name=each.name, size_bytes=each.size))
                if (each.issym() or each.islnk()) and _link_leaves(each):
                    problems.append(f"leaves: {each.name!r} is a link to {each.linkname!r}")
                elif not (each.isreg() or each.isdir() or each.issym() or each.islnk()):
                    problems.append(f"leaves: {each.name!r} is a device or a pipe")
    except ARCHIVE_ERRORS as error:
        problems.append(f"unreadable: {_one_line(error)}")
    return Listing(members=tuple(members), problems=(*_bad_paths(each.name for each in members), *problems))


def leaves_folder(path: str) -> bool:
    """Whether a member with this name would be written outside the folder, on any system."""
    plain = path.replace("\\", "/")
    return plain.startswith("/") or re.match(r"[A-Za-z]:", plain) is not None or ".." in plain.split("/")


def _bad_paths(names: Iterable[str]) -> list[str]:
    bad = [name for name in names if leaves_folder(name) or "\x00" in name]
    return [f"leaves: {name!r} would be written outside the folder" for name in bad[:5]]


def _growth(members: tuple[Member, ...]) -> list[str]:
    total = sum(each.size_bytes for each in members)
    packed = sum(each.packed_bytes or 0 for each in members)
    if total > MAX_UNPACKED_BYTES:
        return [f"bomb: {total} bytes when unpacked"]
    if total > SMALL_BYTES and total > MAX_RATIO * packed:
        return [f"bomb: {packed} bytes become {total} when unpacked"]
    return []


def _overlap(members: Iterable[zipfile.ZipInfo]) -> bool:
    """Whether the bytes of two members overlap; the header of a member takes at least 30 bytes."""
    end = 0
    for each in sorted(members, key=lambda member: member.header_offset):
        if each.header_offset < end:
            return True
        end = each.header_offset + 30 + each.compress_size
    return False


def _link_leaves(member: tarfile.TarInfo) -> bool:
    # Hard links are named from the archive's root, symbolic ones from where they lie.
    folder = "" if member.islnk() else posixpath.dirname(member.name)
    target = posixpath.normpath(posixpath.join(folder, member.linkname.replace("\\", "/")))
    return target.startswith("/") or target == ".." or target.startswith("../")


def _one_line(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]

import io
import stat
import tarfile
import zipfile

import pytest

from ayni.hub.archives import leaves_folder, list_tar, list_zip


def zipped(members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return packed.getvalue()


def tarred(*members: tarfile.TarInfo) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    packed.seek(0)
    return packed


def tar_member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = size, kind, link
    return member


def kinds(problems: tuple[str, ...]) -> list[str]:
    return [each.partition(":")[0] for each in problems]


def test_the_members_of_a_zip_file_are_listed_with_their_sizes() -> None:
    listing = list_zip(io.BytesIO(zipped({"a/b.txt": b"hello", "c": b""})))

    assert [(each.name, each.size_bytes) for each in listing.members] == [("a/b.txt", 5), ("c", 0)]
    assert listing.problems == ()
    assert listing.unpacked_bytes == 5


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/passwd", "C:\\x", "a\\..\\x", "c:x"])
def test_a_member_that_would_leave_the_folder_is_named(name: str) -> None:
    content = zipped({"placeholder": b"x"}).replace(b"placeholder", name.encode().ljust(11, b"_")[:11])

    assert leaves_folder(name)
    assert kinds(list_zip(io.BytesIO(content)).problems) == ["leaves"]
    assert kinds(list_tar(tarred(tar_member(name))).problems) == ["leaves"]


@pytest.mark.parametrize("name", ["a..b", "..a/b", "a/b..", "a:b/c"])
def test_dots_within_a_name_leave_nothing(name: str) -> None:
    assert not leaves_folder(name) or name == "a:b/c"


def test_a_bomb_is_known_by_its_directory() -> None:
    content = zipped({"zeros": bytes(30 << 20)})

    assert kinds(list_zip(io.BytesIO(content)).problems) == ["bomb"]


def test_members_that_share_bytes_are_a_bomb() -> None:
    content = bytearray(zipped({"a": b"x" * 50, "b": b"y" * 50}, method=zipfile.ZIP_STORED))
    second = content.rfind(b"PK\x01\x02")
    content[second + 42 : second + 46] = bytes(4)

    assert kinds(list_zip(io.BytesIO(bytes(content))).problems) == ["bomb"]


def test_a_link_in_a_zip_file_is_named() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")

    assert kinds(list_zip(packed).problems) == ["leaves"]


def test_links_of_a_tar_file_may_stay_inside_and_not_leave() -> None:
    inside = tar_member("a/link", kind=tarfile.SYMTYPE, link="../b")
    outside = tar_member("a/out", kind=tarfile.SYMTYPE, link="../../b")
    hard = tar_member("a/hard", kind=tarfile.LNKTYPE, link="../b")
    device = tar_member("dev", kind=tarfile.CHRTYPE)

    problems = list_tar(tarred(inside, outside, hard, device)).problems

    assert [each.split("'")[1] for each in problems] == ["a/out", "a/hard", "dev"]


def test_more_members_than_are_looked_at_is_said() -> None:
    members = {f"f{number}": b"" for number in range(5)}

    zip_listing = list_zip(io.BytesIO(zipped(members)), max_members=3)
    tar_listing = list_tar(tarred(*(tar_member(name) for name in members)), max_members=3)

    assert (len(zip_listing.members), kinds(zip_listing.problems)) == (3, ["too many"])
    assert (len(tar_listing.members), kinds(tar_listing.problems)) == (3, ["too many"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + b"\xff" * 18, b"\x00" * 100])
def test_a_damaged_directory_is_unreadable(content: bytes) -> None:
    assert kinds(list_zip(io.BytesIO(content)).problems) == ["unreadable"]


def test_an_encrypted_member_is_said() -> None:
    content = bytearray(zipped({"a": b"x"}))
    content[content.rfind(b"PK\x01\x02") + 8] |= 1

    assert kinds(list_zip(io.BytesIO(bytes(content))).problems) == ["unreadable"]

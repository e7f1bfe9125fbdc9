"""Master keys wrap and unwrap, are bound to what they wrap for, and rotate without losing an older one."""

import base64
import stat
from pathlib import Path

import pytest

from ayni.hub.master_keys import (
    FileMasterKeys,
    LocalMasterKeys,
    MasterKeysError,
    UnknownMasterKeyError,
    UnwrapError,
    WrappedKey,
    key_id,
    new_key_line,
    read_key_lines,
)

OLD, NEW = b"o" * 32, b"n" * 32
DATA_KEY = b"d" * 32


def test_what_is_wrapped_comes_back_and_the_newest_key_wraps() -> None:
    keys = LocalMasterKeys([OLD, NEW])

    wrapped = keys.wrap(DATA_KEY, b"place")

    assert wrapped.key_id == key_id(NEW)
    assert DATA_KEY not in wrapped.content
    assert keys.unwrap(wrapped, b"place") == DATA_KEY


def test_older_keys_unwrap_what_they_wrapped() -> None:
    wrapped = LocalMasterKeys([OLD]).wrap(DATA_KEY, b"place")

    assert LocalMasterKeys([OLD, NEW]).unwrap(wrapped, b"place") == DATA_KEY


def test_a_key_that_is_not_here_is_named() -> None:
    wrapped = LocalMasterKeys([OLD]).wrap(DATA_KEY, b"place")

    with pytest.raises(UnknownMasterKeyError, match=key_id(OLD)):
        LocalMasterKeys([NEW]).unwrap(wrapped, b"place")


@pytest.mark.parametrize("position", range(12 + 32 + 16))
def test_no_byte_of_a_wrapped_key_can_be_changed(position: int) -> None:
    keys = LocalMasterKeys([NEW])
    wrapped = keys.wrap(DATA_KEY, b"place")
    changed = bytearray(wrapped.content)
    changed[position] ^= 1

    with pytest.raises(UnwrapError):
        keys.unwrap(WrappedKey(key_id=wrapped.key_id, content=bytes(changed)), b"place")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 20])
def test_a_wrapped_key_that_was_cut_is_told_as_such(content: bytes) -> None:
    with pytest.raises(UnwrapError):
        LocalMasterKeys([NEW]).unwrap(WrappedKey(key_id=key_id(NEW), content=content), b"place")


def test_a_wrapped_key_is_good_for_its_own_place_only() -> None:
    keys = LocalMasterKeys([NEW])

    with pytest.raises(UnwrapError):
        keys.unwrap(keys.wrap(DATA_KEY, b"place"), b"elsewhere")


def test_the_id_of_a_key_does_not_show_the_key() -> None:
    assert len(key_id(NEW)) == 16
    assert key_id(NEW) != key_id(OLD)
    assert NEW.hex() not in key_id(NEW)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("0123456789abcdef", "0 bytes"),
        ("0123456789abcdef c2hvcnQ=", "5 bytes"),
        ("0123456789abcdef !!!!", "no key in base64"),
        (f"0123456789abcdef {base64.b64encode(NEW).decode()}", "another stands before it"),
    ],
)
def test_text_that_holds_no_keys_is_refused(text: str, reason: str) -> None:
    with pytest.raises(MasterKeysError, match=reason):
        read_key_lines(text, place="AYNI_HUB_KEYS")


def test_an_error_does_not_show_a_key() -> None:
    secret = new_key_line().split()[1]

    with pytest.raises(MasterKeysError) as caught:
        read_key_lines(f"{secret} {secret}", place="AYNI_HUB_KEYS")

    assert secret[:10] not in str(caught.value)


def test_lines_and_a_setting_mean_the_same_keys() -> None:
    first, second = new_key_line(), new_key_line()

    keys = read_key_lines(f"{first},{second}", place="a setting")

    assert keys.lines() == [first, second]
    assert keys.newest_id == second.split()[0]
    assert keys.ids == read_key_lines(f"{first}\n\n{second}\n", place="a file").ids


def test_no_key_and_a_short_key_are_refused() -> None:
    with pytest.raises(ValueError, match="no master key"):
        LocalMasterKeys([])
    with pytest.raises(ValueError, match="5 bytes"):
        LocalMasterKeys([b"short"])


def test_a_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "master.keys"

    made = FileMasterKeys(path)
    again = FileMasterKeys(path)

    assert made.newest_id == again.newest_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0


def test_a_file_that_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    path.write_text(new_key_line())
    path.chmod(0o644)

    FileMasterKeys(path)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_another_process_adds_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    running, other = FileMasterKeys(path), FileMasterKeys(path)
    wrapped = running.wrap(DATA_KEY, b"place")

    added = other.add()

    assert running.wrap(DATA_KEY, b"place").key_id == added != wrapped.key_id
    assert running.unwrap(wrapped, b"place") == DATA_KEY


def test_older_keys_can_be_dropped(tmp_path: Path) -> None:
    keys = FileMasterKeys(tmp_path / "master.keys")
    wrapped = keys.wrap(DATA_KEY, b"place")
    keys.add()
    newest = keys.add()

    keys.drop_older()

    assert keys.keys.ids == (newest,)
    with pytest.raises(UnknownMasterKeyError):
        keys.unwrap(wrapped, b"place")


def test_a_file_with_something_else_is_told_when_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    path.write_bytes(b"\xff\xfe nothing of ours")

    with pytest.raises(MasterKeysError, match=r"master\.keys"):
        FileMasterKeys(path).wrap(DATA_KEY, b"place")

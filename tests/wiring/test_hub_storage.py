import base64
import stat
from pathlib import Path

import pytest

from ayni.hub.master_keys import FileMasterKeys, LocalMasterKeys, WrappedKey, new_key_line
from ayni.settings import read_settings
from ayni.wiring.hub_storage import (
    DamagedSecretError,
    KeyServiceError,
    SeveralMasterKeysError,
    master_keys,
    read_or_make_secret,
)


class CountingService:
    """A key service that lives in this process."""

    newest_id = "service-1"

    def wrap(self, data_key: bytes, context: bytes) -> WrappedKey:
        return WrappedKey(key_id=self.newest_id, content=base64.b64encode(data_key + context))

    def unwrap(self, wrapped: WrappedKey, context: bytes) -> bytes:
        return base64.b64decode(wrapped.content).removesuffix(context)


def not_a_service() -> object:
    return object()


def test_without_a_setting_objects_lie_open(tmp_path: Path) -> None:
    assert master_keys(read_settings({}, home=tmp_path)) is None


def test_keys_come_from_a_file_a_variable_or_a_service(tmp_path: Path) -> None:
    file = {"AYNI_MASTER_KEY_FILE": str(tmp_path / "keys" / "master.keys")}
    lines = {"AYNI_MASTER_KEYS": f"{new_key_line()},{new_key_line()}"}
    service = {"AYNI_MASTER_KEY_SERVICE": f"{__name__}:CountingService"}

    assert isinstance(master_keys(read_settings(file, home=tmp_path)), FileMasterKeys)
    assert isinstance(master_keys(read_settings(lines, home=tmp_path)), LocalMasterKeys)
    assert type(master_keys(read_settings(service, home=tmp_path))).__name__ == "CountingService"


def test_two_places_for_keys_are_refused(tmp_path: Path) -> None:
    both = {"AYNI_MASTER_KEY_FILE": "a", "AYNI_MASTER_KEYS": new_key_line()}

    with pytest.raises(SeveralMasterKeysError, match="AYNI_MASTER_KEY_FILE and AYNI_MASTER_KEYS"):
        master_keys(read_settings(both, home=tmp_path))


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("no_colon", "no colon"),
        ("no.such.module:make", "ModuleNotFoundError"),
        (f"{__name__}:nothing", "AttributeError"),
        (f"{__name__}:not_a_service", "newest_id and no wrap and no unwrap"),
    ],
)
def test_a_service_that_cannot_be_made_says_why(named: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(KeyServiceError, match=reason):
        master_keys(read_settings({"AYNI_MASTER_KEY_SERVICE": named}, home=tmp_path))


def test_the_secret_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "hub.secret"

    secret = read_or_make_secret(path)

    assert len(secret) == 32 and read_or_make_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"abcd", b"\xff" * 32, b"zz" * 32])
def test_a_damaged_secret_is_told_with_the_remedy(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hub.secret"
    path.write_bytes(content)

    with pytest.raises(DamagedSecretError, match="Remove it"):
        read_or_make_secret(path)


def test_secrets_are_not_shown_with_the_settings(tmp_path: Path) -> None:
    given = {"AYNI_MASTER_KEYS": new_key_line(), "AYNI_HUB_TOKEN": "hf_secret"}

    shown = repr(read_settings(given, home=tmp_path))

    assert given["AYNI_MASTER_KEYS"] not in shown and "hf_secret" not in shown

"""The adapter of a key service on docs/hub.md works, and the page names every key of `ayni hub gc --json`."""

import re
import sys
import types
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.collection import Collected
from ayni.hub.master_keys import MasterKeys, UnwrapError

PAGE = (Path(__file__).parent.parent.parent / "docs" / "hub.md").read_text(encoding="utf-8")


class RefusedError(Exception):
    """What the service raises."""


class FakeService:
    """Encrypts as KMS does for who looks from outside: by key, bound to a context."""

    exceptions = types.SimpleNamespace(InvalidCiphertextException=RefusedError)

    def encrypt(self, *, KeyId: str, Plaintext: bytes, EncryptionContext: dict[str, str]) -> Any:
        return {"CiphertextBlob": repr((KeyId, EncryptionContext, Plaintext)).encode()}

    def decrypt(self, *, KeyId: str, CiphertextBlob: bytes, EncryptionContext: dict[str, str]) -> Any:
        key_id, context, plain = eval(CiphertextBlob)
        if (key_id, context) != (KeyId, EncryptionContext):
            raise RefusedError
        return {"Plaintext": plain}


def test_the_adapter_on_the_page_wraps_and_unwraps(monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [
        block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "class AwsKeys" in block
    ]
    boto3 = types.SimpleNamespace(client=lambda _: FakeService())
    monkeypatch.setitem(sys.modules, "boto3", boto3)  # type: ignore[arg-type]
    names: dict[str, Any] = {}
    exec(code, names)
    keys: MasterKeys = names["make"]()

    wrapped = keys.wrap(b"k" * 32, b"context")

    assert wrapped.key_id == keys.newest_id
    assert keys.unwrap(wrapped, b"context") == b"k" * 32
    with pytest.raises(UnwrapError):
        keys.unwrap(wrapped, b"another")


def test_the_keys_of_the_collection_are_those_on_the_page() -> None:
    said = Collected(is_dry_run=True, grace=timedelta(hours=1)).to_json()
    _, _, table = PAGE.partition("| key of `--json` | what was freed |")
    named = set(
        re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines() if "|" in line))
    )

    assert set(said) - {"dry_run", "grace_hours"} == named

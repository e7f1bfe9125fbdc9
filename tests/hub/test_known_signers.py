import base64
from pathlib import Path
from typing import Any

import pytest

cryptography = pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: E402

from ayni.hub.known_signers import KnownSignersError, read_known_signers  # noqa: E402


def pem(key: Any) -> str:
    content: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return content.decode()


def raw(key: ed25519.Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def test_keys_on_a_line_and_in_files_beside_it_have_owners(tmp_path: Path) -> None:
    by_line, by_file = ed25519.Ed25519PrivateKey.generate(), ed25519.Ed25519PrivateKey.generate()
    curve = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "ben.pub").write_text(pem(by_file))
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "lab.pub").write_text(pem(curve))
    path = tmp_path / "signers"
    path.write_text(f"# ours\n\n{raw(by_line)}   Ada Lovelace\nben.pub Ben\nkeys/lab.pub The Lab\n")

    found = read_known_signers(path)

    # Receipts name Ed25519 keys by their 44 characters, so a PEM file becomes the same.
    assert found == {raw(by_line): "Ada Lovelace", raw(by_file): "Ben", pem(curve): "The Lab"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nowhere.pub Ada\n", "is not there"),
        (f"{base64.b64encode(bytes(32)).decode()}\n", "line 1 does not say whose"),
        ("# first\nlist Ada\n", "line 2 names no public key"),
        ("rsa.pub Ada\n", "line 1 names a key of another kind"),
        ("folder Ada\n", "is not text"),
        ("ed.pub Ada\ned.pub Ben\n", "line 2 gives a key to Ben that is another's"),
    ],
)
def test_a_list_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "rsa.pub").write_text(pem(rsa.generate_private_key(65537, 2048)))
    (tmp_path / "ed.pub").write_text(pem(ed25519.Ed25519PrivateKey.generate()))
    (tmp_path / "folder").mkdir()
    path = tmp_path / "list"
    path.write_text(text)

    with pytest.raises(KnownSignersError, match=reason):
        read_known_signers(path)


def test_no_list_is_said(tmp_path: Path) -> None:
    with pytest.raises(KnownSignersError, match="is not there"):
        read_known_signers(tmp_path / "signers")

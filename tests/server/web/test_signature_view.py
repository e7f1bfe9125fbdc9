import base64
import hashlib
import io
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ayni.hub.git_objects import TreeEntry
from ayni.hub.model_signatures import SIGNATURE_FILE, sign_model
from ayni.objects import ObjectStore
from ayni.server.web.signature_view import SignatureView, signature_view

FILES = {"a.bin": b"one", "b.bin": b"two"}


def view(
    folder: Path, bundle: bytes | None, contents: dict[str, bytes], keys: dict[str, str]
) -> SignatureView | None:
    store = ObjectStore(str(folder))
    given = {**contents, **({} if bundle is None else {SIGNATURE_FILE: bundle})}
    files = {
        path: TreeEntry(
            name=path, mode="100644", git_sha1="", sha256=store.put(io.BytesIO(each)), size_bytes=len(each)
        )
        for path, each in given.items()
    }
    return signature_view(store, files, keys)


def digests(contents: dict[str, bytes]) -> dict[str, str]:
    return {path: hashlib.sha256(each).hexdigest() for path, each in contents.items()}


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
def test_a_signature_of_a_known_key_names_its_owner_and_what_is_covered(tmp_path: Path, kind: str) -> None:
    key: ec.EllipticCurvePrivateKey | Ed25519PrivateKey
    if kind == "ecdsa":
        key = ec.generate_private_key(ec.SECP256R1())
        name = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    else:
        key = Ed25519PrivateKey.generate()
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        name = base64.b64encode(raw).decode()
    bundle = sign_model("lab/digits", digests(FILES), key)

    found = view(tmp_path, bundle, FILES, {name: "The Lab"})

    assert found is not None and found.coverage is not None
    assert (found.state, found.owner, found.coverage.is_whole) == ("known", "The Lab", True)
    assert found.coverage.covered == ("a.bin", "b.bin")


def test_a_signature_of_another_key_is_nobodys_and_what_changed_since_is_told(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    bundle = sign_model("lab/digits", digests(FILES), key)

    found = view(tmp_path, bundle, {"a.bin": b"other", "c.bin": b"new"}, {})

    assert found is not None and found.coverage is not None
    assert (found.state, found.owner) == ("unknown", "")
    assert found.coverage.changed == ("a.bin",)
    assert found.coverage.missing == ("b.bin",)
    assert found.coverage.unsigned == ("c.bin",)


@pytest.mark.parametrize("bundle", [b"", b"{}", b"[" * 100_000, b"\xff", b" " * (5 << 20)])
def test_what_is_no_signature_is_unreadable_and_says_why(tmp_path: Path, bundle: bytes) -> None:
    found = view(tmp_path, bundle, FILES, {})

    assert found is not None
    assert found.state == "unreadable"
    assert found.problem


def test_there_may_be_none(tmp_path: Path) -> None:
    assert view(tmp_path, None, FILES, {}) is None

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.model_signatures import (
    BadBundleError,
    UnfitSignatureError,
    coverage,
    pre_authentication_encoding,
    read_bundle,
    root_digest,
    sign_model,
    verify,
)

cryptography = pytest.importorskip("cryptography")
from cryptography.hazmat.primitives.asymmetric import ec, ed25519  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: E402

NAMES = ("model.safetensors", "README.md", "a/b.json")
FILES = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}


def make_key(kind: str) -> Any:
    curves = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    return (
        ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else ec.generate_private_key(curves[kind])
    )


def public(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


KEY = make_key("P-256")
GOLDEN = Path(__file__).parent / "golden"


def changed(bundle: bytes, change: Any) -> bytes:
    """A bundle whose statement was changed after it was signed."""
    parsed = json.loads(bundle)
    statement = json.loads(base64.b64decode(parsed["dsseEnvelope"]["payload"]))
    change(statement)
    parsed["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(parsed).encode()


@pytest.mark.parametrize("kind", ["Ed25519", "P-256", "P-384", "P-521"])
def test_what_was_signed_is_read_verified_and_covers_all_files(kind: str) -> None:
    key = make_key(kind)

    signed = read_bundle(sign_model("me/digits", FILES, key))

    assert signed.digests == FILES
    assert verify(signed, [public(KEY), public(key)]) == public(key)
    assert coverage(signed, FILES).is_whole


def test_another_key_does_not_fit() -> None:
    signed = read_bundle(sign_model("me/digits", FILES, make_key("P-256")))

    with pytest.raises(UnfitSignatureError, match="None of 2"):
        verify(signed, [public(KEY), public(make_key("Ed25519"))])
    with pytest.raises(UnfitSignatureError, match="None of 0"):
        verify(signed, [])


def test_files_that_changed_went_or_came_are_named() -> None:
    signed = read_bundle(
        sign_model("me/digits", {**FILES, "model.sig": "0" * 64, ".gitattributes": "1" * 64}, KEY)
    )
    now = {
        "model.safetensors": "f" * 64,
        "README.md": FILES["README.md"],
        "new.py": "e" * 64,
        "model.sig": "d" * 64,
    }

    found = coverage(signed, now)

    assert (found.covered, found.changed) == (("README.md",), ("model.safetensors",))
    assert (found.missing, found.unsigned) == (("a/b.json",), ("new.py",))
    assert not found.is_whole


def test_a_statement_that_was_changed_after_signing_does_not_verify() -> None:
    def rename(statement: Any) -> None:
        statement["subject"][0]["name"] = "someone/else"

    signed = read_bundle(changed(sign_model("me/digits", FILES, KEY), rename))

    with pytest.raises(UnfitSignatureError):
        verify(signed, [public(KEY)])


@pytest.mark.parametrize(
    "change",
    [
        lambda statement: statement["predicate"]["resources"].pop(),
        lambda statement: statement["predicate"]["resources"][0].update(digest="0" * 64),
        lambda statement: statement["predicate"]["resources"][0].update(algorithm="blake2b"),
        lambda statement: statement["predicate"]["resources"].append(statement["predicate"]["resources"][0]),
        lambda statement: statement.update(predicateType="https://slsa.dev/provenance/v1"),
        lambda statement: statement.update(subject=[]),
        lambda statement: statement.update(predicate=None),
    ],
)
def test_a_bundle_that_does_not_fit_itself_is_bad(change: Any) -> None:
    with pytest.raises(BadBundleError):
        read_bundle(changed(sign_model("me/digits", FILES, KEY), change))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"dsseEnvelope": 3}'])
def test_what_is_no_bundle_is_bad(content: bytes) -> None:
    with pytest.raises(BadBundleError):
        read_bundle(content)


def test_the_root_is_the_digest_of_the_digests_by_name() -> None:
    one, two = "11" * 32, "22" * 32

    assert root_digest({"b": two, "a": one}) == hashlib.sha256(bytes.fromhex(one + two)).hexdigest()


def test_what_is_signed_is_the_encoding_of_dsse() -> None:
    """The form of the protocol's own example: http://example.com/HelloWorld, "hello world"."""
    assert (
        pre_authentication_encoding(b"hello world")
        == b"DSSEv1 28 application/vnd.in-toto+json 11 hello world"
    )


def test_a_key_that_is_none_is_said() -> None:
    with pytest.raises(BadBundleError, match="no public key"):
        verify(read_bundle(sign_model("me/digits", FILES, KEY)), [b"nothing"])


def test_the_reference_implementation_verifies_ours_and_we_verify_its(tmp_path: Any) -> None:
    """Oracle: the package `model-signing`, offline with a key."""
    pytest.importorskip("model_signing")
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat
    from model_signing import hashing, signing, verifying

    model = tmp_path / "model"
    (model / "a").mkdir(parents=True)
    for name in NAMES:
        (model / name).write_bytes(name.encode())
    (tmp_path / "key.pub").write_bytes(public(KEY))
    private = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key").write_bytes(private)

    (tmp_path / "ours.sig").write_bytes(sign_model("model", FILES, KEY))
    verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "key.pub").verify(
        model, tmp_path / "ours.sig"
    )
    signer = signing.Config().use_elliptic_key_signer(private_key=tmp_path / "key")
    signer.set_hashing_config(hashing.Config()).sign(model, tmp_path / "theirs.sig")
    signed = read_bundle((tmp_path / "theirs.sig").read_bytes())

    assert verify(signed, [public(KEY)])
    assert coverage(signed, FILES).is_whole


def test_a_bundle_that_others_signed_with_p256_verifies() -> None:
    """Golden: `model-signing` 1.1.1 signed files whose contents are their names; the key is thrown away."""
    signed = read_bundle((GOLDEN / "model_signing_p256.sig").read_bytes())
    theirs = (GOLDEN / "model_signing_p256.pub").read_bytes()

    assert verify(signed, [public(KEY), theirs]) == theirs
    assert coverage(signed, FILES).is_whole
    with pytest.raises(UnfitSignatureError):
        verify(signed, [public(KEY)])

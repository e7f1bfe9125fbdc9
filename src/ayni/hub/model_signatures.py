"""Signatures of whole models in the form of OpenSSF Model Signing (OMS): read, verified and written.

`model.sig` is a Sigstore bundle around a DSSE envelope around an in-toto statement. The statement lists the
files with their digests, so the hub compares digests that it knows and reads no model again.

    subject[0].digest.sha256            SHA-256 over the files' digests, one after the other, sorted by name
    predicate.resources[{name, digest, algorithm}]
    signature                           over "DSSEv1 LEN TYPE LEN PAYLOAD" (pre-authentication encoding)

A verified signature says that the holder of a key vouched for these bytes. Whose key it is, the reader must
know: keys inside a bundle prove nothing on their own.

Not covered: keyless signatures by Sigstore (certificates, transparency logs), digests by shards of a file,
and algorithms other than SHA-256.

Source: OpenSSF Model Signing v1.0; DSSE v1.0.2, protocol; in-toto Statement v1; Sigstore bundle v0.3.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ayni.errors import UserError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNATURE_FILE = "model.sig"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BUNDLE_BYTES = 32 << 20
# What the reference implementation leaves out of what it signs.
IGNORED_PATHS = (".git", ".gitattributes", ".gitignore", ".github", SIGNATURE_FILE)
_SHA256 = re.compile(r"[0-9a-f]{64}")

KeyKind = Literal["ed25519", "ecdsa"]


class BadBundleError(UserError):
    """A file is no signature that can be read, or it does not fit itself."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"The signature cannot be used: {reason}. Sign the model again.")


class UnfitSignatureError(UserError):
    """A bundle is sound, and no given key made it."""

    def __init__(self, num_keys: int) -> None:
        self.num_keys = num_keys
        super().__init__(
            f"None of {num_keys} known keys made this signature. Register the signer's public key, or do not "
            "trust it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedModel:
    """What a bundle says; nothing of it is verified.

    Attributes:
        name: of the model, as its signer called it.
        digests: SHA-256 of each file by path, in 64 hexadecimal digits.
        key_hint: what the bundle says of the key, if anything.
    """

    name: str
    digests: Mapping[str, str]
    payload: bytes
    signature: bytes
    key_hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Which files of a repository a signature speaks for.

    Attributes:
        covered: as signed.
        changed: signed with other bytes.
        missing: signed and not there.
        unsigned: there and not signed.
    """

    covered: tuple[str, ...]
    changed: tuple[str, ...]
    missing: tuple[str, ...]
    unsigned: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether what is there is what was signed, no more and no less."""
        return not (self.changed or self.missing or self.unsigned)


def read_bundle(content: bytes) -> SignedModel:
    """Read a bundle and check that it fits itself; the signature is not verified.

    Raises:
        BadBundleError: not a bundle, or its root digest does not fit its files.
    """
    bundle = _object(content, "the bundle")
    envelope = bundle.get("dsseEnvelope")
    if not isinstance(envelope, dict) or envelope.get("payloadType") != PAYLOAD_TYPE:
        raise BadBundleError(f"it holds no DSSE envelope of {PAYLOAD_TYPE}")
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise BadBundleError("an envelope has exactly one signature")
    payload = _bytes(envelope.get("payload"), "payload")
    name, root, digests = _statement(payload)
    if root_digest(digests) != root:
        raise BadBundleError("its digest of the whole does not fit the digests of the files")
    return SignedModel(
        name=name,
        digests=digests,
        payload=payload,
        signature=_bytes(signatures[0].get("sig"), "sig"),
        key_hint=_key_hint(bundle),
    )


def verify(signed: SignedModel, public_keys: Iterable[bytes]) -> bytes:
    """Check the signature against known keys; return the one (PEM) that made it.

    Raises:
        UnfitSignatureError: none of them.
        BadBundleError: a key is no public key of Ed25519 or of a NIST curve.
    """
    message = pre_authentication_encoding(signed.payload)
    known = tuple(public_keys)
    for pem in known:
        if _fits(pem, signed.signature, message):
            return pem
    raise UnfitSignatureError(len(known))


def coverage(signed: SignedModel, files: Mapping[str, str]) -> Coverage:
    """Compare what was signed with the files of a repository (path -> SHA-256)."""
    ours = {path: digest for path, digest in files.items() if not _is_ignored(path)}
    both = sorted(ours.keys() & signed.digests.keys())
    return Coverage(
        covered=tuple(path for path in both if ours[path] == signed.digests[path]),
        changed=tuple(path for path in both if ours[path] != signed.digests[path]),
        missing=tuple(sorted(signed.digests.keys() - ours.keys())),
        unsigned=tuple(sorted(ours.keys() - signed.digests.keys())),
    )


def sign_model(
    name: str, files: Mapping[str, str], private_key: "EllipticCurvePrivateKey | Ed25519PrivateKey"
) -> bytes:
    """A bundle for `model.sig`: the files (path -> SHA-256) of a repository, signed.

    Keys on P-256 are what the reference implementation takes; Ed25519 is for readers that know it.
    """
    digests = {path: files[path] for path in sorted(files) if not _is_ignored(path)}
    if any(not _SHA256.fullmatch(digest) for digest in digests.values()):
        raise ValueError("digests are SHA-256 in 64 lower-case hexadecimal digits")
    payload = json.dumps(_statement_of(name, digests), separators=(",", ":")).encode()
    bundle = {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {
            "publicKey": {"hint": key_hint(_public_pem(private_key))},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"sig": base64.b64encode(_sign(private_key, pre_authentication_encoding(payload))).decode()}
            ],
        },
    }
    return json.dumps(bundle, separators=(",", ":")).encode()


def root_digest(digests: Mapping[str, str]) -> str:
    """SHA-256 over the raw digests of the files in the order of their names."""
    return hashlib.sha256(b"".join(bytes.fromhex(digests[path]) for path in sorted(digests))).hexdigest()


def pre_authentication_encoding(payload: bytes) -> bytes:
    """What is signed: type and payload with their lengths, so that neither can be taken for the other."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def key_hint(pem: bytes) -> str:
    """How a bundle names a key: SHA-256 of its PEM."""
    return hashlib.sha256(pem).hexdigest()


def _statement_of(name: str, digests: Mapping[str, str]) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root_digest(digests)}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(IGNORED_PATHS),
            },
            "resources": [
                {"name": path, "digest": digest, "algorithm": "sha256"} for path, digest in digests.items()
            ],
        },
    }


def _statement(payload: bytes) -> tuple[str, str, dict[str, str]]:
    statement = _object(payload, "the statement")
    if statement.get("_type") != STATEMENT_TYPE or statement.get("predicateType") != PREDICATE_TYPE:
        raise BadBundleError("its statement is not that of a signed model, version 1")
    try:
        [subject] = statement["subject"]
        name, root = subject["name"], subject["digest"]["sha256"]
        listed = statement["predicate"]["resources"]
        resources = [(each["name"], each["digest"], each["algorithm"]) for each in listed]
    except (KeyError, TypeError, ValueError) as error:
        raise BadBundleError("its statement lacks the subject or the resources") from error
    digests: dict[str, str] = {}
    for path, digest, algorithm in resources:
        if algorithm != "sha256":
            raise BadBundleError(f"digests by {algorithm!r} are not read here, only sha256 of whole files")
        if not isinstance(path, str) or not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            raise BadBundleError("a resource has no SHA-256")
        if path in digests:
            raise BadBundleError(f"{path!r} is named twice")
        digests[path] = digest
    return str(name), str(root), digests


def _object(content: bytes, what: str) -> dict[str, Any]:
    if len(content) > MAX_BUNDLE_BYTES:
        raise BadBundleError(f"{what} has {len(content)} bytes, at most {MAX_BUNDLE_BYTES} are read")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadBundleError(f"{what} is no JSON") from error
    if not isinstance(found, dict):
        raise BadBundleError(f"{what} is no JSON object")
    return found


def _bytes(text: Any, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadBundleError(f"its {what} is not base64") from error


def _key_hint(bundle: Mapping[str, Any]) -> str:
    material = bundle.get("verificationMaterial")
    key = material.get("publicKey") if isinstance(material, dict) else None
    return str(key.get("hint", ""))[:200] if isinstance(key, dict) else ""


def _is_ignored(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in IGNORED_PATHS)


def _fits(pem: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BadBundleError("a registered key is no public key in PEM") from error
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, message)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(_digest_of(key.curve.key_size)))
        else:
            raise BadBundleError("a registered key is neither Ed25519 nor on a NIST curve")
    except InvalidSignature:
        return False
    return True


def _sign(key: "EllipticCurvePrivateKey | Ed25519PrivateKey", message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    return key.sign(message, ec.ECDSA(_digest_of(key.curve.key_size)))


def _digest_of(key_bits: int) -> Any:
    """The digest that goes with a curve, as in FIPS 186-5 and JWS."""
    from cryptography.hazmat.primitives import hashes

    return {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}.get(key_bits, hashes.SHA256())


def _public_pem(key: "EllipticCurvePrivateKey | Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

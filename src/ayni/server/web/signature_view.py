"""What `model.sig` says about the files of a revision, and who vouches for it.

    known        by a key that a member of this hub showed to be theirs, or its operator vouches for
    unknown      it fits itself, and nobody here knows whose key made it: it proves little
    unreadable   it is no signature that this hub reads

Not covered: signing; clients do it.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ayni.hub import model_signatures
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import TreeEntry
from ayni.hub.model_signatures import SIGNATURE_FILE, BadBundleError, Coverage, UnfitSignatureError

LARGEST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureView:
    """A signature of a whole model. `coverage` is None where it cannot be read; `problem` says why."""

    state: Literal["known", "unknown", "unreadable"]
    owner: str = ""
    key_hint: str = ""
    name: str = ""
    coverage: Coverage | None = None
    problem: str = ""


def signature_view(
    content: ContentStore, files: Mapping[str, TreeEntry], known_keys: Mapping[str, str]
) -> SignatureView | None:
    """Read the signature among the files of a revision; None without one.

    Args:
        content: where the bytes are.
        files: of the revision, by path.
        known_keys: public key (PEM, or base64 of an Ed25519 key) -> whose it is.
    """
    entry = files.get(SIGNATURE_FILE)
    if entry is None or entry.sha256 is None:
        return None
    if (entry.size_bytes or 0) > LARGEST_BYTES:
        problem = f"It is larger than the {LARGEST_BYTES} bytes that are read for a page."
        return SignatureView(state="unreadable", problem=problem)
    try:
        signed = model_signatures.read_bundle(b"".join(content.read(entry.sha256)))
    except BadBundleError as error:
        return SignatureView(state="unreadable", problem=str(error))
    found = model_signatures.coverage(signed, {path: str(each.sha256) for path, each in files.items()})
    pems = {_pem(key): owner for key, owner in known_keys.items()}
    try:
        owner = pems[model_signatures.verify(signed, pems)]
    except UnfitSignatureError:
        return SignatureView(state="unknown", key_hint=signed.key_hint, name=signed.name, coverage=found)
    return SignatureView(
        state="known", owner=owner, key_hint=signed.key_hint, name=signed.name, coverage=found
    )


def _pem(key: str) -> bytes:
    if key.startswith("-----"):
        return key.encode()
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

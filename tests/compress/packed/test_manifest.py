"""The manifest of a packed file. Hostile manifests are in test_packed_file."""

import pytest
import torch

from ayni.compress.packed.entry import PlainEntry
from ayni.compress.packed.manifest import Manifest, digest_of, manifest_from_text
from ayni.signing import canonical_json

ENTRY = PlainEntry(dtype="float32", shape=(2,), stored="float16")
MANIFEST = Manifest(
    tensors={"a": ENTRY}, tied={"b": "a"}, base_sha256=None, notes={"x": [1]}, sha256="0" * 64
)


def test_a_manifest_comes_back() -> None:
    assert manifest_from_text(canonical_json(MANIFEST.to_json()).decode()) == MANIFEST


def test_the_hash_depends_on_everything_but_itself() -> None:
    part = torch.tensor([1.0, 2.0]).half()
    digests = {
        digest_of(MANIFEST, [("a", part)]),
        digest_of(MANIFEST, [("c", part)]),
        digest_of(MANIFEST, [("a", part.view(torch.int16))]),
        digest_of(MANIFEST, [("a", part[:, None])]),
        digest_of(MANIFEST, [("a", part + 1)]),
        digest_of(MANIFEST, []),
        digest_of(Manifest(tensors={}, tied={}, base_sha256=None, notes={}), [("a", part)]),
    }
    other = Manifest(
        tensors={"a": ENTRY}, tied={"b": "a"}, base_sha256=None, notes={"x": [1]}, sha256="1" * 64
    )

    assert len(digests) == 7
    assert digest_of(MANIFEST, [("a", part)]) == digest_of(other, [("a", part)])


def test_a_key_that_stands_twice_is_refused() -> None:
    text = canonical_json(MANIFEST.to_json()).decode()
    twice = text.replace('"notes"', '"notes":{},"notes"')

    with pytest.raises(ValueError, match="twice"):
        manifest_from_text(twice)

"""What a packed file says of itself, read with suspicion.

A manifest comes from whoever published the file. Length, nesting, every field and every number are proven
here before anything is allocated, multiplied or looked up by them. `packed_file` has the format.

Not covered: whether it is true of the file's tensors, and whether they fit a model; both are proven by
`packed_file`.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ayni.compress.packed.entry import Entry, entry_from_json, entry_to_json
from ayni.signing import canonical_json

FORMAT, VERSION = "ayni-packed", 1
MAX_NESTING = 32
_FIELDS = {"format", "version", "tensors", "tied", "base_sha256", "notes", "sha256"}
_HEXADECIMAL = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of a file.

    tensors: entry of each tensor that is stored, by its name in the model.
    tied: name -> name of the stored tensor that it is.
    base_sha256: of the file of weights that the model was made from; None when its maker did not say.
    notes: JSON values of the maker.
    sha256: over all that and the parts.
    """

    tensors: Mapping[str, Entry]
    tied: Mapping[str, str]
    base_sha256: str | None
    notes: Mapping[str, Any]
    sha256: str = ""

    def to_json(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "tensors": {name: entry_to_json(entry) for name, entry in self.tensors.items()},
            "tied": dict(self.tied),
            "base_sha256": self.base_sha256,
            "notes": dict(self.notes),
            "sha256": self.sha256,
        }


def manifest_from_text(text: str) -> Manifest:
    """The manifest that a text holds.

    Raises:
        ValueError: what of it makes no sense.
    """
    try:
        data = json.loads(text, object_pairs_hook=_no_key_twice)
        _check_nesting(data, MAX_NESTING)
        canonical_json(data)  # What passes here once cannot fail where the hash is computed.
    except RecursionError as error:
        raise ValueError("it is nested without end") from error
    if not isinstance(data, dict) or set(data) != _FIELDS:
        raise ValueError(f"its fields are not {', '.join(sorted(_FIELDS))}")
    if data["format"] != FORMAT or data["version"] != VERSION or type(data["version"]) is not int:
        raise ValueError(
            f"it is {data['format']!r} version {data['version']!r}, and {FORMAT} {VERSION} is read"
        )
    if not isinstance(data["tensors"], dict) or not isinstance(data["notes"], dict):
        raise ValueError("its tensors or notes are no object")
    tensors = {name: _entry(name, entry) for name, entry in data["tensors"].items()}
    _check_tied(data["tied"], tensors)
    if not _is_sha256(data["sha256"]) or not (data["base_sha256"] is None or _is_sha256(data["base_sha256"])):
        raise ValueError("a SHA-256 in it is not 64 hexadecimal digits")
    return Manifest(
        tensors=tensors,
        tied=data["tied"],
        base_sha256=data["base_sha256"],
        notes=data["notes"],
        sha256=data["sha256"],
    )


def digest_of(manifest: Manifest, parts: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 over the manifest without its own hash, and over each part: name, type, shape and bytes.

    The parts come in the order of their names.
    """
    head = {name: value for name, value in manifest.to_json().items() if name != "sha256"}
    digest = hashlib.sha256(canonical_json(head))
    for name, part in parts:
        digest.update(canonical_json([name, str(part.dtype), list(part.shape)]))
        digest.update(part.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _entry(name: str, data: object) -> Entry:
    try:
        return entry_from_json(data)
    except ValueError as error:
        raise ValueError(f"the entry of {name!r}: {error}") from error


def _check_tied(tied: object, tensors: Mapping[str, Entry]) -> None:
    if not isinstance(tied, dict):
        raise ValueError("its ties are no object")
    for name, first in tied.items():
        if name in tensors or not isinstance(first, str) or first not in tensors:
            raise ValueError(f"{name!r} is tied to {first!r}, which is not how ties are stored")


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and _HEXADECIMAL.issuperset(value)


def _check_nesting(value: Any, levels: int) -> None:
    if levels == 0:
        raise ValueError(f"it is nested deeper than {MAX_NESTING} levels")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        _check_nesting(item, levels - 1)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands in it twice")
    return value

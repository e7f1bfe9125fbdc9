"""A compressed model as one file: packed tensors and a manifest, without pickle.

The file is a safetensors file. Its tensors are the parts of `packed_entry`; its metadata hold one key,
`ayni_packed`, with JSON:

    format, version     "ayni-packed", 1
    tensors             name -> entry: kind, dtype, shape, bits, scheme, granularity, group size ...
    tied                name -> name of the tensor that it is; stored once
    base_sha256         of the file of weights that it was made from, or null
    notes               whatever else its maker wants to say
    sha256              over the manifest without this key, and over name, type, shape and bytes of each part

`load_packed` fills a freshly built model, which needs no trained weights, and gives it bit for bit the
weights that the compressed model had. Everything is proven before the first value is copied: a file that
is cut off, altered, hostile, or of another model changes nothing. `packed_weights` proves a file in the same
way and gives its codes, for layers that compute with codes (`kernels`).

Every step writes the values that its codes mean into the model, and `write_packed` proves it, so that
quality measured before writing is the quality of the file.

Not covered: the code of the model; buffers that are not persistent and state that is no tensor; models cut
into several files; a model on the meta device; a file that somebody changes while it is read.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from ayni.compress.packed.entry import DTYPES, Entry, PlainEntry, encode_packed, encode_plain
from ayni.compress.packed.manifest import Manifest, digest_of, manifest_from_text
from ayni.compress.packed.weight import PackedWeight, check_unchanged
from ayni.errors import AyniError, UserError
from ayni.files import sha256_of_file, write_atomically
from ayni.signing import canonical_json

METADATA_KEY = "ayni_packed"
MAX_HEADER_BYTES = 16 << 20
"""A part takes about 300 bytes of header and manifest: this is room for 50,000."""
_FILE_DTYPES = {
    **{"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16},
    **{"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8},
    **{"U8": torch.uint8, "BOOL": torch.bool},
}


class PackedFileError(AyniError):
    """A file is no whole packed model."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"{path} cannot be read as a packed model: {reason}. No model was changed. Fetch the file again, "
            "or write it again from the compressed model."
        )


class CannotPackError(UserError):
    """A model holds something that a packed file cannot."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"This model cannot be written as a packed file: {reason}. Nothing was written.")


class PackedModelMismatchError(UserError):
    """The file is whole, and belongs to another model than the one that was built for it."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"{path} does not fit the model that was built for it: {reason}. The model was not changed. "
            "Build it as it was built for the file: same code, same configuration, same dtype."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedReport:
    """Sizes of a packed model.

    stored_bytes: of the file.
    dense_bytes: of the same tensors unpacked, in the dtypes of the model, tied ones once. A model in float16
        has half the dense bytes of one in float32: say which when you quote `ratio`.
    num_by_kind: stored tensors by kind of entry ("grid", "codebook", "plain").
    """

    stored_bytes: int
    dense_bytes: int
    num_by_kind: Mapping[str, int]

    @property
    def ratio(self) -> float:
        """Bytes after / bytes before."""
        return self.stored_bytes / self.dense_bytes if self.dense_bytes else float("inf")


def write_packed(
    path: Path,
    model: nn.Module,
    weights: Mapping[str, PackedWeight],
    *,
    base_sha256: str | None = None,
    notes: Mapping[str, Any] | None = None,
) -> PackedReport:
    """Write the model; the file is there whole or not at all, and the same model gives the same bytes.

    Cost: unpacks each weight once to prove it; the packed parts are in memory twice beside the codes.

    Args:
        path: an existing file is replaced.
        model: parameters and persistent buffers are written, tied ones once.
        weights: codes by name of parameter. Everything else is written as it is: floats in the narrowest
            type that loses no bit, and sparse where that is smaller.
        base_sha256: of the file of weights that the model was before.
        notes: JSON values.

    Raises:
        CannotPackError: a name in `weights` is none of the model's, or its state is not all tensors.
        WeightChangedError: a weight is not what its codes say.
        DiskFullError: no space left; an existing file is untouched.
    """
    tensors = _own_tensors(model)
    tied = _ties(tensors)
    packed: dict[str, PackedWeight] = {}
    for name, weight in weights.items():
        if name not in tensors:
            raise CannotPackError(f"it has no parameter {name!r} to go with the codes of that name")
        check_unchanged(weight, tensors[name], name=name)
        packed[tied.get(name, name)] = weight
    entries: dict[str, Entry] = {}
    parts: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        if name not in tied:
            weight_or_none = packed.get(name)
            entry, encoded = (
                encode_plain(tensor) if weight_or_none is None else encode_packed(weight_or_none, tensor)
            )
            entries[name] = entry
            for suffix, part in encoded.items():
                # The library refuses tensors that share memory, as views of one buffer do: copies.
                parts[name + suffix] = part.clone() if weight_or_none is None else part.contiguous()
    manifest = Manifest(tensors=entries, tied=tied, base_sha256=base_sha256, notes=notes or {})
    content = _to_bytes(manifest, parts)
    write_atomically(path, content)
    return _report(manifest, len(content))


def describe_packed(path: Path) -> tuple[Manifest, PackedReport]:
    """What a file says of itself and how large it is; the header is proven, the values are not read.

    Raises:
        PackedFileError: no such file, no packed model, or its parts are not what its manifest says.
    """
    with _opened(path) as (_, manifest):
        return manifest, _report(manifest, path.stat().st_size)


def load_packed(path: Path, model: nn.Module, *, expected_sha256: str | None = None) -> PackedReport:
    """Fill a model with the weights of a file, bit for bit those of the model that was written.

    Cost: one pass over the file for its hash and one for its values; of dense weights one at a time is in
    memory beside the model.

    Args:
        path: what `write_packed` wrote.
        model: built by the same code and configuration, with any weights, on any device but meta.
        expected_sha256: of the whole file, where it is known from elsewhere. The hash inside the file finds
            damage; only one from outside finds forgery.

    Raises:
        PackedFileError: the file is missing, damaged, hostile, or not the expected one.
        PackedModelMismatchError: names, shapes, dtypes or ties differ from the model's.
    """
    with _opened(path) as (file, manifest):
        _check_expected(path, expected_sha256)
        targets = _targets(path, model, manifest)
        _check_content(path, file, manifest)
        # From here on nothing fails that a file could bring about.
        with torch.no_grad():
            for name, entry in manifest.tensors.items():
                values = entry.decode(_read_parts(file, name, entry))
                for target in targets[name]:
                    target.copy_(values)
        return _report(manifest, path.stat().st_size)


def packed_weights(path: Path, *, expected_sha256: str | None = None) -> dict[str, PackedWeight]:
    """The codes in a file, by name of parameter, exactly those that were written.

    Plain tensors are left out, and tied ones have the one name under which they are stored. No model is
    needed; `load_packed` fills one with the rest.

    Cost: as `load_packed`; one byte of memory a code, whatever its bits, and the scales.

    Args:
        path: what `write_packed` wrote.
        expected_sha256: as for `load_packed`.

    Raises:
        PackedFileError: the file is missing, damaged, hostile, or not the expected one.
    """
    with _opened(path) as (file, manifest):
        _check_expected(path, expected_sha256)
        _check_content(path, file, manifest)
        return {
            name: entry.weight(_own_copies(_read_parts(file, name, entry)))
            for name, entry in manifest.tensors.items()
            if not isinstance(entry, PlainEntry)
        }


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Manifest]]:
    """The open file and its manifest, each part proven to be there with the type and shape it must have."""
    try:
        with path.open("rb") as raw:
            header_bytes = int.from_bytes(raw.read(8), "little")
        if header_bytes > MAX_HEADER_BYTES:
            raise PackedFileError(
                path, f"its header claims {header_bytes} bytes, of at most {MAX_HEADER_BYTES}"
            )
        opened = safetensors.safe_open(path, framework="pt")
    except (OSError, safetensors.SafetensorError) as error:
        raise PackedFileError(path, f"it is missing, cut off, or no safetensors file ({error})") from error
    with opened as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
        if text is None:
            raise PackedFileError(
                path, f"its metadata have no {METADATA_KEY}; it is another safetensors file"
            )
        try:
            manifest = manifest_from_text(text)
            _check_parts(file, _part_specs(manifest))
        except ValueError as error:
            raise PackedFileError(path, f"its manifest is wrong: {error}") from error
        yield file, manifest


def _part_specs(manifest: Manifest) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    specs = {
        name + suffix: spec
        for name, entry in manifest.tensors.items()
        for suffix, spec in entry.parts().items()
    }
    if len(specs) != sum(len(entry.parts()) for entry in manifest.tensors.values()):
        raise ValueError("two of its tensors have a part of the same name")
    return specs


def _check_parts(file: Any, specs: Mapping[str, tuple[torch.dtype, tuple[int, ...]]]) -> None:
    there = set(file.keys())
    for name in sorted(there ^ set(specs)):
        raise ValueError(f"it names no part {name!r}" if name in there else f"the part {name!r} is missing")
    for name, (dtype, shape) in specs.items():
        part = file.get_slice(name)
        found = _FILE_DTYPES.get(part.get_dtype()), tuple(part.get_shape())
        if found != (dtype, shape):
            raise ValueError(
                f"the part {name!r} is {part.get_dtype()} {list(found[1])}, and {dtype} {list(shape)} is due"
            )


def _check_expected(path: Path, expected_sha256: str | None) -> None:
    if expected_sha256 is not None and sha256_of_file(path) != expected_sha256:
        raise PackedFileError(path, f"its SHA-256 is not the expected {expected_sha256}")


def _check_content(path: Path, file: Any, manifest: Manifest) -> None:
    """Prove the hash over all parts, and that the values of each are such as may be decoded."""
    names = sorted(_part_specs(manifest))
    if digest_of(manifest, ((name, file.get_tensor(name)) for name in names)) != manifest.sha256:
        raise PackedFileError(path, "its content does not have the hash that its manifest names")
    for name, entry in manifest.tensors.items():
        try:
            entry.check(_read_parts(file, name, entry))
        except ValueError as error:
            raise PackedFileError(path, f"{name} has {error}") from error


def _read_parts(file: Any, name: str, entry: Entry) -> dict[str, torch.Tensor]:
    return {suffix: file.get_tensor(name + suffix) for suffix in entry.parts()}


def _own_copies(parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parts that outlive the file: those of the library may be windows on it, and 8-bit codes stay such."""
    return {suffix: part.clone() for suffix, part in parts.items()}


def _targets(path: Path, model: nn.Module, manifest: Manifest) -> dict[str, list[torch.Tensor]]:
    """Where each stored tensor goes: its own place and those of the names that are tied to it."""
    try:
        own = _own_tensors(model)
    except CannotPackError as error:
        raise PackedModelMismatchError(path, error.reason) from error
    stored_names = {**{name: name for name in manifest.tensors}, **manifest.tied}
    for name in sorted(set(own) ^ set(stored_names)):
        where = "only the model has" if name in own else "only the file has"
        raise PackedModelMismatchError(path, f"{where} {name!r}")
    targets: dict[str, list[torch.Tensor]] = {}
    for name, tensor in own.items():
        entry = manifest.tensors[stored_names[name]]
        there, here = (DTYPES[entry.dtype], entry.shape), (tensor.dtype, tuple(tensor.shape))
        if there != here:
            raise PackedModelMismatchError(
                path, f"{name} is {there[0]} {list(there[1])} there and {here[0]} {list(here[1])} here"
            )
        targets.setdefault(stored_names[name], []).append(tensor)
    for name, first in _ties(own).items():
        if stored_names[name] != stored_names[first]:
            raise PackedModelMismatchError(path, f"{name} and {first} are one here and two tensors there")
    return targets


def _own_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and persistent buffers by name, tied ones under each of their names."""
    found = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    for name, tensor in found.items():
        if isinstance(tensor, UninitializedParameter | UninitializedBuffer) or tensor.device.type == "meta":
            raise CannotPackError(f"{name} has no values yet")
    persistent = set(model.state_dict())
    if strange := sorted(persistent - set(found)):
        raise CannotPackError(f"it keeps state that is no parameter or buffer: {', '.join(strange[:3])}")
    own = {name: tensor.detach() for name, tensor in found.items() if name in persistent}
    for name, tensor in own.items():
        if tensor.dtype not in DTYPES.values() or tensor.layout != torch.strided:
            raise CannotPackError(f"{name} is {tensor.dtype} with the layout {tensor.layout}")
    return own


def _ties(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Name of each tensor that is an earlier one -> the name of that one."""
    firsts: dict[Any, str] = {}
    ties: dict[str, str] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            memory = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
            if (first := firsts.setdefault(memory, name)) != name:
                ties[name] = first
    return ties


def _to_bytes(manifest: Manifest, parts: Mapping[str, torch.Tensor]) -> bytes:
    try:
        _part_specs(manifest)
        sha256 = digest_of(manifest, ((name, parts[name]) for name in sorted(parts)))
        text = canonical_json(replace(manifest, sha256=sha256).to_json()).decode()
        manifest_from_text(text)  # What would not be read is not written.
    except (TypeError, ValueError) as error:
        raise CannotPackError(str(error)) from error
    # One key of metadata alone: the library writes several in an order that changes from run to run.
    content: bytes = safetensors.torch.save(dict(parts), metadata={METADATA_KEY: text})
    if (header_bytes := int.from_bytes(content[:8], "little")) > MAX_HEADER_BYTES:
        raise CannotPackError(f"its header would take {header_bytes} bytes, of at most {MAX_HEADER_BYTES}")
    return content


def _report(manifest: Manifest, stored_bytes: int) -> PackedReport:
    entries = manifest.tensors.values()
    return PackedReport(
        stored_bytes=stored_bytes,
        dense_bytes=sum(prod(entry.shape) * DTYPES[entry.dtype].itemsize for entry in entries),
        num_by_kind=dict(Counter(entry.kind for entry in entries)),
    )

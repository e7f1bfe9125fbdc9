"""Packed files that are not what they seem: damaged, altered, forged. Nothing of them reaches a model."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from ayni.compress.packed.file import (
    MAX_HEADER_BYTES,
    METADATA_KEY,
    CannotPackError,
    PackedFileError,
    describe_packed,
    load_packed,
    packed_weights,
    write_packed,
)
from ayni.compress.packed.manifest import digest_of, manifest_from_text
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.sharing import share_weights
from ayni.compress.weights.weight_only import quantize_weights
from ayni.files import sha256_of_file


class Mixed(nn.Module):
    """Something of each kind that a file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.linear = nn.Embedding(50, 24), nn.Linear(24, 24)
        self.conv, self.norm = nn.Conv1d(24, 24, 3, groups=2), nn.BatchNorm1d(24)
        self.head = nn.Linear(24, 50, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.eye(4).bool())


def mixed(seed: int = 0) -> Mixed:
    torch.manual_seed(seed)
    return Mixed()


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def packed(path: Path) -> Path:
    model = mixed()
    with torch.no_grad():
        model.linear.weight[:, 3:] = 0
    weights: dict[str, Any] = dict(quantize_weights(model, Grid(bits=4), skip=["conv"]).weights)
    weights |= share_weights(model, num_values=5, skip=["linear", "head"]).weights
    write_packed(path, model, weights)
    return path


Parts = dict[str, torch.Tensor]
Change = Callable[[Parts, dict[str, Any]], object]


def altered(path: Path, change: Change, *, rehash: bool = True) -> Path:
    """Change a good file; with `rehash` the hash inside is made to fit, as a forger would."""
    with safetensors.safe_open(path, framework="pt") as file:
        manifest = json.loads(file.metadata()[METADATA_KEY])
        parts = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    change(parts, manifest)
    if rehash:
        try:
            proven = manifest_from_text(json.dumps(manifest))
            manifest["sha256"] = digest_of(proven, sorted(parts.items()))
        except ValueError:
            pass  # It is refused before anybody looks at the hash.
    safetensors.torch.save_file(parts, path, metadata={METADATA_KEY: json.dumps(manifest)})
    return path


def entry(name: str, **fields: Any) -> Change:
    return lambda _, manifest: manifest["tensors"][name].update(fields)


def grid_of(name: str, **fields: Any) -> Change:
    return lambda _, manifest: manifest["tensors"][name]["grid"].update(fields)


def part(name: str, value: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda parts, _: parts.update({name: value(parts[name])})


def field(**fields: Any) -> Change:
    return lambda _, manifest: manifest.update(fields)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: list[tuple[Change, str]] = [
    (entry("linear.weight", shape=[24, 25]), "is due"),
    (entry("linear.weight", shape=[24, -24]), "shape"),
    (entry("linear.weight", shape=[24, True]), "shape"),
    (entry("linear.weight", shape=[1 << 41, 1]), "shape"),
    (entry("linear.weight", shape=[10**30] * 100000), "shape"),
    (entry("linear.weight", shape="24"), "shape is no list"),
    (entry("linear.weight", shape=[576]), "is no matrix"),
    (entry("linear.weight", transposed=1), "is no matrix"),
    (entry("linear.weight", dtype="complex64"), "dtype"),
    (entry("linear.weight", dtype=["float32"]), "dtype"),
    (entry("linear.weight", dtype="int8"), "dtype"),
    (entry("linear.weight", num_kept=10**12), "are kept"),
    (entry("linear.weight", num_kept=-1), "are kept"),
    (entry("linear.weight", num_kept=None), "'linear.weight:mask'"),
    (entry("linear.weight", num_kept=3), "is due"),
    (entry("linear.weight", scale="int8"), "float16 or float32"),
    (entry("linear.weight", kind="pickle"), "none of the kinds"),
    (entry("linear.weight", kind="plain"), "fields are not those"),
    (entry("linear.weight", extra=1), "fields are not those"),
    (grid_of("linear.weight", bits=99), "bits is 99"),
    (grid_of("linear.weight", bits=1), "bits is 1"),
    (grid_of("linear.weight", bits="4"), "bits is '4'"),
    (grid_of("linear.weight", bits=8), "is due"),
    (grid_of("linear.weight", scheme="magic"), "scheme"),
    (grid_of("linear.weight", scheme="minimum"), "cannot be sparse"),
    (grid_of("linear.weight", granularity="group", group_size=0), "group_size"),
    (grid_of("linear.weight", granularity="group", group_size=2), "is due"),
    (grid_of("linear.weight", more=1), "fields are not those"),
    (entry("linear.weight", grid=[4]), "fields are not those"),
    (entry("conv.weight", num_values=300), "1 to 256 values"),
    (entry("conv.weight", num_values=0), "1 to 256 values"),
    (entry("conv.weight", num_values=4), "is due"),
    (entry("norm.weight", stored="int8"), "cannot be stored as"),
    (entry("mask", stored="float32"), "cannot be stored as"),
    (part("linear.weight:scale", lambda scale: scale * float("nan")), "not positive finite"),
    (part("linear.weight:scale", lambda scale: -scale), "not positive finite"),
    (part("linear.weight:scale", lambda scale: scale * 0), "not positive finite"),
    (part("linear.weight:scale", lambda scale: scale.float()), "is due"),
    (part("linear.weight:codes", lambda codes: codes[:-1].clone()), "is due"),
    (part("linear.weight:mask", lambda mask: mask | 255), "bits set"),
    (part("conv.weight:codes", lambda codes: codes | 255), "beyond its 5 shared values"),
    (part("conv.weight:codebook", lambda book: book / 0), "not finite"),
    (part("norm.weight", lambda values: values[:, None].clone()), "is due"),
    (lambda parts, _: parts.pop("norm.weight"), "'norm.weight' is missing"),
    (lambda parts, _: parts.pop("linear.weight:codes"), "'linear.weight:codes' is missing"),
    (lambda parts, _: parts.update(more=torch.zeros(1)), "names no part 'more'"),
    (lambda _, manifest: manifest["tied"].update({"head.weight": "nowhere"}), "is tied to 'nowhere'"),
    (lambda _, manifest: manifest["tied"].update({"head.weight": ["words.weight"]}), "is tied to"),
    (lambda _, manifest: manifest["tied"].update({"norm.weight": "norm.bias"}), "is tied to"),
    (field(tied=[]), "ties are no object"),
    (field(tensors=[]), "no object"),
    (field(notes=3), "no object"),
    (field(notes={"deep": nested(40)}), "nested deeper"),
    (field(notes={"surrogate": "\ud800"}), "manifest is wrong"),
    (field(version=2), "version 2"),
    (field(version=True), "version True"),
    (field(format="other"), "'other'"),
    (field(base_sha256="abc"), "64 hexadecimal"),
    (field(more=1), "its fields are not"),
    (lambda _, manifest: manifest.pop("tied"), "its fields are not"),
]


@pytest.mark.parametrize(("change", "reason"), HOSTILE)
def test_a_hostile_file_is_refused_with_the_reason_and_changes_nothing(
    tmp_path: Path, change: Change, reason: str
) -> None:
    path = altered(packed(tmp_path / "a"), change)
    fresh = mixed(seed=1)
    before = state(fresh)

    with pytest.raises(PackedFileError, match=reason) as caught:
        load_packed(path, fresh)

    assert "No model was changed" in str(caught.value)
    assert is_same(state(fresh), before)
    with pytest.raises(PackedFileError, match=reason):
        packed_weights(path)


def test_a_manifest_nested_without_end_is_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a")
    with safetensors.safe_open(path, framework="pt") as file:
        text = file.metadata()[METADATA_KEY]
    deep = text.replace('"notes":{}', '"notes":{"a":' + "[" * 200_000 + "]" * 200_000 + "}")
    safetensors.torch.save_file(safetensors.torch.load_file(path), path, metadata={METADATA_KEY: deep})

    with pytest.raises(PackedFileError, match="nested"):
        describe_packed(path)


def test_truth_values_that_are_neither_are_refused(tmp_path: Path) -> None:
    path = packed(tmp_path / "a")

    def twos(parts: Parts, _: dict[str, Any]) -> None:
        parts["mask"].view(torch.uint8).fill_(2)

    with pytest.raises(PackedFileError, match="truth values"):
        load_packed(altered(path, twos), mixed(seed=1))
    with pytest.raises(PackedFileError, match="truth values"):
        packed_weights(path)


@pytest.mark.parametrize(
    "change",
    [
        part("norm.weight", lambda values: values + 1),
        part("linear.weight:codes", lambda codes: codes ^ 1),
        entry("linear.weight", transposed=True),
        lambda _, manifest: manifest["notes"].update(quality="better"),
        lambda parts, _: parts.update(
            {"norm.weight": parts["norm.bias"].clone(), "norm.bias": parts["norm.weight"].clone()}
        ),
    ],
)
def test_any_change_of_values_or_manifest_breaks_the_hash(tmp_path: Path, change: Change) -> None:
    path = altered(packed(tmp_path / "a"), change, rehash=False)
    fresh = mixed(seed=1)
    before = state(fresh)

    with pytest.raises(PackedFileError, match="does not have the hash"):
        load_packed(path, fresh)

    assert is_same(state(fresh), before)
    with pytest.raises(PackedFileError, match="does not have the hash"):
        packed_weights(path)


def test_a_forged_file_is_found_by_a_hash_from_outside(tmp_path: Path) -> None:
    path = packed(tmp_path / "a")
    known = sha256_of_file(path)
    load_packed(path, mixed(seed=1), expected_sha256=known)
    altered(path, part("norm.weight", lambda values: values + 1))

    load_packed(path, mixed(seed=1))
    with pytest.raises(PackedFileError, match="SHA-256 is not the expected"):
        load_packed(path, mixed(seed=1), expected_sha256=known)


def test_files_of_other_kinds_and_torn_ones_are_refused(tmp_path: Path) -> None:
    good = packed(tmp_path / "good").read_bytes()
    contents = {
        "empty": b"",
        "short": b"\x01\x02",
        "text": b"hello, this is no safetensors file at all",
        "torn": good[: len(good) // 2],
        "longer": good + b"\0",
        "huge header": (MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}",
        "endless header": b"\xff" * 8 + b"{}",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "other")
    safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / "no json", metadata={METADATA_KEY: "{"})

    for name in (*contents, "other", "no json", "missing", "."):
        with pytest.raises(PackedFileError):
            load_packed(tmp_path / name, mixed())
        with pytest.raises(PackedFileError):
            describe_packed(tmp_path / name)
        with pytest.raises(PackedFileError):
            packed_weights(tmp_path / name)


def test_an_oversize_manifest_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    manifest = json.dumps({"notes": "x" * MAX_HEADER_BYTES})
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, metadata={METADATA_KEY: manifest})

    with pytest.raises(PackedFileError, match=rf"of at most {MAX_HEADER_BYTES}"):
        describe_packed(path)


def test_an_oversize_manifest_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(CannotPackError, match="header would take"):
        write_packed(tmp_path / "a", nn.Linear(2, 2), {}, notes={"x": "x" * MAX_HEADER_BYTES})

    assert not (tmp_path / "a").exists()

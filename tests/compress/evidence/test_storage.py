"""Bytes of models and files."""

import zlib
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from ayni.compress.evidence.storage import (
    NothingStoredError,
    Storage,
    dense_bytes,
    dense_bytes_by_type,
    measure_storage,
)


def test_dense_bytes_are_weights_times_their_size() -> None:
    model = nn.Sequential(nn.Linear(10, 5), nn.BatchNorm1d(5))

    # 10 * 5 + 5 weights, 4 * 5 of the normalization, and its counter of batches.
    assert dense_bytes_by_type(model) == {"float32": 4 * (55 + 20), "int64": 8}
    assert dense_bytes(model) == 308


def test_tied_weights_count_once() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Linear(4, 7, bias=False))
    model[1].weight = model[0].weight

    assert dense_bytes(model) == 4 * 28


def test_a_weight_tied_by_a_transposed_view_counts_once() -> None:
    model = nn.Module()
    model.one = nn.Parameter(torch.zeros(3, 5))
    model.other = nn.Parameter(model.one.data.t())

    assert dense_bytes(model) == 4 * 15


def test_a_shared_module_counts_once() -> None:
    layer = nn.Linear(4, 4)

    assert dense_bytes(nn.Sequential(layer, nn.ReLU(), layer)) == 4 * 20


def test_two_halves_of_one_memory_count_both() -> None:
    memory = torch.zeros(10)
    model = nn.Module()
    model.one, model.other = nn.Parameter(memory[:4]), nn.Parameter(memory[4:])

    assert dense_bytes(model) == 40


def test_a_view_with_gaps_counts_what_it_holds() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(6, 8)[:, ::2])

    assert dense_bytes(model) == 4 * 24


def test_every_type_is_named() -> None:
    model = nn.Module()
    model.weight = nn.Parameter(torch.zeros(3, dtype=torch.bfloat16))
    model.register_buffer("codes", torch.zeros(9, dtype=torch.uint8))
    model.register_buffer("scratch", torch.zeros(100), persistent=False)
    model.register_buffer("empty", torch.zeros(0))

    assert dense_bytes_by_type(model) == {"uint8": 9, "bfloat16": 6}


def test_sparse_and_meta_tensors_count_as_if_dense() -> None:
    model = nn.Module()
    model.register_buffer("sparse", torch.eye(10).to_sparse())
    model.one = nn.Parameter(torch.zeros(5, device="meta"))
    model.other = nn.Parameter(torch.zeros(5, device="meta"))

    assert dense_bytes(model) == 4 * (100 + 10)


def test_a_model_without_weights_has_no_bytes() -> None:
    assert dense_bytes(nn.ReLU()) == 0


def test_the_three_sizes_stand_side_by_side(tmp_path: Path) -> None:
    model = nn.Linear(100, 100, bias=False)
    nn.init.zeros_(model.weight)
    file = tmp_path / "model.safetensors"
    save_file(model.state_dict(), file)

    sizes = measure_storage(file, dense_bytes=dense_bytes(model))

    assert sizes.dense_bytes == 40_000
    # Zeros that are stored as numbers save nothing but what zlib makes of them.
    assert 40_000 < sizes.stored_bytes == file.stat().st_size < 40_500
    assert sizes.zlib_bytes is not None and sizes.zlib_bytes < 1000
    assert Storage.from_json(sizes.to_json()) == sizes


@settings(max_examples=20)
@given(st.binary(max_size=5000))
def test_zlib_bytes_are_those_of_zlib(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.mktemp("zlib") / "file"
    file.write_bytes(content)

    assert measure_storage(file).zlib_bytes == len(zlib.compress(content, 6))


def test_a_folder_is_counted_without_words_and_training_state(tmp_path: Path) -> None:
    for name in (
        "model.safetensors",
        "sub/weights.bin",
        "tokenizer.json",
        "optimizer.pt",
        "README.md",
        ".git/x",
    ):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"12345")

    sizes = measure_storage(tmp_path, with_zlib=False)

    assert (sizes.stored_bytes, sizes.num_files, sizes.zlib_bytes) == (10, 2, None)
    # What is named is counted, whatever it is called.
    assert measure_storage(tmp_path / "tokenizer.json").stored_bytes == 5


def test_a_file_that_is_reached_twice_counts_once(tmp_path: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"12345")
    (tmp_path / "link.bin").symlink_to(file)
    (tmp_path / "broken.bin").symlink_to(tmp_path / "nowhere")

    assert measure_storage(file, file, tmp_path).stored_bytes == 5


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NothingStoredError, match="absent"):
        measure_storage(tmp_path / "absent")
    with pytest.raises(NothingStoredError, match="No file of a model"):
        measure_storage(tmp_path)
    with pytest.raises(NothingStoredError, match="no path at all"):
        measure_storage()


def test_a_ratio_is_after_over_before() -> None:
    before, after = (
        Storage(stored_bytes=size, dense_bytes=None, zlib_bytes=None, num_files=1) for size in (400, 100)
    )

    assert after.ratio_to(before) == 0.25
    with pytest.raises(ValueError, match="0 bytes"):
        after.ratio_to(Storage(stored_bytes=0, dense_bytes=None, zlib_bytes=None, num_files=1))


def test_a_link_to_a_folder_does_not_go_round_in_circles(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"1")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)

    assert measure_storage(tmp_path).num_files == 1

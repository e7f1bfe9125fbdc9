"""GGUF files, small ones that are written here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ayni.compress.deploy.gguf import (
    DamagedGgufError,
    GgufSummary,
    UnsupportedGgufError,
    load_gguf,
    read_gguf_summary,
)

WIDTH, HIDDEN, HEADS, BLOCKS, WORDS = 64, 128, 4, 2, 96


def matrices() -> dict[str, np.ndarray]:
    """Weights of a tiny Llama under their names in GGUF."""
    rng = np.random.default_rng(0)
    found = {"token_embd.weight": (WORDS, WIDTH), "output.weight": (WORDS, WIDTH)}
    for block in range(BLOCKS):
        for name, shape in {
            "attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH),
            "attn_output": (WIDTH, WIDTH), "ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH),
            "ffn_down": (WIDTH, HIDDEN),
        }.items():  # fmt: skip
            found[f"blk.{block}.{name}.weight"] = shape
    return {name: rng.normal(size=shape, scale=0.1).astype(np.float32) for name, shape in found.items()}


def write(file: Path, kind: str | None = None, *, architecture: str = "llama", leave_out: str = "") -> Path:
    """A whole model, its matrices in blocks of `kind`."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(WORDS)
    tensors = dict(matrices())
    for name in ["output_norm", *(f"blk.{b}.{n}" for b in range(BLOCKS) for n in ("attn_norm", "ffn_norm"))]:
        tensors[f"{name}.weight"] = np.ones(WIDTH, np.float32)
    for name, value in tensors.items():
        if name == leave_out:
            continue
        if kind is None or value.ndim == 1:
            writer.add_tensor(name, value)
        else:
            block = gguf.GGMLQuantizationType[kind]
            writer.add_tensor(name, gguf.quants.quantize(value, block), raw_dtype=block)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def summary(**by_type: int) -> GgufSummary:
    return GgufSummary(
        file=Path("m.gguf"), architecture="llama", name="m", num_tensors=1,
        num_weights_by_type=by_type, tensor_bytes=500, stored_bytes=600,
    )  # fmt: skip


def test_the_share_on_a_grid_and_the_bits_are_those_of_a_hand_calculation() -> None:
    mixed = summary(Q4_1=750, F32=250)

    assert mixed.share_quantized == 0.75 and mixed.num_weights == 1000
    assert mixed.bits_per_weight == 4.0
    assert mixed.warning is not None and "75%" in mixed.warning and "Q4_1" in mixed.warning


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16"])
def test_plain_floats_are_no_grid(kind: str) -> None:
    assert summary(**{kind: 10}).warning is None
    assert summary().is_quantized is False


def test_a_header_tells_what_is_inside_without_transformers(tmp_path: Path) -> None:
    file = write(tmp_path / "tiny.gguf", "Q8_0")

    found = read_gguf_summary(file)

    num_in_blocks = sum(matrix.size for matrix in matrices().values())
    num_norms = WIDTH * (1 + 2 * BLOCKS)
    assert (found.architecture, found.name) == ("llama", "tiny")
    assert found.num_weights_by_type == {"Q8_0": num_in_blocks, "F32": num_norms}
    assert found.tensor_bytes == num_in_blocks * 34 // 32 + 4 * num_norms
    assert found.stored_bytes == file.stat().st_size > found.tensor_bytes
    assert found.is_quantized


def test_a_file_of_floats_becomes_the_model_that_was_written(tmp_path: Path) -> None:
    pytest.importorskip("transformers")

    loaded = load_gguf(write(tmp_path / "tiny.gguf"))

    assert loaded.summary.warning is None
    weights = loaded.model.state_dict()
    written = matrices()
    np.testing.assert_array_equal(weights["model.embed_tokens.weight"], written["token_embd.weight"])
    np.testing.assert_array_equal(
        weights["model.layers.1.mlp.up_proj.weight"], written["blk.1.ffn_up.weight"]
    )


@pytest.mark.parametrize(("kind", "bound"), [("Q8_0", 0.01), ("Q4_0", 0.15)])
def test_blocks_become_dense_weights_on_their_grid_with_a_warning(
    kind: str, bound: float, tmp_path: Path
) -> None:
    pytest.importorskip("transformers")

    loaded = load_gguf(write(tmp_path / "tiny.gguf", kind))

    found = loaded.model.model.layers[0].mlp.up_proj.weight
    expected = torch.from_numpy(matrices()["blk.0.ffn_up.weight"])
    assert found.dtype == torch.float32 and not loaded.model.training
    assert float((found - expected).norm() / expected.norm()) < bound
    assert kind in str(loaded.summary.warning)


def test_the_model_is_a_plain_one_that_can_be_trained_and_saved(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = load_gguf(write(tmp_path / "tiny.gguf", "Q8_0")).model
    words = torch.arange(12)[None]

    model(input_ids=words, labels=words).loss.backward()
    model.save_pretrained(tmp_path / "saved")

    assert all(parameter.grad is not None for parameter in model.parameters())
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "saved").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(input_ids=words).logits, model(input_ids=words).logits)


def test_nothing_beside_the_file_is_read(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    write(tmp_path / "tiny.gguf")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')

    assert type(load_gguf(tmp_path / "tiny.gguf").model).__name__ == "LlamaForCausalLM"


def test_an_architecture_that_nobody_knows_is_named(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    file = write(tmp_path / "odd.gguf", architecture="abacus")

    assert read_gguf_summary(file).architecture == "abacus"
    with pytest.raises(UnsupportedGgufError, match=r"odd\.gguf.*'abacus'"):
        load_gguf(file)


def test_a_model_with_a_missing_weight_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    file = write(tmp_path / "hole.gguf", leave_out="blk.1.ffn_up.weight")

    with pytest.raises(UnsupportedGgufError, match=r"1 weights are not in it, such as .*up_proj"):
        load_gguf(file)


@pytest.mark.parametrize(
    "content", [b"", b"GGML" + b"\0" * 40, b"GGUF", b"GGUF" + b"\xff" * 40, b"GGUF\3" + b"\0" * 3]
)
def test_files_of_something_else_are_named(content: bytes, tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "bad.gguf").write_bytes(content)

    with pytest.raises(DamagedGgufError, match=r"bad\.gguf"):
        read_gguf_summary(tmp_path / "bad.gguf")


def test_a_file_that_is_cut_off_anywhere_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    content = write(tmp_path / "tiny.gguf", "Q8_0").read_bytes()
    for share in (0.001, 0.005, 0.01, 0.1, 0.5, 0.9, 0.99):
        (tmp_path / "cut.gguf").write_bytes(content[: int(share * len(content))])

        with pytest.raises(DamagedGgufError, match=r"cut\.gguf"):
            read_gguf_summary(tmp_path / "cut.gguf")


def test_no_altered_byte_of_the_header_ends_in_another_error(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "tiny.gguf", "Q8_0").read_bytes())
    rng: Any = np.random.default_rng(0)
    num_refused = 0
    for _ in range(200):
        altered = bytearray(content)
        altered[int(rng.integers(4, 900))] = int(rng.integers(0, 256))
        (tmp_path / "altered.gguf").write_bytes(altered)
        try:
            read_gguf_summary(tmp_path / "altered.gguf")
        except DamagedGgufError:
            num_refused += 1
    assert 0 < num_refused < 200


def test_a_missing_file_is_the_callers_error(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    with pytest.raises(FileNotFoundError):
        read_gguf_summary(tmp_path / "gone.gguf")

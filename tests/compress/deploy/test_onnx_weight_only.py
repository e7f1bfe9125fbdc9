"""Weights in few bits in ONNX files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_file import describe_onnx, read_onnx
from ayni.compress.deploy.onnx_weight_only import (
    NothingToQuantizeError,
    WeightOnly,
    packed_codes,
    quantize_embeddings,
    quantize_weights_onnx,
)
from ayni.compress.deploy.runtimes import OnnxRuntime
from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.grids import CannotQuantizeError, Grid


class TiedModel(nn.Module):
    """Token ids to logits; the head is the embedding."""

    def __init__(self, *, num_words: int = 50, width: int = 64, is_tied: bool = True) -> None:
        super().__init__()
        self.words = nn.Embedding(num_words, width)
        self.dense = nn.Linear(width, width)
        self.head = nn.Linear(width, num_words, bias=False)
        if is_tied:
            self.head.weight = self.words.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(torch.tanh(self.dense(self.words(input_ids))))
        return logits


def exported(model: nn.Module, batch: Any, folder: Path) -> Path:
    export_onnx(model, [batch], folder / "float.onnx")
    return folder / "float.onnx"


def ids(num_texts: int = 2, num_tokens: int = 5) -> ModelInputs:
    return ModelInputs(kwargs={"input_ids": torch.arange(num_texts * num_tokens).reshape(num_texts, -1) % 50})


def test_codes_are_packed_low_half_first_and_a_short_group_is_filled() -> None:
    packed = packed_codes(torch.tensor([[1, 2, 3]], dtype=torch.uint8), bits=4, group_size=4, fill=8)

    assert packed.tolist() == [[[1 | 2 << 4, 3 | 8 << 4]]]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("scheme", ["affine", "symmetric"])
@pytest.mark.parametrize(("num_inputs", "group_size"), [(64, 32), (50, 16), (16, 64), (96, 32)])
def test_the_file_computes_with_the_weights_of_the_grid(
    tmp_path: Path, bits: Any, scheme: Any, num_inputs: int, group_size: int
) -> None:
    torch.manual_seed(0)
    model = nn.Linear(num_inputs, 24)
    source = exported(model, torch.randn(3, num_inputs), tmp_path)
    settings = WeightOnly(bits=bits, scheme=scheme, group_size=group_size, accuracy_level=1)

    result = quantize_weights_onnx(source, tmp_path / "small.onnx", settings)

    used = "symmetric" if bits == 8 else scheme
    grid = Grid(bits=bits, scheme=used, granularity="group", group_size=group_size)
    parameters = grid.fit(model.weight)
    model.weight.data = grid.dequantize(grid.quantize(model.weight, parameters), parameters)
    x = torch.randn(5, num_inputs)
    torch.testing.assert_close(
        OnnxRuntime(tmp_path / "small.onnx")(x), model(x).detach(), rtol=1e-4, atol=1e-5
    )
    assert result.num_layers == {bits: 1}


def test_integer_activations_in_blocks_stay_near(tmp_path: Path) -> None:
    model = nn.Linear(64, 32)
    source = exported(model, torch.randn(3, 64), tmp_path)

    quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly(bits=8))

    x = torch.randn(7, 64)
    expected, actual = model(x).detach(), OnnxRuntime(tmp_path / "small.onnx")(x)
    assert float((actual - expected).norm() / expected.norm()) < 0.02


def test_a_tied_table_is_stored_once_in_8_bits_and_read_by_both(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = TiedModel().eval()
    source = exported(model, ids(), tmp_path)

    result = quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly(bits=4))

    assert (result.num_layers, result.num_embeddings, result.num_tied) == ({4: 1, 8: 1}, 1, 1)
    stored = [t for t in read_onnx(tmp_path / "small.onnx").graph.initializer if len(t.raw_data) >= 50 * 64]
    assert [(list(t.dims), len(t.raw_data)) for t in stored] == [([50, 1, 64], 50 * 64)]
    expected, actual = ids(3, 4).run(model), ids(3, 4).run(OnnxRuntime(tmp_path / "small.onnx"))
    assert actual.shape == expected.shape
    assert torch.cosine_similarity(actual.flatten(), expected.flatten(), dim=0) > 0.99


def test_a_table_whose_rows_do_not_divide_is_stored_twice_and_still_right(tmp_path: Path) -> None:
    model = TiedModel(width=50).eval()
    source = exported(model, ids(), tmp_path)

    result = quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly(bits=8))

    assert (result.num_embeddings, result.num_tied) == (1, 0)
    expected, actual = ids().run(model), ids().run(OnnxRuntime(tmp_path / "small.onnx"))
    assert torch.cosine_similarity(actual.flatten(), expected.flatten(), dim=0) > 0.99


def test_rows_of_small_numbers_keep_their_precision(tmp_path: Path) -> None:
    model = TiedModel(is_tied=False)
    model.words.weight.data[7] *= 1e-4
    source = exported(model, ids(), tmp_path)
    graph = read_onnx(source).graph

    assert any(name.endswith("scale_Gather") for name in quantize_embeddings(graph))
    assert quantize_embeddings(graph) == ()
    scales = next(tensor for tensor in graph.initializer if tensor.name.endswith("_rows_scales"))
    assert list(scales.dims) == [50, 1]
    values = np.frombuffer(scales.raw_data, dtype=np.float32)
    assert values[7] < values.mean() / 1000
    assert not any(node.op_type == "MatMulNBits" for node in graph.node)


def test_patterns_choose_bits_and_leave_layers_out(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
    source = exported(model, torch.randn(2, 3, 32), tmp_path)
    names = [node.name for node in read_onnx(source).graph.node if node.op_type in ("MatMul", "Gemm")]
    settings = WeightOnly(layer_bits={names[0]: 32, names[1]: 8})

    result = quantize_weights_onnx(source, tmp_path / "small.onnx", settings)

    assert result.num_layers == {8: 1, 4: 1}
    assert result.skipped == {names[0]: "left out by a pattern"}
    assert result.bytes_after == (tmp_path / "small.onnx").stat().st_size < result.bytes_before


def test_pruned_weights_stay_zero(tmp_path: Path) -> None:
    model = nn.Linear(32, 16, bias=False)
    model.weight.data[:, ::2] = 0
    model.weight.data[3] = 0
    source = exported(model, torch.randn(2, 32), tmp_path)

    quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly(accuracy_level=1))

    identity = OnnxRuntime(tmp_path / "small.onnx")(torch.eye(32))
    assert not identity[::2].any()
    assert not identity[:, 3].any()


def test_the_form_of_the_answer_and_the_names_survive(tmp_path: Path) -> None:
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = TiedModel()

        def forward(self, input_ids: torch.Tensor) -> Any:
            return {"logits": self.model(input_ids)}

    source = exported(Named(), ids(), tmp_path)

    quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly())

    assert ids(1, 9).run(OnnxRuntime(tmp_path / "small.onnx")).logits.shape == (1, 9, 50)
    assert list(describe_onnx(tmp_path / "small.onnx").inputs) == ["input_ids"]


def test_a_graph_without_matrices_is_refused_and_a_bad_weight_is_named(tmp_path: Path) -> None:
    source = exported(nn.Conv1d(2, 2, 3), torch.randn(2, 2, 8), tmp_path)
    with pytest.raises(NothingToQuantizeError, match="no matrix multiplication"):
        quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly())

    model = nn.Linear(32, 8)
    source = exported(model, torch.randn(2, 32), tmp_path)
    with pytest.raises(CannotQuantizeError):
        graph = read_onnx(source)
        for tensor in graph.graph.initializer:
            if len(tensor.dims) == 2:
                tensor.raw_data = np.full(32 * 8, np.nan, dtype=np.float32).tobytes()
        source.write_bytes(graph.SerializeToString())
        quantize_weights_onnx(source, tmp_path / "small.onnx", WeightOnly())
    assert [path.name for path in tmp_path.iterdir()] == ["float.onnx"]


@pytest.mark.parametrize(
    "wrong", [{"group_size": 33}, {"group_size": 8}, {"bits": 3}, {"layer_bits": {"*": 5}}]
)
def test_settings_that_no_kernel_takes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"power of two|4, 8 or 32"):
        WeightOnly(**wrong)

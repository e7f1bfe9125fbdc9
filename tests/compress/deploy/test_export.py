"""Export to ONNX."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.calibration import model_inputs
from ayni.compress.deploy.export import CannotExportError, export_onnx, largest_difference
from ayni.compress.deploy.onnx_file import describe_onnx
from ayni.compress.deploy.outputs import NoTensorOutputError
from ayni.compress.deploy.runtimes import OnnxRuntime
from ayni.compress.inputs import ModelInputs
from ayni.task import Task


def test_the_file_computes_what_the_model_computes_for_any_batch_size(bars: Task, tmp_path: Path) -> None:
    model = bars.build_model().eval()
    inputs = model_inputs(bars, model, split="validation", num_examples=9, batch_size=3)

    exporter = export_onnx(model, inputs, tmp_path / "model.onnx")

    batches = [torch.randn(size, 1, 8, 8) for size in (1, 2, 7)]
    assert exporter == "tracing"
    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), batches) < 1e-5


def test_integer_inputs_and_a_tied_embedding_are_exported(symbols: Task, tmp_path: Path) -> None:
    model = symbols.build_model().eval()
    inputs = model_inputs(symbols, model, split="validation", num_examples=4)

    export_onnx(model, inputs, tmp_path / "model.onnx")

    assert inputs[0].run(OnnxRuntime(tmp_path / "model.onnx")).shape == (4, 12, 8)


def test_nothing_is_printed_and_no_temporary_file_stays(
    bars: Task, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    export_onnx(bars.build_model(), [torch.zeros(1, 1, 8, 8)], tmp_path / "model.onnx")

    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.slow
def test_what_tracing_cannot_export_the_other_exporter_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.RMSNorm(6), nn.Linear(6, 2)).eval()

    exporter = export_onnx(model, [torch.randn(3, 4)], tmp_path / "model.onnx")

    assert exporter == "torch.export"
    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), [torch.randn(5, 4)]) < 1e-5
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_a_file_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    class FreezesTheBatch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            # int() makes a constant of the size of the first batch.
            logits: torch.Tensor = self.dense(x).reshape(int(x.shape[0]), 3)
            return logits

    with pytest.raises(CannotExportError, match="tracing: ONNX Runtime cannot use"):
        export_onnx(FreezesTheBatch(), [torch.randn(3, 4)], tmp_path / "model.onnx")


@pytest.mark.slow
def test_a_model_that_branches_on_values_is_refused_with_the_reasons_of_both(tmp_path: Path) -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * 100 if x.mean() > 0 else x - 7

    with pytest.raises(CannotExportError) as caught:
        export_onnx(Branches(), [torch.ones(3, 4), -torch.ones(3, 4)], tmp_path / "model.onnx")

    assert len(caught.value.reasons) == 2
    assert list(tmp_path.iterdir()) == []


class Reader(nn.Module):
    """Token ids and a mask to a pooled vector, as encoders are called."""

    def __init__(self, *, places: int = 0) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.places = nn.Parameter(torch.randn(places, 8)) if places else None
        self.dense = nn.Linear(8, 4)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        x_NTE = self.words(input_ids)
        if self.places is not None:
            x_NTE = x_NTE + self.places
        states_NTE = self.dense(x_NTE)
        weights_NT1 = attention_mask.unsqueeze(-1).to(states_NTE.dtype)
        pooled_NE = (states_NTE * weights_NT1).sum(1) / weights_NT1.sum(1)
        return {"states": states_NTE, "pooled": pooled_NE, "cache": object()}


def token_batch(num_texts: int = 3, num_tokens: int = 7) -> ModelInputs:
    ids = torch.arange(num_texts * num_tokens).reshape(num_texts, num_tokens) % 20
    mask = (torch.arange(num_tokens) < num_tokens - 2).long().repeat(num_texts, 1)
    return ModelInputs(kwargs={"input_ids": ids, "attention_mask": mask})


def test_names_and_dynamic_sequences_of_inputs_and_outputs_are_kept(tmp_path: Path) -> None:
    model = Reader().eval()

    export_onnx(model, [token_batch()], tmp_path / "model.onnx")

    found = describe_onnx(tmp_path / "model.onnx")
    assert found.opset == 18
    assert found.inputs == {"input_ids": ("batch", "sequence"), "attention_mask": ("batch", "sequence")}
    assert list(found.outputs) == ["states", "pooled"]
    assert found.outputs["pooled"] == ("batch", 4)
    runtime = OnnxRuntime(tmp_path / "model.onnx")
    batches = [token_batch(texts, tokens) for texts, tokens in ((1, 3), (5, 11))]
    assert largest_difference(model, runtime, batches) < 1e-5


def test_a_model_of_one_length_gets_a_fixed_sequence(tmp_path: Path) -> None:
    export_onnx(Reader(places=7), [token_batch()], tmp_path / "model.onnx")

    assert describe_onnx(tmp_path / "model.onnx").inputs["input_ids"] == ("batch", 7)


def test_one_example_of_one_token_is_enough(tmp_path: Path) -> None:
    model = Reader().eval()
    batch = ModelInputs(kwargs={"input_ids": torch.ones(1, 1).long(), "attention_mask": torch.ones(1, 1)})

    export_onnx(model, [batch], tmp_path / "model.onnx")

    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), [batch]) < 1e-5


def test_several_positional_tensors_and_plain_values_are_taken(tmp_path: Path) -> None:
    class Mix(nn.Module):
        def forward(self, x: torch.Tensor, power: int, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x**power + y, y - x

    batch = ModelInputs(args=(torch.randn(3, 4), 2, torch.randn(3, 4)))

    export_onnx(Mix(), [batch], tmp_path / "model.onnx", opset=17)

    x, y = torch.randn(2, 4), torch.randn(2, 4)
    summed, difference = OnnxRuntime(tmp_path / "model.onnx")(x, y)
    torch.testing.assert_close(summed, x**2 + y)
    torch.testing.assert_close(difference, y - x)
    assert describe_onnx(tmp_path / "model.onnx").opset == 17


def test_infinities_in_equal_places_are_equal_and_in_other_places_are_not() -> None:
    def masked(x: torch.Tensor) -> torch.Tensor:
        return x.masked_fill(x > 0, float("-inf"))

    model, same, other = nn.Module(), nn.Module(), nn.Module()
    model.forward, same.forward, other.forward = masked, masked, lambda x: x

    batch = torch.tensor([[1.0, -2.0]])
    assert largest_difference(model, same, [batch]) == 0
    assert largest_difference(model, other, [batch]) == float("inf")
    assert largest_difference(other, model, [torch.zeros(2, 0)]) == 0


def test_a_model_without_a_tensor_in_its_answer_is_refused(tmp_path: Path) -> None:
    class Counts(nn.Module):
        def forward(self, x: torch.Tensor) -> int:
            return len(x)

    with pytest.raises(NoTensorOutputError, match="int"):
        export_onnx(Counts(), [torch.ones(2, 3)], tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_refuses_two_examples_is_refused_with_its_own_words(tmp_path: Path) -> None:
    class OneOnly(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > 1:
                raise IndexError("one at a time")
            return x

    with pytest.raises(CannotExportError, match="one at a time"):
        export_onnx(OneOnly(), [torch.ones(1, 3)], tmp_path / "model.onnx")


@pytest.mark.slow
def test_the_second_exporter_keeps_names_and_sequences_too(tmp_path: Path) -> None:
    class Normed(Reader):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.RMSNorm(8)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
            return {"states": self.norm(self.words(input_ids)) * attention_mask.unsqueeze(-1)}

    model = Normed().eval()

    exporter = export_onnx(model, [token_batch()], tmp_path / "model.onnx")

    assert exporter == "torch.export"
    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), [token_batch(2, 4)]) < 1e-5


def test_attention_of_transformers_is_written_out_and_the_model_keeps_its_own(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    model = transformers.BertModel(config).eval()

    export_onnx(model, [token_batch()], tmp_path / "model.onnx")

    found = describe_onnx(tmp_path / "model.onnx")
    assert "IsNaN" not in found.num_nodes
    assert list(found.outputs) == ["last_hidden_state", "pooler_output"]
    assert model.config._attn_implementation == "sdpa"
    batches = [token_batch(2, 5)]
    assert largest_difference(model, OnnxRuntime(tmp_path / "model.onnx"), batches) < 1e-4

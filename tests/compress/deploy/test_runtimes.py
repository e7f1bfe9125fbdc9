"""Torch modules and ONNX files that look alike."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.outputs import NamedOutputs
from ayni.compress.deploy.runtimes import OnnxRuntime, RuntimeFailedError, TorchRuntime
from ayni.compress.inputs import ModelInputs
from ayni.task import Task


class Scaled(nn.Module):
    """x times a factor that is given by name; answers with names."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, factor: torch.Tensor) -> Any:
        return {"scaled": self.dense(x) * factor, "sum": x.sum(-1)}


@pytest.fixture
def scaled_file(tmp_path: Path) -> Path:
    batch = ModelInputs(kwargs={"x": torch.randn(3, 4), "factor": torch.randn(3, 1)})
    export_onnx(Scaled(), [batch], tmp_path / "scaled.onnx")
    return tmp_path / "scaled.onnx"


def test_a_task_evaluates_both_runtimes_alike(bars: Task, tmp_path: Path) -> None:
    model = bars.build_model().eval()
    export_onnx(model, [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")
    batch = torch.utils.data.default_collate(bars.dataset("test"))

    results = [
        bars.evaluate(runtime.eval(), [batch])
        for runtime in (TorchRuntime(model), OnnxRuntime(tmp_path / "model.onnx"))
    ]

    assert results[0] == results[1]


def test_a_torch_runtime_keeps_no_gradients_and_answers_for_its_model(bars: Task) -> None:
    runtime = TorchRuntime(bars.build_model())

    assert not runtime(torch.zeros(1, 1, 8, 8)).requires_grad
    assert runtime.training is False


def test_a_torch_runtime_converts_floats_in_and_out_and_leaves_integers() -> None:
    class Both(nn.Module):
        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> tuple[Any, Any, Any]:
            return x, ids, x.dtype == torch.bfloat16

    x, ids, was_half = TorchRuntime(Both(), compute_dtype=torch.bfloat16)(
        torch.full((2,), 1.5), ids=torch.tensor([2**40 + 1])
    )

    assert was_half
    assert x.dtype == torch.float32
    assert ids.tolist() == [2**40 + 1]


def test_an_onnx_runtime_survives_a_task_that_sets_modes(bars: Task, tmp_path: Path) -> None:
    export_onnx(bars.build_model(), [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")
    runtime = OnnxRuntime(tmp_path / "model.onnx")

    assert runtime.train().eval() is runtime
    assert list(runtime.parameters()) == []


def test_inputs_go_by_place_and_by_name_and_the_answer_has_names(scaled_file: Path) -> None:
    runtime = OnnxRuntime(scaled_file)
    x, factor = torch.randn(2, 4), torch.randn(2, 1)

    by_name, by_place = runtime(factor=factor, x=x), runtime(x, factor)

    assert (runtime.input_names, runtime.output_names) == (("x", "factor"), ("scaled", "sum"))
    assert isinstance(by_name, NamedOutputs)
    torch.testing.assert_close(by_name.scaled, by_place["scaled"])
    torch.testing.assert_close(by_name.sum, x.sum(-1))


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((), {"x": torch.ones(1, 4)}),
        ((torch.ones(1, 4),), {"x": torch.ones(1, 4), "factor": torch.ones(1, 1)}),
        ((torch.ones(1, 4), torch.ones(1, 1), torch.ones(1)), {}),
        ((), {"x": torch.ones(1, 4), "facter": torch.ones(1, 1)}),
        ((torch.ones(1, 4), 2.0), {}),
    ],
)
def test_wrong_inputs_are_refused_with_the_names_of_the_right_ones(
    scaled_file: Path, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    with pytest.raises(RuntimeFailedError, match="takes the tensors x, factor"):
        OnnxRuntime(scaled_file)(*args, **kwargs)


def test_floats_of_other_widths_are_converted_but_integers_never_become_floats(scaled_file: Path) -> None:
    runtime = OnnxRuntime(scaled_file)
    x = torch.randn(2, 4)

    wide = runtime(x.double(), torch.ones(2, 1).bfloat16())

    torch.testing.assert_close(wide.scaled, runtime(x, torch.ones(2, 1)).scaled)
    with pytest.raises(RuntimeFailedError, match=r"scaled\.onnx"):
        runtime(torch.ones(2, 4, dtype=torch.long), torch.ones(2, 1))


def test_a_damaged_file_and_a_wrong_shape_are_named(bars: Task, tmp_path: Path) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"\x00" * 10)
    export_onnx(bars.build_model(), [torch.zeros(2, 1, 8, 8)], tmp_path / "model.onnx")

    with pytest.raises(RuntimeFailedError, match=r"damaged\.onnx"):
        OnnxRuntime(tmp_path / "damaged.onnx")
    with pytest.raises(RuntimeFailedError, match=r"model\.onnx"):
        OnnxRuntime(tmp_path / "model.onnx")(torch.zeros(1, 5))


def test_a_batch_in_parts_gives_the_answers_of_the_whole(scaled_file: Path) -> None:
    whole, parts = OnnxRuntime(scaled_file), OnnxRuntime(scaled_file, examples_at_once=2)
    for num_examples in (1, 2, 5):
        x, factor = torch.randn(num_examples, 4), torch.randn(num_examples, 1)

        actual, expected = parts(x, factor), whole(x, factor)

        torch.testing.assert_close(actual.scaled, expected.scaled)
        torch.testing.assert_close(actual.sum, expected.sum)


def test_ranges_of_a_part_do_not_see_the_other_examples(tmp_path: Path) -> None:
    from ayni.compress.config import QuantizeStep
    from ayni.compress.deploy.onnx_quantize import quantize_onnx

    torch.manual_seed(0)
    export_onnx(nn.Linear(32, 8), [torch.randn(2, 32)], tmp_path / "float.onnx")
    step = QuantizeStep(mode="dynamic")
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx", step, calibration=[])
    runtime, x = OnnxRuntime(tmp_path / "int8.onnx", examples_at_once=1), torch.randn(3, 32)

    beside_outlier = runtime(torch.cat([x, x[:1] * 1000]))[:3]

    assert torch.equal(beside_outlier, runtime(x))


def test_what_has_no_axis_of_examples_is_not_computed_in_parts(tmp_path: Path) -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean()

    export_onnx(Mean(), [torch.randn(3, 4)], tmp_path / "mean.onnx")

    with pytest.raises(RuntimeFailedError, match="output output has no axis of examples"):
        OnnxRuntime(tmp_path / "mean.onnx", examples_at_once=2)
    with pytest.raises(ValueError, match="at least 1"):
        OnnxRuntime(tmp_path / "mean.onnx", examples_at_once=0)

"""Every form is stored, opened again, and answers as the model in memory does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.artefacts import load_full_model
from ayni.compress.deploy.export import CannotExportError
from ayni.compress.draft import Draft, Workshop, find_values, mark, reshape
from ayni.compress.open_form import open_form, runtime_of
from ayni.compress.steps import HalfStep, PruneStep, QuantizeStep, ShareStep, Step
from ayni.compress.stored_forms import CannotStoreError, Stored, store_by_step, store_model
from ayni.errors import MissingExtraError
from ayni.task import Task


def made(task: Any, file: Path, *steps: Step) -> tuple[Draft, Workshop]:
    shop = Workshop(task=task, teacher=load_full_model(task, file), seed=1, device=torch.device("cpu"))
    draft = Draft(model=load_full_model(task, file))
    for step in steps:
        reshape(draft, step, shop)
        mark(draft, step)
        if isinstance(step, PruneStep) and step.makes_masks:
            find_values(draft, step, shop)
    return draft, shop


def drift(task: Any, draft: Draft, shop: Workshop, stored: Stored) -> float:
    """Largest difference of an answer, over the scale of the answers."""
    runtime = open_form(stored.file, stored.runtime, task.build_model)
    worst, scale = 0.0, 0.0
    with torch.no_grad():
        for batch in shop.shown:
            expected = batch.run(draft.model)
            worst = max(worst, float((batch.run(runtime) - expected).abs().max()))
            scale = max(scale, float(expected.abs().max()))
    return worst / scale


FORMS: Mapping[str, tuple[Step, float, float]] = {
    "8 bits dynamic": (QuantizeStep(mode="dynamic"), 0.05, 0.75),
    "8 bits smoothed": (QuantizeStep(mode="smoothed"), 0.05, 0.75),
    "8 bits mixed": (QuantizeStep(mode="mixed"), 0.05, 0.75),
    "8 bits of weights in a graph": (QuantizeStep(mode="weights"), 0.05, 0.75),
    "4 bits in a graph": (QuantizeStep(bits=4, runtime="onnxruntime"), 0.3, 0.7),
    "8 bits packed": (QuantizeStep(bits=8, runtime="torch"), 0.05, 0.6),
    "4 bits packed": (QuantizeStep(bits=4), 0.3, 0.5),
    "4 bits to nearest": (QuantizeStep(bits=4, method="nearest"), 0.4, 0.5),
    "4 bits computed with": (QuantizeStep(bits=4, runtime="packed"), 0.4, 0.55),
    "bits by sensitivity": (QuantizeStep(average_bits=5.0), 0.4, 0.55),
    "rounded in training": (QuantizeStep(bits=4, epochs=1), 1.0, 0.5),
    "shared values": (ShareStep(values=16), 0.3, 0.5),
    "bfloat16": (HalfStep(), 0.05, 0.72),
    "float16": (HalfStep(dtype="float16"), 0.01, 0.72),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_answers_nearly_as_the_model_and_is_smaller(
    bars: Task, bars_file: Path, tmp_path: Path, form: str
) -> None:
    step, largest_drift, largest_share = FORMS[form]
    draft, shop = made(bars, bars_file)

    stored = store_by_step(draft, step, tmp_path / "form", shop, onnx=None)

    assert drift(bars, draft, shop, stored) <= largest_drift
    assert stored.file.stat().st_size <= largest_share * bars_file.stat().st_size
    assert runtime_of(stored.file) == stored.runtime
    assert sorted(path.name for path in tmp_path.iterdir()) == [stored.file.name]


def test_the_model_itself_is_not_touched_by_any_form(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    draft, shop = made(bars, bars_file)
    before = {name: tensor.clone() for name, tensor in draft.model.state_dict().items()}

    for number, (step, _, _) in enumerate(FORMS.values()):
        store_by_step(draft, step, tmp_path / str(number), shop, onnx=None)

    after = draft.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_transformer_with_tied_weights_keeps_them_tied_in_every_form(
    symbols: Task, symbols_file: Path, tmp_path: Path
) -> None:
    draft, shop = made(symbols, symbols_file)

    for number, step in enumerate((QuantizeStep(bits=4, runtime="packed"), HalfStep(), ShareStep())):
        stored = store_by_step(draft, step, tmp_path / str(number), shop, onnx=None)

        assert drift(symbols, draft, shop, stored) < 0.3


def test_a_model_with_zeros_is_stored_with_a_bit_for_each(
    bars: Task, bars_file: Path, tmp_path: Path
) -> None:
    draft, shop = made(bars, bars_file, PruneStep(weights=0.7))

    stored = store_model(draft, tmp_path / "sparse", shop)

    assert stored.runtime == "torch"
    assert drift(bars, draft, shop, stored) == 0
    assert stored.file.stat().st_size < 0.6 * bars_file.stat().st_size


@pytest.mark.parametrize("method", ["gptq", "nearest"])
def test_quantization_keeps_zeros(bars: Task, bars_file: Path, tmp_path: Path, method: Any) -> None:
    draft, shop = made(bars, bars_file, PruneStep(weights=0.7))

    stored = store_by_step(draft, QuantizeStep(bits=4, method=method), tmp_path / "int4", shop, onnx=None)

    model: Any = open_form(stored.file, stored.runtime, bars.build_model)
    weight = model.get_submodule("9").weight
    assert float((weight == 0).float().mean()) >= 0.69


def test_gptq_says_when_it_cannot_keep_zeros(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    draft, shop = made(bars, bars_file, PruneStep(threshold=0.05))

    with pytest.raises(CannotStoreError, match="method: nearest"):
        store_by_step(draft, QuantizeStep(bits=4), tmp_path / "int4", shop, onnx=None)


@pytest.mark.parametrize("step", [QuantizeStep(bits=4), ShareStep(), HalfStep()])
def test_weights_alone_are_refused_after_a_change_of_shape(
    bars: Task, bars_file: Path, tmp_path: Path, step: Step
) -> None:
    draft, shop = made(bars, bars_file, PruneStep(channels=0.5))

    with pytest.raises(CannotStoreError, match="runtime: onnxruntime"):
        store_by_step(draft, step, tmp_path / "form", shop, onnx=None)

    assert list(tmp_path.iterdir()) == []


class Branching(nn.Module):
    """Which way it goes depends on the values: no graph says both."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.inner(image[None])[0] * (2 if image.sum() > 0 else 1) for image in images])


def test_a_model_without_a_graph_is_kept_as_weights(bars: Any, tmp_path: Path) -> None:
    task = type("Branched", (type(bars),), {"build_model": lambda _: Branching()})()
    model = task.build_model().eval()
    shop = Workshop(task=task, teacher=model, seed=1, device=torch.device("cpu"))
    draft = Draft(model=model)

    stored = store_model(draft, tmp_path / "full", shop)

    assert stored.runtime == "torch"
    assert "no ONNX form" in stored.note
    assert drift(task, draft, shop, stored) == 0
    with pytest.raises(CannotExportError):
        store_by_step(draft, QuantizeStep(), tmp_path / "int8", shop, onnx=None)
    assert (
        drift(
            task, draft, shop, store_by_step(draft, QuantizeStep(bits=4), tmp_path / "int4", shop, onnx=None)
        )
        < 0.4
    )


def test_openvino_is_named_when_it_is_missing(bars: Task, bars_file: Path, tmp_path: Path) -> None:
    import importlib.util

    if importlib.util.find_spec("openvino"):
        pytest.skip("openvino is installed")
    draft, shop = made(bars, bars_file)

    with pytest.raises(MissingExtraError, match=r"ayni\[openvino\]"):
        store_by_step(draft, QuantizeStep(runtime="openvino"), tmp_path / "ov", shop, onnx=None)

"""Compressed models in one file, and files that are not what they seem."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from ayni.compress.packed.file import (
    CannotPackError,
    PackedModelMismatchError,
    describe_packed,
    load_packed,
    write_packed,
)
from ayni.compress.packed.weight import WeightChangedError
from ayni.compress.weights.grids import Grid
from ayni.compress.weights.sharing import share_weights
from ayni.compress.weights.weight_only import quantize_weights, round_rest

GRIDS = [
    Grid(bits=8, granularity="tensor", scheme="symmetric"),
    Grid(bits=8),
    Grid(bits=4, granularity="group", group_size=32),
    Grid(bits=4, granularity="group", group_size=7, scheme="symmetric"),
    Grid(bits=3, granularity="group", group_size=16, scheme="minimum"),
    Grid(bits=2),
]


class Conv1D(nn.Module):
    """As Transformers' own: a linear layer whose weight is [inputs, outputs]."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf = nf
        self.weight, self.bias = nn.Parameter(torch.randn(nx, nf) * 0.1), nn.Parameter(torch.zeros(nf))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias


class Mixed(nn.Module):
    """All that a file must be able to hold: tied and shared weights, counters, flags, convolutions."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.words = nn.Embedding(50, width)
        self.conv = nn.Conv1d(width, width, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(width)
        self.linear = nn.Linear(width, width)
        self.again = self.linear
        self.transposed = Conv1D(width, width)
        self.head = nn.Linear(width, 50, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.eye(4).bool())
        self.register_buffer("scalar", torch.tensor(3))
        self.register_buffer("passing", torch.zeros(2), persistent=False)

    def forward(self, words_NT: torch.Tensor) -> torch.Tensor:
        x = self.words(words_NT).transpose(1, 2)
        x = self.norm(self.conv(x)).transpose(1, 2)
        logits: torch.Tensor = self.head(self.transposed(self.again(torch.relu(self.linear(x)))))
        return logits


def mixed(seed: int = 0, dtype: torch.dtype = torch.float32) -> Mixed:
    torch.manual_seed(seed)
    return Mixed().to(dtype).eval()


WORDS = torch.arange(30).reshape(3, 10)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def is_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("grid", GRIDS)
def test_a_freshly_built_model_computes_bit_for_bit_what_the_compressed_one_did(
    tmp_path: Path, grid: Grid, dtype: torch.dtype
) -> None:
    model = mixed(dtype=dtype)
    weights = quantize_weights(model, grid).weights
    answer = model(WORDS)
    fresh = mixed(seed=1, dtype=dtype)

    written = write_packed(tmp_path / "a.safetensors", model, weights)
    read = load_packed(tmp_path / "a.safetensors", fresh)

    assert is_same(state(fresh), state(model))
    assert torch.equal(fresh(WORDS), answer)
    assert written == read
    assert written.stored_bytes == (tmp_path / "a.safetensors").stat().st_size
    assert written.num_by_kind["grid"] == 4


def test_dense_bytes_count_tied_and_shared_weights_once(tmp_path: Path) -> None:
    model = mixed()

    report = write_packed(tmp_path / "a", model, {})

    own = [*model.parameters(), *(tensor for name, tensor in model.named_buffers() if name != "passing")]
    assert report.dense_bytes == sum(tensor.numel() * tensor.element_size() for tensor in own)


def test_shared_values_and_a_rest_in_16_bits_come_back(tmp_path: Path) -> None:
    model = mixed()
    shared = share_weights(model, num_values=5).weights
    rounded = round_rest(model, list(shared))
    fresh = mixed(seed=1)

    write_packed(tmp_path / "a", model, shared)
    load_packed(tmp_path / "a", fresh)

    assert "words.weight" in rounded
    assert is_same(state(fresh), state(model))
    manifest, _ = describe_packed(tmp_path / "a")
    assert manifest.tensors["words.weight"].stored == "float16"  # type: ignore[union-attr]


@pytest.mark.parametrize("step", ["plain", "grid", "codebook"])
def test_pruned_weights_are_stored_sparse_and_only_where_that_is_smaller(tmp_path: Path, step: str) -> None:
    def model_with(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 64))

    model, fresh = model_with(0), model_with(1)
    with torch.no_grad():
        weight = model[0].weight
        weight[torch.rand(weight.shape) < 0.8] = 0
        weight[0, 0] = -0.0
    weights: Mapping[str, Any] = {}
    if step == "grid":
        weights = quantize_weights(model, Grid(bits=4)).weights
    elif step == "codebook":
        weights = share_weights(model, num_values=16).weights

    write_packed(tmp_path / "a", model, weights)
    load_packed(tmp_path / "a", fresh)

    assert is_same(state(fresh), state(model))
    manifest, _ = describe_packed(tmp_path / "a")
    assert manifest.tensors["0.weight"].num_kept is not None
    assert manifest.tensors["1.weight"].num_kept is None
    if step == "plain":
        assert torch.signbit(fresh[0].weight[0, 0])


def test_the_same_model_gives_the_same_bytes_and_no_pickle(tmp_path: Path) -> None:
    for name in ("a", "b"):
        model = mixed()
        weights = quantize_weights(model).weights
        write_packed(tmp_path / name, model, weights, base_sha256="0" * 64, notes={"b": [1, None], "a": "x"})

    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert all(
        isinstance(part, torch.Tensor) for part in safetensors.torch.load_file(tmp_path / "a").values()
    )
    manifest, _ = describe_packed(tmp_path / "a")
    assert (manifest.base_sha256, manifest.notes) == ("0" * 64, {"b": [1, None], "a": "x"})
    assert manifest.tied["head.weight"] == "words.weight" and manifest.tied["again.weight"] == "linear.weight"


def test_degenerate_tensors_come_back(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def __init__(self, fill: float) -> None:
            super().__init__()
            self.empty = nn.Parameter(torch.zeros(0, 3))
            self.one = nn.Parameter(torch.tensor(fill))
            self.strided = nn.Parameter(torch.full((4, 6), fill).t())
            self.register_buffer("nan", torch.tensor([float("nan"), -0.0, float("inf"), fill]))
            self.register_buffer("view", self.strided.detach()[1])
            self.register_buffer("none", None)
            for dtype in (torch.int8, torch.int16, torch.int32, torch.uint8):
                self.register_buffer(str(dtype)[6:], torch.full((2,), int(fill), dtype=dtype))

    model, fresh = Odd(0.1), Odd(5.0)

    write_packed(tmp_path / "a", model, {})
    load_packed(tmp_path / "a", fresh)

    own, other = fresh.state_dict(), model.state_dict()
    assert all(
        torch.equal(
            own[name].contiguous().view(-1).view(torch.uint8),
            other[name].contiguous().view(-1).view(torch.uint8),
        )
        for name in other
    )
    assert own["strided"].stride() == other["strided"].stride()


def test_a_weight_that_was_changed_after_quantizing_is_not_written(tmp_path: Path) -> None:
    model = mixed()
    weights = quantize_weights(model).weights
    with torch.no_grad():
        model.linear.weight[0, :2] += 1

    with pytest.raises(WeightChangedError, match=r"2 of the 576 values of linear\.weight"):
        write_packed(tmp_path / "a", model, weights)

    assert not (tmp_path / "a").exists()


class WithExtraState(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"step": 1}

    def set_extra_state(self, state: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("model", "notes", "reason"),
    [
        (WithExtraState(2, 2), {}, "no parameter or buffer: _extra_state"),
        (nn.LazyLinear(2), {}, "weight has no values yet"),
        (nn.Linear(2, 2, device="meta"), {}, "weight has no values yet"),
        (nn.Linear(2, 2, dtype=torch.complex64), {}, "complex64"),
        (nn.Linear(2, 2), {"a": float("nan")}, "Out of range float"),
        (nn.Linear(2, 2), {"a": {1, 2}}, "not JSON serializable"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(
    tmp_path: Path, model: nn.Module, notes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(CannotPackError, match=reason):
        write_packed(tmp_path / "a", model, {}, notes=notes)

    assert not (tmp_path / "a").exists()


def test_codes_of_an_unknown_name_are_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    weights = quantize_weights(model).weights

    with pytest.raises(CannotPackError, match=r"no parameter 'other\.weight'"):
        write_packed(tmp_path / "a", model, {"other.weight": weights["0.weight"]})


def packed(path: Path) -> Path:
    model = mixed()
    write_packed(path, model, quantize_weights(model).weights)
    return path


def untied(width: int = 24) -> Mixed:
    model = Mixed(width)
    model.head.weight = nn.Parameter(model.words.weight.detach().clone())
    return model


def with_more() -> Mixed:
    model = Mixed()
    model.more = nn.Linear(2, 2)
    return model


def with_less() -> Mixed:
    model = Mixed()
    del model.norm
    return model


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (
            lambda: Mixed(12),
            r"words\.weight is torch\.float32 \[50, 24\] there and torch\.float32 \[50, 12\]",
        ),
        (lambda: Mixed().double(), "torch.float64"),
        (with_more, "only the model has 'more.bias'"),
        (with_less, r"only the file has 'norm\.bias'"),
        (lambda: Mixed().to("meta"), "has no values yet"),
    ],
)
def test_a_file_of_another_model_is_refused_and_changes_nothing(
    tmp_path: Path, build: Callable[[], nn.Module], reason: str
) -> None:
    path, fresh = packed(tmp_path / "a"), build()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}

    with pytest.raises(PackedModelMismatchError, match=reason):
        load_packed(path, fresh)

    if "meta" not in {tensor.device.type for tensor in before.values()}:
        assert is_same(state(fresh), before)


def test_a_model_that_ties_less_is_filled_and_one_that_ties_more_is_refused(tmp_path: Path) -> None:
    tied_file, untied_file = tmp_path / "tied", tmp_path / "untied"
    write_packed(tied_file, mixed(), {})
    write_packed(untied_file, untied(), {})
    fresh = untied()

    load_packed(tied_file, fresh)

    assert torch.equal(fresh.head.weight, mixed().words.weight)
    with pytest.raises(PackedModelMismatchError, match=r"are one here and two tensors there"):
        load_packed(untied_file, mixed())


def test_gradients_and_modes_stay_as_they_were(tmp_path: Path) -> None:
    path = packed(tmp_path / "a")
    fresh = mixed(seed=1).train()
    fresh.linear.weight.requires_grad_(False)
    objects = {name: id(parameter) for name, parameter in fresh.named_parameters()}

    load_packed(path, fresh)

    assert fresh.training and not fresh.linear.weight.requires_grad and fresh.conv.weight.requires_grad
    assert {name: id(parameter) for name, parameter in fresh.named_parameters()} == objects


def test_a_convolution_in_channels_last_order_comes_back_in_that_of_the_fresh_model(tmp_path: Path) -> None:
    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)

    model, fresh = build(0), build(1)

    write_packed(tmp_path / "a", model, quantize_weights(model).weights)
    load_packed(tmp_path / "a", fresh)

    assert is_same(state(fresh), state(model))
    assert fresh.weight.is_contiguous(memory_format=torch.channels_last)


def test_an_existing_file_stays_when_writing_fails(tmp_path: Path) -> None:
    model = mixed()
    weights = quantize_weights(model).weights
    write_packed(tmp_path / "a", model, weights)
    before = (tmp_path / "a").read_bytes()
    with torch.no_grad():
        model.linear.weight += 1

    with pytest.raises(WeightChangedError):
        write_packed(tmp_path / "a", model, weights)

    assert (tmp_path / "a").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_a_language_model_of_transformers_comes_back_from_its_configuration_alone(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=40, n_positions=16, n_embd=32, n_layer=1, n_head=2)

    def build(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        built: nn.Module = transformers.GPT2LMHeadModel(config).eval()
        return built

    model, fresh = build(0), build(1)
    weights = quantize_weights(model).weights
    words = torch.arange(12)[None]

    write_packed(tmp_path / "a", model, weights)
    load_packed(tmp_path / "a", fresh)

    assert torch.equal(fresh(words).logits, model(words).logits)
    assert fresh.lm_head.weight is fresh.transformer.wte.weight
    assert weights["transformer.h.0.attn.c_attn.weight"].is_transposed
    assert set(weights) >= {"transformer.wte.weight", "transformer.wpe.weight"}

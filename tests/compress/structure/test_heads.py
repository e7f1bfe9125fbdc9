"""Attention heads go whole, and the cut is proven."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune as masking

from ayni.compress.inputs import ModelInputs
from ayni.compress.structure.attention import find_attentions
from ayni.compress.structure.head_surgery import plan_heads
from ayni.compress.structure.heads import CannotPruneHeadsError, head_scores, prune_heads
from ayni.compress.weights.input_moments import input_moments
from ayni.compress.weights.layers import weight_OI

from .attentions import Block, Stack, text

INPUTS = ModelInputs((text(),))


def silence(layer: nn.Linear, columns: slice) -> None:
    """Let the output layer ignore some heads, so that these are the least important."""
    with torch.no_grad():
        layer.weight[:, columns] = 0


@pytest.mark.parametrize("style", ["sdpa", "eager", "blocks", "interleaved"])
def test_heads_that_add_nothing_go_and_the_answers_stay(style: str) -> None:
    torch.manual_seed(1)
    model = Stack(Block(style), Block(style)).eval()
    silence(model.blocks[0].out, slice(3, 6))
    silence(model.blocks[0].out, slice(9, 12))
    silence(model.blocks[1].out, slice(0, 6))
    with torch.no_grad():
        before = model(text(3, 5, seed=7))

    done = prune_heads(model, INPUTS, heads=0.5)

    assert done.num_heads == {"blocks.0": (4, 2), "blocks.1": (4, 2)} and not done.skipped
    # Of each block half of its 4 (12 x 12) weights and of 3 biases of 12.
    assert done.parameters_before - done.parameters_after == 2 * (4 * 12 * 6 + 3 * 6)
    assert model.blocks[0].out.in_features == 6 and model.blocks[0].num_heads == 2
    with torch.no_grad():
        torch.testing.assert_close(model(text(3, 5, seed=7)), before)


@given(seed=st.integers(0, 50), heads=st.sampled_from([0.25, 0.5, 0.75]), groups=st.sampled_from([1, 2, 4]))
@settings(max_examples=15, deadline=None)
def test_the_smaller_model_is_the_whole_one_with_those_heads_silenced(
    seed: int, heads: float, groups: int
) -> None:
    torch.manual_seed(seed)
    model = Stack(Block(key_heads=groups)).eval()
    masked = copy.deepcopy(model)

    try:
        prune_heads(model, INPUTS, heads=heads)
    except CannotPruneHeadsError as error:
        assert groups == 2 and heads == 0.25 and "less than one" in str(error)
        return

    # Which columns are left is seen in the weights themselves.
    left = model.blocks[0].out.weight
    kept = [i for i in range(12) if any(torch.equal(masked.blocks[0].out.weight[:, i], c) for c in left.T)]
    assert len(kept) == left.shape[1] == 3 * len({column // 3 for column in kept})
    with torch.no_grad():
        for column in set(range(12)) - set(kept):
            masked.blocks[0].out.weight[:, column] = 0
        torch.testing.assert_close(
            model(text(4, 6, seed=9)), masked(text(4, 6, seed=9)), atol=1e-5, rtol=1e-4
        )


def test_grouped_queries_go_with_their_keys_and_one_head_of_keys_stays() -> None:
    grouped, single = Stack(Block(key_heads=2)), Stack(Block(key_heads=1))

    prune_heads(grouped, INPUTS, heads=0.5)
    prune_heads(single, INPUTS, heads=0.5)

    assert (grouped.blocks[0].num_heads, grouped.blocks[0].num_key_value_heads) == (2, 1)
    assert (grouped.blocks[0].query.out_features, grouped.blocks[0].key.out_features) == (6, 3)
    assert (single.blocks[0].query.out_features, single.blocks[0].value.out_features) == (6, 3)


def test_scores_are_the_formula_by_hand() -> None:
    block = Block(heads=2, width=4)
    with torch.no_grad():
        block.value.weight.copy_(torch.diag(torch.tensor([1.0, 1.0, 3.0, 4.0])))
        block.out.weight.copy_(torch.eye(4))
    inputs = ModelInputs((torch.randn(1, 3, 4),))
    plan = plan_heads(find_attentions(block, inputs)[0])

    scores = head_scores(plan, None)

    # |V_h|_F^2 are 2 and 25, their mean is 13.5.
    assert scores == pytest.approx([(2 / 13.5) ** 0.5, (25 / 13.5) ** 0.5])


def test_scores_from_data_are_the_size_of_what_each_head_adds() -> None:
    torch.manual_seed(2)
    block = Block()
    seen: list[torch.Tensor] = []
    batches = [ModelInputs((torch.randn(2, 5, 12),)), ModelInputs((torch.randn(3, 4, 12),))]
    plan = plan_heads(find_attentions(block, batches[0])[0])
    hook = block.out.register_forward_pre_hook(lambda _layer, arguments: seen.append(arguments[0].detach()))
    scores = head_scores(plan, input_moments(block, {"out": block.out}, batches)["out"])
    hook.remove()

    rows = torch.cat([tensor.reshape(-1, 12) for tensor in seen])
    sizes = [
        float(
            (rows.detach()[:, h * 3 : h * 3 + 3] @ block.out.weight[:, h * 3 : h * 3 + 3].detach().T)
            .square()
            .sum(1)
            .mean()
        )
        for h in range(4)
    ]
    mean = sum(sizes) / 4
    assert scores == pytest.approx([(size / mean) ** 0.5 for size in sizes], rel=1e-4)


def test_with_calibration_the_heads_that_are_left_make_up_for_the_others() -> None:
    torch.manual_seed(2)
    model = Stack(Block())
    block = model.blocks[0]
    with torch.no_grad():
        # The last two heads say what the first two say, so that nothing need be lost.
        for layer in (block.query, block.key, block.value):
            layer.weight[6:], layer.bias[6:] = layer.weight[:6].clone(), layer.bias[:6].clone()
    plain, whole = copy.deepcopy(model), copy.deepcopy(model)
    calibration = [ModelInputs((text(8, 6, seed=seed),)) for seed in range(8)]

    prune_heads(model, INPUTS, heads=0.25, calibration=calibration)
    prune_heads(plain, INPUTS, heads=0.25)

    def error(pruned: nn.Module) -> float:
        with torch.no_grad():
            return float((pruned(text(16, 6, seed=99)) - whole(text(16, 6, seed=99))).abs().max())

    assert error(model) < 0.02 * error(plain)


def test_across_layers_the_block_that_matters_less_loses_more_and_keeps_one() -> None:
    torch.manual_seed(0)
    model = Stack(Block(), Block())
    for block in model.blocks:
        nn.init.constant_(block.value.weight, 0.1)
        nn.init.constant_(block.out.weight, 0.1)
    silence(model.blocks[0].out, slice(0, 9))

    done = prune_heads(model, INPUTS, heads=0.5, across_layers=True)

    assert done.num_heads == {"blocks.0": (4, 1), "blocks.1": (4, 3)}


def test_a_block_in_two_places_is_cut_once() -> None:
    block = Block()

    done = prune_heads(Stack(block, block), INPUTS, heads=0.5)

    assert done.num_heads == {"blocks.0": (4, 2)} and block.num_heads == 2


def test_a_model_whose_code_uses_heads_in_its_own_way_is_refused_and_unchanged() -> None:
    class Biased(Block):
        def __init__(self) -> None:
            super().__init__()
            self.temperature = nn.Parameter(torch.rand(4, 1, 1))

        def _parts(self, x: torch.Tensor) -> list[torch.Tensor]:
            query, key, value = super()._parts(x)
            return [query * self.temperature, key, value]

    model = Stack(Biased())
    before = copy.deepcopy(model.state_dict())

    with pytest.raises(CannotPruneHeadsError, match=r"blocks\.0: without these heads its forward pass fails"):
        prune_heads(model, INPUTS, heads=0.5)

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.blocks[0].num_heads == 4 and model.blocks[0].out.in_features == 12


def test_a_cut_that_runs_but_answers_differently_is_taken_back() -> None:
    class Weighted(Block):
        def _parts(self, x: torch.Tensor) -> list[torch.Tensor]:
            query, key, value = super()._parts(x)
            # The heads' places matter: after a cut the fourth head would be scaled as the second.
            return [query, key, value * torch.arange(1, value.shape[1] + 1)[:, None, None]]

    model = Stack(Weighted())

    with pytest.raises(CannotPruneHeadsError, match="does not answer as the whole one"):
        silence(model.blocks[0].out, slice(0, 6))
        prune_heads(model, INPUTS, heads=0.5)

    assert model.blocks[0].query.out_features == 12


def test_torchs_own_attention_tied_weights_masks_and_models_without_attention_are_refused_with_reasons() -> (
    None
):
    whole = nn.TransformerEncoderLayer(12, 4, 16, batch_first=True)
    with pytest.raises(CannotPruneHeadsError, match=r"self_attn: torch's MultiheadAttention"):
        prune_heads(whole, ModelInputs((torch.randn(2, 5, 12),)), heads=0.5)

    tied = Stack(Block(), Block())
    tied.blocks[1].value.weight = tied.blocks[0].value.weight
    with pytest.raises(CannotPruneHeadsError, match="shares its weight"):
        prune_heads(tied, INPUTS, heads=0.5)

    masked = Stack(Block())
    masking.l1_unstructured(masked.blocks[0].query, "weight", 0.5)
    with pytest.raises(CannotPruneHeadsError, match="computed for each call"):
        prune_heads(masked, INPUTS, heads=0.5)

    with pytest.raises(CannotPruneHeadsError, match="no attention was found"):
        prune_heads(nn.Linear(3, 3), ModelInputs((torch.ones(1, 3),)), heads=0.5)


def test_a_fraction_of_less_than_one_head_and_a_model_pruned_to_one_are_refused() -> None:
    model = Stack(Block())
    with pytest.raises(CannotPruneHeadsError, match="less than one"):
        prune_heads(model, INPUTS, heads=0.2)

    prune_heads(model, INPUTS, heads=0.75)

    with pytest.raises(CannotPruneHeadsError, match="no attention was found"):
        prune_heads(model, INPUTS, heads=0.75)
    with pytest.raises(ValueError, match="fraction"):
        prune_heads(model, INPUTS, heads=1.0)


def test_frozen_weights_modes_dtypes_and_random_state_stay() -> None:
    model = Stack(Block()).to(torch.bfloat16).train()
    model.blocks[0].query.weight.requires_grad_(False)
    state = torch.get_rng_state()

    prune_heads(model, INPUTS, heads=0.5, calibration=[INPUTS])

    block = model.blocks[0]
    assert not block.query.weight.requires_grad and block.key.weight.requires_grad and model.training
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow  # Transformers is slow to import.
def test_a_model_of_transformers_loses_heads_also_with_named_inputs_and_grouped_queries() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    bert = transformers.BertModel(
        transformers.BertConfig(
            vocab_size=9, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=8
        )
    )
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=9,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=8,
        )
    )
    gpt = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=9, n_embd=16, n_layer=1, n_head=4, n_positions=8)
    )
    inputs = ModelInputs(kwargs={"input_ids": text(), "attention_mask": torch.ones(2, 6, dtype=torch.long)})

    for model in (bert, llama, gpt):
        done = prune_heads(model, inputs, heads=0.5, calibration=[inputs])
        assert not done.skipped and set(done.num_heads.values()) == {(4, 2)}

    assert weight_OI(gpt.transformer.h[0].attn.c_attn).shape == (24, 16)
    assert llama.model.layers[0].self_attn.k_proj.weight.shape == (4, 16)

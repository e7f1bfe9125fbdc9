"""Decoding with a cache of keys and values."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.deploy.decode import (
    NoDecoderError,
    OnnxDecoder,
    TorchDecoder,
    decoder_difference,
    export_decoder,
    greedy_tokens,
)
from ayni.compress.deploy.export import CannotExportError, export_onnx
from ayni.compress.deploy.onnx_file import describe_onnx
from ayni.compress.deploy.onnx_weight_only import WeightOnly, quantize_weights_onnx

transformers = pytest.importorskip("transformers")


def tiny_llama() -> nn.Module:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=48, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True,
    )  # fmt: skip
    model: nn.Module = transformers.LlamaForCausalLM(config).eval()
    return model


@pytest.fixture(scope="module")
def llama() -> nn.Module:
    return tiny_llama()


@pytest.fixture(scope="module")
def llama_file(llama: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("llama") / "decoder.onnx"
    export_decoder(llama, torch.arange(8)[None], file)
    return file


def tokens(num_texts: int, num_tokens: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, 48, (num_texts, num_tokens), generator=generator)


def test_steps_give_what_the_whole_text_gives(llama: nn.Module) -> None:
    ids = tokens(2, 9)
    decoder = TorchDecoder(llama)

    steps = [decoder.start(ids[:, :5]), *(decoder.step(ids[:, place]) for place in range(5, 9))]

    with torch.no_grad():
        whole = llama(input_ids=ids).logits[:, 4:]
    torch.testing.assert_close(torch.stack(steps, dim=1), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("num_texts", "num_tokens"), [(1, 4), (3, 17)])
def test_the_file_decodes_like_the_model_for_any_number_of_texts_and_tokens(
    llama: nn.Module, llama_file: Path, num_texts: int, num_tokens: int
) -> None:
    ids = tokens(num_texts, num_tokens)

    assert decoder_difference(TorchDecoder(llama), OnnxDecoder(llama_file), ids) < 1e-4


def test_a_new_start_forgets_the_text_before(llama_file: Path) -> None:
    decoder = OnnxDecoder(llama_file)
    first = greedy_tokens(decoder, tokens(2, 5), num_tokens=6)

    greedy_tokens(decoder, tokens(1, 9), num_tokens=3)

    assert first.shape == (2, 6)
    assert torch.equal(greedy_tokens(decoder, tokens(2, 5), num_tokens=6), first)


def test_greedy_tokens_are_those_of_the_models_own_generation(llama: nn.Module) -> None:
    prompt = tokens(1, 5)
    model: Any = llama

    ours = greedy_tokens(TorchDecoder(llama), prompt, num_tokens=7)

    theirs = model.generate(prompt, max_new_tokens=7, min_new_tokens=7, do_sample=False, pad_token_id=0)
    assert ours.tolist() == theirs[:, 5:].tolist()


def test_a_decoder_in_few_bits_decodes_and_is_smaller(llama_file: Path, tmp_path: Path) -> None:
    result = quantize_weights_onnx(
        llama_file, tmp_path / "small.onnx", WeightOnly(bits=8, group_size=32, accuracy_level=1)
    )

    difference = decoder_difference(
        OnnxDecoder(llama_file), OnnxDecoder(tmp_path / "small.onnx"), tokens(2, 8)
    )
    assert result.num_layers[8] >= 14
    assert result.num_tied == 1
    assert difference < 0.05


def test_names_of_the_cache_are_stated(llama_file: Path) -> None:
    found = describe_onnx(llama_file)

    assert list(found.inputs)[:3] == ["input_ids", "past_0_key", "past_0_value"]
    assert list(found.outputs)[:2] == ["logits", "present_0_key"]
    assert found.inputs["past_1_value"] == ("batch", 2, "past", 8)


def test_bfloat16_answers_in_32_bits() -> None:
    model = tiny_llama().to(torch.bfloat16)

    assert TorchDecoder(model).start(tokens(1, 4)).dtype == torch.float32


def test_what_is_no_decoder_is_refused(tmp_path: Path) -> None:
    class Plain(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    export_onnx(nn.Linear(4, 3), [torch.randn(2, 4)], tmp_path / "plain.onnx")

    with pytest.raises(NoDecoderError, match="input_ids"):
        TorchDecoder(Plain()).start(tokens(1, 4))
    with pytest.raises(NoDecoderError, match="input_ids"):
        export_decoder(Plain(), tokens(1, 4), tmp_path / "decoder.onnx")
    with pytest.raises(NoDecoderError, match=r"plain\.onnx"):
        OnnxDecoder(tmp_path / "plain.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.onnx"]


def test_wrong_order_and_wrong_sizes_are_refused(llama: nn.Module, llama_file: Path, tmp_path: Path) -> None:
    for decoder in (TorchDecoder(llama), OnnxDecoder(llama_file)):
        with pytest.raises(NoDecoderError, match="before start"):
            decoder.step(torch.zeros(1, dtype=torch.long))
    with pytest.raises(ValueError, match="0 tokens"):
        greedy_tokens(TorchDecoder(llama), tokens(1, 4), num_tokens=0)
    with pytest.raises(ValueError, match="shape"):
        greedy_tokens(TorchDecoder(llama), tokens(1, 4)[:, :0], num_tokens=1)
    with pytest.raises(ValueError, match="at least 4 tokens"):
        export_decoder(llama, tokens(1, 3), tmp_path / "decoder.onnx")


def test_a_decoder_that_computes_something_else_in_the_file_is_noticed(tmp_path: Path) -> None:
    model: Any = tiny_llama()
    inner = model.lm_head.forward
    # A branch on a value of the input, which tracing freezes.
    model.lm_head.forward = lambda x: inner(x) * (2.0 if float(x.sum()) > 1e9 or x.shape[0] == 2 else 1.0)

    with pytest.raises(CannotExportError, match="differ"):
        export_decoder(model, tokens(1, 8), tmp_path / "decoder.onnx")
    assert list(tmp_path.iterdir()) == []

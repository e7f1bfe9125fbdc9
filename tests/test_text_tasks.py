"""Tasks for models of Transformers, on models of a few thousand random weights."""

import math
from pathlib import Path

import pytest
import torch

from ayni.task import Task
from ayni.text_tasks import Perplexity, SentenceFidelity, TextTaskError
from ayni.train.local import batches

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

WORDS = [f"w{number}" for number in range(30)]


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[PAD]": 0, "[UNK]": 1, **{word: place + 2 for place, word in enumerate(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpt")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=32,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
    )
    transformers.BertModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def write_text(file: Path, num_lines: int) -> Path:
    lines = [" ".join(WORDS[(line * 7 + word * 3) % 30] for word in range(8)) for line in range(num_lines)]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_model_without_knowledge_is_as_perplexed_as_its_vocabulary_is_large(
    language_model: Path, tmp_path: Path
) -> None:
    task = Perplexity(language_model, write_text(tmp_path / "t.txt", 60), block_tokens=16)
    model = task.build_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()

    metrics = task.evaluate(model, batches(task.dataset("test"), 4))

    assert isinstance(task, Task)
    assert metrics == pytest.approx({"perplexity": 32.0, "bits_per_token": 5.0})


def test_perplexity_is_that_of_the_loss(language_model: Path, tmp_path: Path) -> None:
    task = Perplexity(language_model, write_text(tmp_path / "t.txt", 60), block_tokens=16)
    model = task.build_model()
    blocks = torch.stack(task.dataset("validation"))

    expected = math.exp(float(task.loss(model, blocks).detach()))

    assert task.evaluate(model, [blocks])["perplexity"] == pytest.approx(expected, rel=1e-5)
    assert task.example_input().shape == (1, 16)


def test_splits_share_no_block(language_model: Path, tmp_path: Path) -> None:
    task = Perplexity(language_model, write_text(tmp_path / "t.txt", 60), block_tokens=16, max_blocks=5)
    ids = {split: [id(block) for block in task.dataset(split)] for split in ("train", "validation", "test")}

    assert [len(found) for found in ids.values()] == [5, 5, 5]
    assert len({one for found in ids.values() for one in found}) == 15


def test_an_encoder_is_faithful_to_itself_and_a_spoiled_one_is_not(encoder: Path, tmp_path: Path) -> None:
    task = SentenceFidelity(encoder, write_text(tmp_path / "t.txt", 40), max_tokens=10)
    model = task.build_model()
    examples = task.dataset("test")

    same = task.evaluate(model, batches(examples, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    spoiled = task.evaluate(model, batches(examples, 3))

    assert isinstance(task, Task)
    assert same == pytest.approx({"fidelity": 1.0, "same_neighbour": 1.0}, abs=1e-5)
    assert spoiled["fidelity"] < 0.9
    loss = task.loss(task.build_model(), next(iter(batches(examples, 3))))
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-5)


def test_what_cannot_be_used_is_named(language_model: Path, encoder: Path, tmp_path: Path) -> None:
    text = write_text(tmp_path / "t.txt", 4)
    with pytest.raises(TextTaskError, match=r"has no config\.json"):
        Perplexity(tmp_path, text).build_model()
    with pytest.raises(TextTaskError, match="makes 2 blocks of 16; ten are needed"):
        Perplexity(language_model, text, block_tokens=16).dataset("train")
    with pytest.raises(TextTaskError, match="has 4 sentences"):
        SentenceFidelity(encoder, text).dataset("train")
    with pytest.raises(TextTaskError, match="cannot be read"):
        SentenceFidelity(encoder, tmp_path / "absent.txt").dataset("train")

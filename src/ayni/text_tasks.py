"""Tasks for text models that are there already: a folder of Hugging Face Transformers and a text of yours.

    Perplexity         a language model: how well it foresees the text
    SentenceFidelity   an encoder: how near a variant's embeddings stay to the model's own

Both are complete tasks, so that compression, distillation and recovery work with them; a task of your own is
better wherever you know what the model is for. `build_model` gives the model with its weights: what is
trained or compressed begins there. Nothing is downloaded, and no code of a model's folder is run.

The text is cut into runs of neighbouring blocks for each split, so that no sentence is in two of them.

Not covered: models that need their own code (`trust_remote_code`), images or sound.

Shapes: N examples, T tokens, V words of the vocabulary, D elements of an embedding.
"""

import contextlib
import copy
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ayni.errors import MissingExtraError, UserError

if TYPE_CHECKING:
    import torch
    from torch import nn

TextSource = str | Path | Callable[[], str]
# Shares of the blocks; the first is for calibration and training.
_SHARES = {"train": (0.0, 0.6), "validation": (0.6, 0.8), "test": (0.8, 1.0)}


class TextTaskError(UserError):
    """The model's folder or the text cannot be used."""


class Perplexity:
    """Perplexity of a causal language model on a text; lower is better.

        perplexity = exp(mean over predicted tokens of -ln p(token | those before it in its block))

    Args:
        model_folder: With config.json, weights and tokenizer, as `save_pretrained` writes it.
        text_file: Plain text in UTF-8, or a function that gives the text; at least ten blocks long.
        block_tokens: Tokens that the model sees at once; the first of each block is not predicted.
        max_blocks: Of each split, evenly spaced, so that evaluation takes a known time.
        gguf_file: Name of a GGUF file in the folder that has weights and tokenizer.
    """

    def __init__(
        self,
        model_folder: str | Path,
        text_file: TextSource,
        *,
        block_tokens: int = 256,
        max_blocks: int = 24,
        gguf_file: str | None = None,
    ) -> None:
        self._folder, self._text_file = Path(model_folder), text_file
        self._block_tokens, self._max_blocks = block_tokens, max_blocks
        self._more = {} if gguf_file is None else {"gguf_file": gguf_file}

    def build_model(self) -> "nn.Module":
        """The model with its weights, as float32; called with token ids [N, T] it gives logits [N, T, V]."""
        transformers = _import_transformers()
        loaded = _load(transformers.AutoModelForCausalLM, self._folder, self._more)
        wrapped: nn.Module = _make_wrapper("LogitsOnly")(loaded)
        return wrapped

    def dataset(self, split: str) -> list["torch.Tensor"]:
        """Blocks of token ids, int64 [T]."""
        first, last = _SHARES[split]
        blocks = self._blocks
        return _spread(blocks[round(first * len(blocks)) : round(last * len(blocks))], self._max_blocks)

    def loss(self, model: Any, batch: "torch.Tensor") -> "torch.Tensor":
        """Mean over the predicted tokens, in nats."""
        from torch.nn import functional

        logits = model(batch)
        return functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten())

    def evaluate(self, model: Any, batches: Iterable["torch.Tensor"]) -> Mapping[str, float]:
        """Perplexity over all blocks, and the same as bits a token."""
        import torch

        sum_nats, num_tokens = 0.0, 0
        with torch.no_grad():
            for batch in batches:
                # Block by block: logits of a batch of 128 blocks would take gigabytes.
                for block in torch.split(batch, 1):
                    predicted = block.numel() - len(block)
                    sum_nats += float(self.loss(model, block)) * predicted
                    num_tokens += predicted
        nats = sum_nats / max(num_tokens, 1)
        return {"perplexity": math.exp(min(nats, 700.0)), "bits_per_token": nats / math.log(2)}

    def example_input(self) -> "torch.Tensor":
        """The first block, int64 [1, T]."""
        return self._blocks[0][None]

    @cached_property
    def _blocks(self) -> list["torch.Tensor"]:
        import torch

        tokenizer = _tokenizer(self._folder, self._more)
        ids = torch.tensor(tokenizer(_read(self._text_file), verbose=False)["input_ids"])
        blocks = list(ids[: len(ids) // self._block_tokens * self._block_tokens].view(-1, self._block_tokens))
        if len(blocks) < 10:
            raise TextTaskError(
                f"{_named(self._text_file)} has {len(ids)} tokens, which makes {len(blocks)} blocks of "
                f"{self._block_tokens}; ten are needed to keep calibration and evaluation apart. Give a "
                "longer text or smaller block_tokens."
            )
        return blocks


class SentenceFidelity:
    """How near a variant of a sentence encoder stays to the encoder itself.

        fidelity        mean cosine between the embeddings of the variant and of the model
        same_neighbour  share of sentences whose nearest other sentence is the same one

    The embedding is the mean of the last hidden states of a sentence's tokens, with length 1.

    Args:
        model_folder: With config.json, weights and tokenizer, as `save_pretrained` writes it.
        text_file: One sentence a line, UTF-8, or a function that gives the text; at least 30.
        max_tokens: Sentences are cut and padded to so many.
        max_sentences: Of each split, evenly spaced.
    """

    def __init__(
        self,
        model_folder: str | Path,
        text_file: TextSource,
        *,
        max_tokens: int = 128,
        max_sentences: int = 256,
    ) -> None:
        self._folder, self._text_file = Path(model_folder), text_file
        self._max_tokens, self._max_sentences = max_tokens, max_sentences

    def build_model(self) -> "nn.Module":
        """The encoder with its weights: model(input_ids [N, T], attention_mask [N, T]) gives [N, D]."""
        transformers = _import_transformers()
        wrapped: nn.Module = _make_wrapper("MeanPooled")(_load(transformers.AutoModel, self._folder, {}))
        return wrapped

    def dataset(self, split: str) -> list[tuple["torch.Tensor", "torch.Tensor"]]:
        """Pairs of token ids and attention mask, int64 [T] each."""
        first, last = _SHARES[split]
        pairs = self._pairs
        return _spread(pairs[round(first * len(pairs)) : round(last * len(pairs))], self._max_sentences)

    def loss(self, model: Any, batch: tuple["torch.Tensor", "torch.Tensor"]) -> "torch.Tensor":
        """1 - fidelity."""
        from torch.nn import functional

        input_ids, mask = batch
        similarity = functional.cosine_similarity(model(input_ids, mask), self._of_full(input_ids, mask))
        return 1 - similarity.mean()

    def evaluate(
        self, model: Any, batches: Iterable[tuple["torch.Tensor", "torch.Tensor"]]
    ) -> Mapping[str, float]:
        """Fidelity first."""
        import torch
        from torch.nn import functional

        found, wanted = [], []
        with torch.no_grad():
            for input_ids, mask in batches:
                found.append(model(input_ids, mask))
                wanted.append(self._of_full(input_ids, mask))
        if not found:
            return {}
        found_ND, wanted_ND = torch.cat(found), torch.cat(wanted)
        same = _neighbours(found_ND) == _neighbours(wanted_ND)
        return {
            "fidelity": float(functional.cosine_similarity(found_ND, wanted_ND).mean()),
            "same_neighbour": float(same.float().mean()),
        }

    def example_input(self) -> "torch.Tensor":
        """Token ids of the first sentence; the model takes its attention mask too."""
        return self._pairs[0][0][None]

    @cached_property
    def _pairs(self) -> list[tuple["torch.Tensor", "torch.Tensor"]]:
        sentences = [line.strip() for line in _read(self._text_file).splitlines() if line.strip()]
        if len(sentences) < 30:
            raise TextTaskError(
                f"{_named(self._text_file)} has {len(sentences)} sentences, one a line, and 30 are needed to "
                "keep calibration and evaluation apart."
            )
        tokens = _tokenizer(self._folder, {})(
            sentences, padding="max_length", truncation=True, max_length=self._max_tokens, return_tensors="pt"
        )
        return list(zip(tokens["input_ids"], tokens["attention_mask"], strict=True))

    @cached_property
    def _full(self) -> "nn.Module":
        return self.build_model().eval()

    @cached_property
    def _known(self) -> dict[bytes, "torch.Tensor"]:
        return {}

    def _of_full(self, input_ids_NT: "torch.Tensor", mask_NT: "torch.Tensor") -> "torch.Tensor":
        """What the model itself says, [N, D]; each sentence is asked once."""
        import torch

        keys = [row.cpu().numpy().tobytes() for row in input_ids_NT]
        missing = [place for place, key in enumerate(keys) if key not in self._known]
        if missing:
            with torch.no_grad():
                answers = self._full(input_ids_NT[missing].cpu(), mask_NT[missing].cpu())
            self._known.update(zip([keys[place] for place in missing], answers, strict=True))
        return torch.stack([self._known[key] for key in keys]).to(input_ids_NT.device)


def _neighbours(embeddings_ND: "torch.Tensor") -> "torch.Tensor":
    """Index of the nearest other row by cosine, [N]."""
    from torch.nn import functional

    unit_ND = functional.normalize(embeddings_ND, dim=-1)
    similarity_NN = unit_ND @ unit_ND.T
    return similarity_NN.fill_diagonal_(-2.0).argmax(dim=1)


def _make_wrapper(name: str) -> Any:
    """A wrapper that gives one tensor; made here, because torch is not imported with this module."""
    from ayni import text_modules

    return getattr(text_modules, name)


def _load(auto_class: Any, folder: Path, more: Mapping[str, Any]) -> Any:
    if not (folder / "config.json").is_file() and not more:
        raise TextTaskError(
            f"{folder} is no model of Transformers: it has no config.json. Save one with save_pretrained()."
        )
    try:
        with _without_progress_bars():
            model = auto_class.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **_unpacked(more), **more
            )
    except (OSError, ValueError, ImportError) as error:
        raise TextTaskError(f"Transformers cannot load the model in {folder}: {error}") from error
    return (_plain(model) if more else model.float()).eval()


def _unpacked(more: Mapping[str, Any]) -> dict[str, Any]:
    """What makes Transformers give the weights of a GGUF file as 32-bit floats."""
    if not more:
        return {}
    import torch

    options: dict[str, Any] = {"dtype": torch.float32}
    transformers = _import_transformers()
    if hasattr(transformers, "GgufConfig"):  # Since 5.20; without it packed weights would stay packed.
        options["quantization_config"] = transformers.GgufConfig(dequantize=True)
    return options


def _plain(loaded: Any) -> Any:
    """The same model without the marks of its origin, for which Transformers refuses to convert it."""
    config = copy.deepcopy(loaded.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = type(loaded)(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.tie_weights()
    return model


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Transformers draws a bar over each loading of weights, through whatever is on the terminal."""
    logging = _import_transformers().utils.logging
    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        # GGUF files have a bar of their own, which nothing else switches off.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        if was_on:
            logging.enable_progress_bar()


def _tokenizer(folder: Path, more: Mapping[str, Any]) -> Any:
    transformers = _import_transformers()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, **more)
    except (OSError, ValueError, ImportError) as error:
        raise TextTaskError(f"Transformers cannot load the tokenizer in {folder}: {error}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _named(file: TextSource) -> str:
    return "The text" if callable(file) else str(file)


def _read(file: TextSource) -> str:
    if callable(file):
        return file()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TextTaskError(f"The text {file} cannot be read: {error}.") from error


def _spread(items: list[Any], most: int) -> list[Any]:
    """At most so many, evenly spaced."""
    count = min(len(items), most)
    return [items[index * len(items) // count] for index in range(count)]


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(extra="adapters", package="transformers") from error
    return transformers

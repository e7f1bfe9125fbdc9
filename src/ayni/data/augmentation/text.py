"""Views of texts: words left out or exchanged with a neighbour, characters misspelt; and of rows of tokens.

A word is what blanks separate. Texts without blanks (Chinese) are taken character by character, so that
leaving out and exchanging work on characters there.

Legend: N rows, T tokens.

Not covered: synonyms and translation there and back, which need models.
"""

from collections.abc import Sequence

import numpy as np
import torch

from ayni.data.augmentation.images import AugmentationInputError
from ayni.data.augmentation.operations import DropWords, SwapWords, TypoNoise
from ayni.data.augmentation.policy import Policy


def augment_texts(texts: Sequence[str], policy: Policy, *, rng: np.random.Generator) -> list[str]:
    """One view of each text; blanks between words become one blank where a word is left out or moved.

    Raises:
        AugmentationInputError: the policy is for other data.
    """
    _check(policy)
    return [_view(text, policy, rng) for text in texts]


def augment_tokens(
    tokens_NT: torch.Tensor, policy: Policy, *, pad_token: int, generator: torch.Generator
) -> torch.Tensor:
    """One view of each row of token numbers: left out ones close up, and `pad_token` fills the end.

    Padding at the end of a row stays where it is. Rows stay as long as they are.

    Raises:
        AugmentationInputError: not whole numbers [N, T], a policy for other data, or one that misspells.
    """
    _check(policy)
    if tokens_NT.ndim != 2 or tokens_NT.is_floating_point():
        raise AugmentationInputError(
            f"Tokens are expected as whole numbers [N, T]; not {tokens_NT.dtype} {tuple(tokens_NT.shape)}."
        )
    seen = tokens_NT.clone()
    for operation in policy.operations:
        is_word_NT = (seen != pad_token).to("cpu")
        drawn_NT = torch.rand(seen.shape, generator=generator)
        if isinstance(operation, DropWords):
            dropped_NT = (drawn_NT < operation.rate) & is_word_NT
            # The word with the highest draw stays where all would go.
            dropped_NT &= ~(dropped_NT.sum(1) == is_word_NT.sum(1))[:, None] | (
                drawn_NT < drawn_NT.masked_fill(~is_word_NT, -1).amax(1, keepdim=True)
            )
            order_NT = torch.sort(dropped_NT.to(torch.uint8), dim=1, stable=True).indices.to(seen.device)
            num_kept_N1 = seen.shape[1] - dropped_NT.sum(1, keepdim=True).to(seen.device)
            seen = seen.gather(1, order_NT)
            seen[torch.arange(seen.shape[1], device=seen.device) >= num_kept_N1] = pad_token
        elif isinstance(operation, SwapWords):
            swapped_NT = (drawn_NT < operation.rate) & is_word_NT
            swapped_NT[:, :-1] &= is_word_NT[:, 1:]
            swapped_NT[:, -1:] = False
            swapped_NT[:, 1:] &= ~swapped_NT[:, :-1]  # a word takes part in one exchange
            order_NT = torch.arange(seen.shape[1]).repeat(len(seen), 1)
            order_NT += swapped_NT.to(torch.int64)
            order_NT[:, 1:] -= swapped_NT[:, :-1].to(torch.int64)
            seen = seen.gather(1, order_NT.to(seen.device))
        else:
            raise AugmentationInputError("Token numbers have no characters: `typos` is for texts alone.")
    return seen


def _view(text: str, policy: Policy, rng: np.random.Generator) -> str:
    for operation in policy.operations:
        if isinstance(operation, TypoNoise):
            text = _misspelt(text, operation.rate, rng)
            continue
        separator = " " if " " in text.strip() else ""
        words = text.split() if separator else list(text)
        if len(words) < 2:
            continue
        if isinstance(operation, DropWords):
            kept = rng.random(len(words)) >= operation.rate
            kept[rng.integers(len(words))] |= not kept.any()
            words = [word for word, is_kept in zip(words, kept.tolist(), strict=True) if is_kept]
        elif isinstance(operation, SwapWords):
            position = 0
            while position < len(words) - 1:
                if rng.random() < operation.rate:
                    words[position : position + 2] = words[position + 1], words[position]
                    position += 1  # a word takes part in one exchange
                position += 1
        text = separator.join(words)
    return text


def _misspelt(text: str, rate: float, rng: np.random.Generator) -> str:
    """Each character may be left out, doubled, exchanged with the next, or become another of the text."""
    characters, out = list(text), []
    position = 0
    while position < len(characters):
        here = characters[position]
        if rng.random() >= rate or here.isspace():
            out.append(here)
        else:
            kind = int(rng.integers(4))
            if kind == 1:
                out += [here, here]
            elif kind == 2 and position + 1 < len(characters):
                out += [characters[position + 1], here]
                position += 1
            elif kind == 3:
                out.append(characters[int(rng.integers(len(characters)))])
        position += 1
    return "".join(out) or text


def _check(policy: Policy) -> None:
    if policy.kind != "text":
        raise AugmentationInputError(f"The policy {policy.name} is for {policy.kind}, not for texts.")

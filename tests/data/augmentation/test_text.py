"""Views of texts and of rows of tokens."""

import numpy as np
import pytest
import torch

from ayni.data.augmentation.images import AugmentationInputError
from ayni.data.augmentation.operations import DropWords, SwapWords, TypoNoise
from ayni.data.augmentation.policy import Policy, named_policy
from ayni.data.augmentation.text import augment_texts, augment_tokens

TEXT = " ".join(f"w{number}" for number in range(1000))


def only(operation: DropWords | SwapWords | TypoNoise) -> Policy:
    return Policy(name="one", operations=(operation,))


def test_words_are_left_out_in_order_at_their_rate() -> None:
    (view,) = augment_texts([TEXT], only(DropWords(rate=0.2)), rng=np.random.default_rng(0))

    words = view.split()
    assert 750 < len(words) < 850
    assert words == [word for word in TEXT.split() if word in set(words)]


def test_neighbours_change_places_and_no_word_is_lost() -> None:
    (view,) = augment_texts([TEXT], only(SwapWords(rate=0.3)), rng=np.random.default_rng(0))

    numbers = [int(word[1:]) for word in view.split()]
    moved = np.array(numbers) - np.arange(1000)
    assert sorted(numbers) == list(range(1000))
    assert set(moved.tolist()) == {-1, 0, 1}


def test_at_least_one_word_stays_and_single_words_are_left_alone() -> None:
    views = augment_texts(["a b", "alone", ""], only(DropWords(rate=1.0)), rng=np.random.default_rng(0))

    assert views[0] in ("a", "b")
    assert views[1] in "alone"
    assert views[2] == ""


def test_chinese_text_is_taken_character_by_character() -> None:
    text = "\u5473\u9053\u5f88\u597d\u9001\u9910\u5feb" * 20

    (view,) = augment_texts([text], only(DropWords(rate=0.2)), rng=np.random.default_rng(0))

    assert 80 < len(view) < 135
    assert " " not in view


def test_misspellings_change_about_their_rate_of_characters() -> None:
    text = "abcdefghij" * 200

    (view,) = augment_texts([text], only(TypoNoise(rate=0.05)), rng=np.random.default_rng(0))

    assert view != text
    assert 1950 < len(view) < 2050
    assert set(view) <= set(text)


def test_tokens_close_up_and_padding_stays_at_the_end() -> None:
    tokens = torch.tensor([[5, 6, 7, 8, 0, 0]] * 500)

    views = augment_tokens(
        tokens, only(DropWords(rate=0.5)), pad_token=0, generator=torch.Generator().manual_seed(0)
    )

    lengths = (views != 0).sum(1)
    assert lengths.min() >= 1
    assert lengths.float().mean().item() == pytest.approx(2.06, abs=0.15)  # 2, and 1 where none would stay
    for row in views.tolist():
        kept = [token for token in row if token]
        assert row == kept + [0] * (6 - len(kept))
        assert kept == sorted(kept)


def test_swapped_tokens_are_neighbours_and_padding_takes_no_part() -> None:
    tokens = torch.tensor([[5, 6, 7, 8, 0, 0]] * 300)

    views = augment_tokens(
        tokens, only(SwapWords(rate=0.5)), pad_token=0, generator=torch.Generator().manual_seed(0)
    )

    assert (views[:, 4:] == 0).all()
    assert torch.equal(views.sort(1).values, tokens.sort(1).values)
    assert (views - tokens)[:, :4].abs().max() == 1
    assert not torch.equal(views, tokens)


@pytest.mark.parametrize(
    ("tokens", "policy", "message"),
    [
        (torch.zeros(2, 3), "words", "whole numbers"),
        (torch.zeros(2, 3, dtype=torch.int64), "typos", "no characters"),
        (torch.zeros(2, 3, dtype=torch.int64), "digits", "for images"),
    ],
)
def test_what_is_no_row_of_tokens_is_refused(tokens: torch.Tensor, policy: str, message: str) -> None:
    with pytest.raises(AugmentationInputError, match=message):
        augment_tokens(tokens, named_policy(policy), pad_token=0, generator=torch.Generator())

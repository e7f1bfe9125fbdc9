"""Why a variant answers otherwise: close calls, or parts that it lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ayni.explain.captum_methods import ablation, integrated_gradients
from ayni.explain.changes import Reasons, compare_reasons, contrast, describe_change
from ayni.explain.explaining import explain
from ayni.explain.explanation import CompressionChange, ExplainResult
from ayni.explain.parts import Parts


def margins(*values: float) -> torch.Tensor:
    """Logits [N, 3] whose largest leads the second by these values."""
    return torch.tensor([[value, 0.0, -1.0] for value in values])


def differs(*rows: int, count: int) -> torch.Tensor:
    return torch.isin(torch.arange(count), torch.tensor(rows))


def test_flips_of_small_margins_are_called_close_calls() -> None:
    found = describe_change(margins(0.1, 5.0, 6.0, 0.3, 7.0), differs(0, 3, count=5), Reasons())

    assert (found.num_agreements, found.num_disagreements) == (3, 2)
    assert found.margin_agreements == pytest.approx(6.0)
    assert found.margin_disagreements == pytest.approx(0.2)
    assert found.closer_probability == 1.0
    assert "were close calls" in found.reasons[0]


def test_flips_of_large_margins_are_no_close_calls() -> None:
    found = describe_change(
        margins(9.0, 5.0, 6.0, 1.0), differs(0, count=4), Reasons(kept_for=0.1, kept_against=1.0)
    )

    assert found.closer_probability == 0.0
    assert "no close calls" in found.reasons[0]
    assert "has 10% of its weight left" in found.reasons[1]


def test_what_speaks_for_the_other_answer_in_the_variant_has_turned() -> None:
    found = describe_change(
        margins(1.0, 5.0), differs(0, count=2), Reasons(kept_for=-0.32, kept_against=0.66)
    )

    assert "has none of its weight (it turned: -32%) left in the variant" in found.reasons[1]
    assert "66% of its weight" in found.reasons[1]


def test_ties_of_margins_count_half() -> None:
    found = describe_change(margins(2.0, 2.0, 1.0, 3.0), differs(0, count=4), Reasons())

    assert found.closer_probability == pytest.approx((0.5 + 0 + 1) / 3)


def test_without_flips_there_is_nothing_to_tell() -> None:
    found = describe_change(margins(2.0, 3.0), differs(count=2), Reasons())

    assert found.reasons == []
    assert found.margin_disagreements is found.closer_probability is None


def test_with_nothing_but_flips_there_is_nothing_to_compare_with() -> None:
    found = describe_change(margins(2.0, 4.0), differs(0, 1, count=2), Reasons())

    assert found.margin_agreements is found.closer_probability is None
    assert "No answer is the same; the full model's mean margin is 3.00" in found.reasons[0]


def test_a_logit_that_is_not_finite_is_left_out_of_the_means() -> None:
    found = describe_change(margins(2.0, float("inf"), 1.0), differs(2, count=3), Reasons())

    assert found.margin_agreements == pytest.approx(2.0)


def linear(weight: torch.Tensor) -> nn.Module:
    model = nn.Linear(weight.shape[1], len(weight), bias=False)
    with torch.no_grad():
        model.weight.copy_(weight)
    return model.eval()


def test_the_contrast_is_of_the_logit_of_one_class_minus_that_of_the_other() -> None:
    weight = torch.tensor([[1.0, 0.0, 2.0], [0.0, 3.0, 2.0]])
    model, x = linear(weight), torch.tensor([[1.0, 2.0, 5.0]])
    method = integrated_gradients(model, x)

    found = contrast(method, model, x, torch.tensor([0]), torch.tensor([1]))

    # The third number speaks for both, so it decided nothing.
    torch.testing.assert_close(found, torch.tensor([[1.0, -6.0, 0.0]]))


def test_a_variant_without_gradients_is_compared_by_ablation() -> None:
    weight = torch.tensor([[1.0, 0.0, 2.0, 3.0], [0.0, 3.0, 2.0, 1.0]])
    x = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    model, ours, theirs = linear(weight), torch.zeros(6, dtype=torch.int64), torch.ones(6, dtype=torch.int64)
    parts = Parts(inputs=x, reference=0)

    @torch.inference_mode()
    def halved(inputs: torch.Tensor) -> torch.Tensor:
        return inputs @ weight.T / 2

    @torch.inference_mode()
    def turned(inputs: torch.Tensor) -> torch.Tensor:
        return -inputs @ weight.T

    found = compare_reasons(model, halved, parts, ours, theirs)
    assert (found.correlation, found.kept_for, found.kept_against) == pytest.approx((1.0, 0.5, 0.5))
    found = compare_reasons(model, turned, parts, ours, theirs)
    assert (found.correlation, found.kept_for, found.kept_against) == pytest.approx((-1.0, -1.0, -1.0))


def test_inputs_of_too_many_parts_are_not_compared_by_ablation() -> None:
    x = torch.rand(4, 5000)
    assert ablation(linear(torch.rand(2, 5000)), x[:1]).passes > 5000

    answers = torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64)
    model = linear(torch.rand(2, 5000))

    assert compare_reasons(model, model, Parts(inputs=x, reference=0), *answers) == Reasons()


class Halves:
    """Images of 4 x 8: is the left half brighter (0), or the right one (1)?"""

    def build_model(self) -> nn.Module:
        sides = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).repeat(4)
        return nn.Sequential(nn.Flatten(), linear(4 * torch.stack([sides, 1 - sides])))

    def dataset(self, split: str) -> list[Any]:
        images = torch.rand(60, 1, 4, 8, generator=torch.Generator().manual_seed(0))
        images[::2, ..., :4] *= 0.4
        return [(image, int(image[..., 4:].sum() > image[..., :4].sum())) for image in images]


def test_of_a_variant_that_lost_half_of_the_picture_the_flips_show_that_half(tmp_path: Path) -> None:
    task: Any = Halves()
    full = task.build_model()

    def blind_on_the_right(images: torch.Tensor) -> torch.Tensor:
        seen = images.clone()
        seen[..., 4:] = 0
        with torch.no_grad():
            return full(seen)  # type: ignore[no-any-return]

    result = explain(task, full, variant=blind_on_the_right, num_samples=4, seed=0, folder=tmp_path)

    assert result.changed is not None
    assert result.changed.num_disagreements == result.num_disagreements
    assert result.changed.closer_probability is not None
    assert result.changed.closer_probability < 0.6
    # The right half spoke for the full model's answer: nothing is left of it, and all that spoke against.
    assert result.changed.kept_for == pytest.approx(0.0, abs=1e-6)
    assert result.changed.kept_against == pytest.approx(1.0, abs=1e-4)
    assert "no close calls" in result.changed.reasons[0]
    for item in result.items:
        if item.kind == "sample":
            assert item.change_image is None
        else:
            assert (tmp_path / str(item.change_image)).read_bytes().startswith(b"\x89PNG")
    assert ExplainResult.from_json(result.to_json()) == result


def test_of_a_variant_that_rounds_its_weights_the_flips_are_close_calls(tmp_path: Path) -> None:
    task: Any = Halves()
    full = task.build_model()
    rounded = task.build_model()
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        rounded[1].weight += 0.8 * torch.randn(rounded[1].weight.shape, generator=noise)

    result = explain(task, full, variant=rounded, num_samples=4, seed=0, folder=tmp_path)

    assert result.changed is not None
    assert result.changed.num_disagreements > 0
    assert "were close calls" in result.changed.reasons[0]
    assert CompressionChange.from_json(result.changed.to_json()) == result.changed


def test_of_a_text_and_of_a_row_the_flip_has_one_number_for_each_part_that_is_shown(tmp_path: Path) -> None:
    class Rows(Halves):
        def dataset(self, split: str) -> list[Any]:
            return [(image.flatten(), label) for image, label in super().dataset(split)]

    task: Any = Rows()
    model = task.build_model()

    result = explain(
        task, model, variant=lambda x: -model(x).detach(), num_samples=1, seed=0, folder=tmp_path
    )

    sample, disagreement = result.items
    assert sample.change_values is None
    assert disagreement.features is not None
    assert disagreement.change_values is not None
    # Of two classes what speaks for one speaks against the other: twice the attribution on the deciding side.
    assert np.sign(disagreement.change_values).tolist() == [
        np.sign(feature.attribution) for feature in disagreement.features
    ]

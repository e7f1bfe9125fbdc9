"""A map that explains nothing is marked: on small models trained on real images."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ayni.explain.attribution import Attributed, Method
from ayni.explain.captum_methods import ablation, integrated_gradients
from ayni.explain.explanation import SanityChecks
from ayni.explain.parts import Parts
from ayni.explain.sanity import Effort, check_attributions, rank_correlation, reinitialised


def small_cnn(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 10),
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> tuple[nn.Module, torch.Tensor]:
    """A convolutional network trained on 1,300 digits, and 64 that it never saw."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    y = torch.tensor(labels)
    model = small_cnn(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(300):
        rows = torch.arange(step * 64, step * 64 + 64) % 1300
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    assert (model(x[1300:]).argmax(1) == y[1300:]).float().mean() > 0.85
    return model, x[1300:1364]


Map = Callable[[nn.Module, torch.Tensor, torch.Tensor], torch.Tensor]


def map_of(attribute: Map) -> Method:
    """A map that promises no sum."""
    return replace(ablation(nn.Linear(1, 2), torch.ones(1, 1)), attribute=attribute)


INTEGRATED = integrated_gradients(nn.Linear(1, 2), torch.ones(1, 1))


def checks_of(
    model: nn.Module, inputs: torch.Tensor, method: Method, values: torch.Tensor | None = None
) -> SanityChecks:
    classes = model(inputs).argmax(1)
    attributed = Attributed(
        parts=Parts(inputs=inputs, reference=0),
        values=method.attribute(model, inputs, classes) if values is None else values,
        classes=classes,
        method=method,
    )
    return check_attributions(model, attributed, effort=Effort(), rng=np.random.default_rng(0))


def test_integrated_gradients_of_a_trained_model_are_faithful(
    digits: tuple[nn.Module, torch.Tensor],
) -> None:
    found = checks_of(*digits, INTEGRATED)

    assert found.verdict == "faithful"
    assert found.deletion.area_attributed < found.deletion.area_random - 0.1
    assert found.insertion.area_attributed > found.insertion.area_random + 0.1
    assert found.randomisation_correlation is not None
    assert abs(found.randomisation_correlation) < 0.25
    assert found.completeness_error is not None
    assert found.completeness_error < 0.05
    assert len(found.reasons) == 4


@pytest.mark.parametrize("seed", range(5))
def test_a_random_map_is_marked(digits: tuple[nn.Module, torch.Tensor], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    found = checks_of(*digits, map_of(lambda _, x, classes: torch.randn(x.shape, generator=generator)))

    assert found.verdict != "faithful"
    assert sum("not enough" in reason for reason in found.reasons) == 2


def test_the_map_of_an_untrained_model_is_marked(digits: tuple[nn.Module, torch.Tensor]) -> None:
    model, inputs = digits
    classes = model(inputs).argmax(1)

    found = checks_of(model, inputs, INTEGRATED, values=INTEGRATED.attribute(small_cnn(1), inputs, classes))

    assert found.verdict != "faithful"


@pytest.mark.parametrize("seed", range(3))
def test_a_model_that_learned_nothing_has_no_decision_to_explain(
    digits: tuple[nn.Module, torch.Tensor], seed: int
) -> None:
    found = checks_of(small_cnn(seed), digits[1], INTEGRATED)

    assert found.verdict != "faithful"


def test_a_map_that_is_the_picture_itself_does_not_tell_what_was_learned(
    digits: tuple[nn.Module, torch.Tensor],
) -> None:
    # Bright strokes matter, so that both curves are better than random; still, it knows no model.
    found = checks_of(*digits, map_of(lambda _, x, classes: x))

    assert found.randomisation_correlation == pytest.approx(1.0)
    assert found.verdict == "not faithful"
    assert any("does not tell what was learned" in reason for reason in found.reasons)


def test_a_sum_that_is_off_makes_it_unsure(digits: tuple[nn.Module, torch.Tensor]) -> None:
    model, inputs = digits
    values = INTEGRATED.attribute(model, inputs, model(inputs).argmax(1))

    found = checks_of(model, inputs, INTEGRATED, values=1.5 * values)

    assert found.verdict == "unsure"
    assert found.completeness_error == pytest.approx(0.5, abs=0.02)


def test_one_example_is_too_few(digits: tuple[nn.Module, torch.Tensor]) -> None:
    found = checks_of(digits[0], digits[1][:1], INTEGRATED)

    assert found.verdict == "unsure"
    assert "1 examples are too few" in found.reasons[-1]


class NoParameters(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2]


def test_a_model_that_learned_no_parameters_cannot_forget_and_that_is_noted() -> None:
    found = checks_of(NoParameters(), torch.rand(20, 6), INTEGRATED)

    assert found.randomisation_correlation is None
    assert "no parameters that can be drawn anew" in found.notes[0]


def test_a_re_initialised_model_forgets_parameters_of_its_own_too_and_statistics() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([1.0, 5.0, 9.0]))
            self.norm = nn.BatchNorm1d(3)
            self.norm.running_mean = torch.tensor([4.0, 4.0, 4.0])

    model = Own()
    forgot = reinitialised(model, seed=0)

    assert not torch.equal(forgot.scale, model.scale)  # type: ignore[arg-type]
    assert forgot.norm.running_mean.tolist() == [0, 0, 0]  # type: ignore[union-attr, operator]
    assert model.scale.tolist() == [1, 5, 9]
    assert model.norm.running_mean.tolist() == [4, 4, 4]
    assert torch.equal(reinitialised(model, seed=0).scale, forgot.scale)  # type: ignore[arg-type]


def test_the_correlation_has_signs_and_looks_past_blank_parts() -> None:
    inputs = torch.tensor([[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    first = torch.tensor([[3.0, 1.0, -2.0, 0.0, 0.0, 0.0]])

    parts = Parts(inputs=inputs, reference=0)

    assert rank_correlation(parts, first, -first) == pytest.approx(-1.0)
    assert rank_correlation(parts, first, 0 * first) is None

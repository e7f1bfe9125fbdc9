"""Each layer is visited once, on what the changed layers before it compute."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.inputs import ModelInputs
from ayni.compress.weights.layer_walk import visit_layers
from ayni.compress.weights.layers import matrix_layers, weight_OI
from ayni.compress.weights.statistics import CalibrationError, InputStatistics
from ayni.compress.weights.survey import survey_layers


class Attention(nn.Module):
    """Query, key and value of one tensor, in the order of definition value first."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.value, self.query, self.key = (nn.Linear(4, 4, bias=False) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        answer: torch.Tensor = x + self.out(torch.softmax(query @ key.mT, -1) @ value)
        return answer


class Remembers(nn.Module):
    """What it was called with last decides what it does next, within one pass and between passes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        y = self.first(x)
        answer: torch.Tensor = self.second(y + self.seen)
        return answer


class Experts(nn.Module):
    """One of three, by the sign of the input; nobody needs the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))
        self.join = nn.Linear(2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.join(self.experts[int(x.mean() > 0)](x))
        return answer


def batches(*shape: int, num_batches: int = 3) -> list[ModelInputs]:
    generator = torch.Generator().manual_seed(0)
    return [ModelInputs((torch.randn(*shape, generator=generator),)) for _ in range(num_batches)]


def grams_when_doubled(
    model: nn.Module, inputs: Sequence[ModelInputs], order: Any = "auto"
) -> dict[str, torch.Tensor]:
    """Double each weight when it is visited, and remember what its layer was given then."""
    layers, grams = matrix_layers(model), {}

    def visit(names: tuple[str, ...], statistics: InputStatistics) -> None:
        for name in names:
            grams[name] = statistics.gram_GII.clone()
            weight_OI(layers[name]).mul_(2.0)

    visit_layers(model, inputs, layers, visit, order=order)
    return grams


def test_layers_are_given_the_answers_of_changed_layers() -> None:
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False))
    inputs = batches(5, 3)

    grams = grams_when_doubled(model, inputs)

    rows = torch.relu(torch.cat([batch.args[0] for batch in inputs]) @ model[0].weight.T).double()
    assert torch.allclose(grams["2"][0], (rows.T @ rows).detach(), rtol=1e-4)


@pytest.mark.parametrize("model", [Attention(), nn.Sequential(Attention(), Attention())], ids=["one", "two"])
def test_walking_and_starting_again_see_the_same(model: nn.Module) -> None:
    inputs = batches(2, 5, 4)
    state = {name: value.clone() for name, value in model.state_dict().items()}

    walked = grams_when_doubled(model, inputs, "walk")
    model.load_state_dict(state)
    restarted = grams_when_doubled(model, inputs, "restart")

    assert list(walked) == list(restarted)
    assert all(torch.allclose(walked[name], restarted[name], rtol=1e-6) for name in walked)


def test_layers_that_are_given_the_same_tensor_are_visited_together_in_the_order_of_calls() -> None:
    model = Attention()

    survey = survey_layers(model, batches(2, 5, 4), matrix_layers(model))

    assert survey.order == ("query", "key", "value", "out")
    assert dict(survey.groups) == {"query": ("query", "key", "value"), "out": ("out",)}


def test_a_tensor_that_was_changed_in_place_is_another_one() -> None:
    class InPlace(Attention):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            first = self.query(x)
            answer: torch.Tensor = first + self.key(x.mul_(2))
            return answer

    model = InPlace()

    assert dict(survey_layers(model, batches(2, 5, 4), matrix_layers(model)).groups) == {
        "query": ("query",),
        "key": ("key",),
    }


def test_a_layer_that_is_called_twice_has_the_rows_of_both_calls() -> None:
    layer = nn.Linear(3, 3, bias=False)
    model = nn.Sequential(layer, nn.Tanh(), layer)
    inputs = batches(4, 3)
    first = torch.cat([batch.args[0] for batch in inputs])
    second = torch.tanh(first @ layer.weight.detach().T)

    grams = grams_when_doubled(model, inputs)

    rows = torch.cat([first, second]).double()
    assert torch.allclose(grams["0"][0], rows.T @ rows, rtol=1e-4)


def test_a_model_that_keeps_state_does_not_mix_batches_up() -> None:
    model, inputs = Remembers(), batches(4, 3)
    given = torch.cat([batch.args[0] for batch in inputs])

    assert survey_layers(model, inputs, matrix_layers(model)).keeps_state
    grams = grams_when_doubled(model, inputs)

    rows = (given @ model.first.weight.T + given).double().detach()
    assert torch.allclose(grams["second"][0], rows.T @ rows, rtol=1e-4)


def test_a_model_without_state_walks() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(8, 2))

    assert not survey_layers(model.eval(), batches(3, 1, 4, 4), matrix_layers(model)).keeps_state


def test_experts_see_their_own_batches_and_those_that_nobody_reaches_are_named() -> None:
    model = Experts()
    low, high = torch.full((3, 2), -1.0), torch.full((2, 2), 1.0)
    num_rows: dict[str, int] = {}

    unseen = visit_layers(
        model,
        [ModelInputs((high,)), ModelInputs((low,)), ModelInputs((high,))],
        matrix_layers(model),
        lambda names, statistics: num_rows.update(dict.fromkeys(names, statistics.num_rows)),
    )

    assert num_rows == {"experts.1": 4, "experts.0": 3, "join": 7}
    assert unseen == ("experts.2",)


def test_a_failed_visit_puts_all_weights_back_and_ends_its_threads() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    num_threads = threading.active_count()

    def visit(names: tuple[str, ...], _: InputStatistics) -> None:
        with torch.no_grad():
            model.get_submodule(names[0]).weight.zero_()
        if names == ("2",):
            raise KeyError("visit failed")

    with pytest.raises(KeyError, match="visit failed"):
        visit_layers(model, batches(5, 3), matrix_layers(model), visit)

    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert threading.active_count() == num_threads
    assert model.training and not model[0]._forward_pre_hooks


def test_modes_gradients_threads_and_random_state_are_as_before() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(), nn.Linear(3, 3))
    model.train()
    model[1].eval()
    model[2].weight.requires_grad_(False)
    state, num_threads = torch.get_rng_state(), torch.get_num_threads()

    grams_when_doubled(model, batches(5, 3))

    assert [module.training for module in model.modules()] == [True, True, False, True]
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, False, True]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == num_threads and torch.is_grad_enabled()


def test_inputs_may_be_named_and_models_may_catch_exceptions() -> None:
    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, *, x: torch.Tensor) -> torch.Tensor:
            try:
                y: torch.Tensor = self.second(input=self.first(x))
            except Exception:
                y = x
            return y

    inputs = [ModelInputs((), {"x": torch.randn(3, 2)}) for _ in range(2)]

    assert list(grams_when_doubled(Catches(), inputs, "walk")) == ["first", "second"]
    assert list(grams_when_doubled(Catches(), inputs, "restart")) == ["first", "second"]


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ([], "there are none"),
        ([ModelInputs((torch.randn(2, 5),))], "the model fails on batch 0"),
        ([ModelInputs((torch.randn(2, 3),)), ModelInputs(("text",))], "the model fails on batch 1"),
        ([ModelInputs((torch.full((2, 3), float("nan")),))], "not a number"),
    ],
)
def test_inputs_that_do_not_fit_are_refused_before_anything_changes(
    inputs: list[ModelInputs], reason: str
) -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    before = model[0].weight.detach().clone()

    with pytest.raises(CalibrationError, match=reason):
        grams_when_doubled(model, inputs)

    assert torch.equal(model[0].weight, before)


def test_many_batches_walk() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))

    grams = grams_when_doubled(model, batches(1, 2, num_batches=100))

    assert list(grams) == ["0", "1"]

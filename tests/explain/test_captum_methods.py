"""Methods meet closed forms: linear models, where each part's share is known."""

from typing import get_args

import pytest
import torch
from torch import nn

from ayni.explain.attribution import MethodKey
from ayni.explain.captum_methods import FITS
from ayni.explain.choosing import MethodDoesNotFitError, Wanted, choose_method, fitting_methods
from ayni.jobs.spec import ExplainSpec


class Gather(nn.Module):
    """Logits [N, T, C]: rows of a table looked up for each symbol [N, T], summed up to each place."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        return self.table[symbols].cumsum(1)


class Embedded(nn.Module):
    """Two classes for a text of symbols, by the sum of their embeddings and a mask of the padding."""

    def __init__(self, *, padding: int | None = None, times: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.places = nn.Embedding(8, 4)
        self.words = nn.Embedding(10, 4, padding_idx=padding)
        self.head = nn.Linear(4, 2)
        self.times = times

    def forward(self, symbols: torch.Tensor) -> torch.Tensor:
        places = self.places(torch.arange(symbols.shape[1]))
        seen = sum(self.words(symbols) for _ in range(self.times)) + places
        logits: torch.Tensor = self.head((torch.tanh(seen) * (symbols != 0)[..., None]).sum(1))
        return logits


class Functional(nn.Module):
    """A step that is not linear and no module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return logits


class Rounded(nn.Module):
    """A model without a gradient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.detach() > 0.5).float().flatten(1)[:, :3]


def layers(*modules: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for module in modules:
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return nn.Sequential(*modules).eval()


def cnn() -> nn.Module:
    return layers(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(),
        nn.Conv2d(4, 8, 3), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


IMAGES = torch.rand(5, 3, 6, 6, generator=torch.Generator().manual_seed(1))
CLASSES = torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("key", ["integrated_gradients", "deeplift", "ablation"])
def test_of_a_linear_model_each_input_gets_weight_times_value_with_its_sign(key: MethodKey) -> None:
    model = nn.Linear(4, 3)
    inputs = torch.tensor([[1.0, -2.0, 0.0, 3.0], [0.5, 0.0, 1.0, -1.0]])
    classes = torch.tensor([2, 0])

    found = FITS[key](model, inputs[:1]).attribute(model, inputs, classes)

    torch.testing.assert_close(found, (model.weight[classes] * inputs).detach())


@pytest.mark.parametrize("key", ["integrated_gradients", "deeplift"])
def test_what_is_called_complete_adds_up_to_the_change_of_the_logit(key: MethodKey) -> None:
    model = cnn()
    method = FITS[key](model, IMAGES[:1])

    found = method.attribute(model, IMAGES, CLASSES)

    assert method.is_complete
    change = (model(IMAGES) - model(torch.zeros(1, 3, 6, 6)))[torch.arange(5), CLASSES]
    torch.testing.assert_close(found.flatten(1).sum(1), change.detach(), atol=1e-2, rtol=0)


@pytest.mark.parametrize("key", FITS)
def test_every_method_gives_one_value_for_each_input_and_leaves_no_gradients(key: MethodKey) -> None:
    model = Embedded() if key == "layer_integrated_gradients" else cnn()
    inputs = torch.randint(1, 10, (5, 8)) if key == "layer_integrated_gradients" else IMAGES

    found = FITS[key](model, inputs[:1]).attribute(model, inputs, CLASSES % 2)

    assert found.shape == inputs.shape
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert all(value.grad is None and value.requires_grad for value in model.parameters())


def test_more_examples_than_are_computed_at_once_get_what_each_gets_alone() -> None:
    model = cnn()
    inputs, classes = IMAGES.repeat(20, 1, 1, 1), CLASSES.repeat(20)
    method = FITS["integrated_gradients"](model, inputs[:1])

    found = method.attribute(model, inputs, classes)

    torch.testing.assert_close(found[95:], method.attribute(model, IMAGES, CLASSES))


def test_of_a_sum_of_symbols_ablation_finds_each_symbols_part_at_the_last_place() -> None:
    table = torch.tensor([[0.0, 0.0], [1.0, -1.0], [-2.0, 3.0]])
    symbols = torch.tensor([[1, 2, 0, 1], [2, 2, 1, 0]])
    model = Gather(table)

    found = FITS["ablation"](model, symbols[:1]).attribute(model, symbols, torch.tensor([0, 1]))

    assert found.tolist() == [[1.0, -2.0, 0.0, 1.0], [3.0, 3.0, -1.0, 0.0]]


def test_ablation_takes_a_pixel_away_in_all_its_channels_and_its_shares_add_up() -> None:
    model = layers(nn.Flatten(), nn.Linear(12, 2))
    image = torch.rand(1, 3, 2, 2)

    found = FITS["ablation"](model, image).attribute(model, image, torch.tensor([1]))

    weight = model[1].weight[1].view(3, 2, 2)  # type: ignore[index]
    torch.testing.assert_close(found[0].sum(0), (weight * image[0]).sum(0).detach())


def test_integrated_gradients_on_an_embedding_add_up_with_the_padding_as_reference() -> None:
    model = Embedded(padding=7)
    symbols = torch.randint(1, 7, (5, 8), generator=torch.Generator().manual_seed(0))
    method = FITS["layer_integrated_gradients"](model, symbols[:1])

    found = method.attribute(model, symbols, CLASSES % 2)

    rows = torch.arange(5)
    change = model(symbols) - method.blank_logits(model, symbols)
    torch.testing.assert_close(found.sum(1), change[rows, CLASSES % 2].detach(), atol=1e-2, rtol=0)
    # All places hold something, so that the reference is a text of padding.
    blank = model(torch.full((5, 8), 7))
    torch.testing.assert_close(method.blank_logits(model, symbols), blank)
    assert "embedding words" in method.sentence
    assert "reference symbol 7" in method.sentence


def test_grad_cam_finds_the_side_of_the_picture_that_decides() -> None:
    model = layers(nn.Conv2d(1, 1, 3, padding=1, bias=False), nn.Flatten(), nn.Linear(64, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(0.1)  # type: ignore[index, union-attr, operator]
        model[2].weight.zero_()  # type: ignore[index, union-attr, operator]
        model[2].weight[1] = torch.tensor([1.0, 1, 1, 1, 0, 0, 0, 0]).repeat(8)  # type: ignore[index, operator]
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 2:6, 0:3] = 1.0

    found = FITS["gradcam"](model, image).attribute(model, image, torch.tensor([1]))

    assert found[0, 0, 2:6, 0:3].mean() > 3 * found[0, 0, :, 5:].abs().mean()
    assert FITS["gradcam"](model, image).attribute(model, image, torch.tensor([0])).max() <= 0


def test_grad_cam_takes_the_last_convolution_that_still_has_places() -> None:
    assert "Grad-CAM of 3 (3 x 3 places)" in FITS["gradcam"](cnn(), IMAGES[:1]).sentence


@pytest.mark.parametrize(
    ("key", "model", "example", "reason"),
    [
        ("integrated_gradients", Embedded(), torch.ones(1, 8, dtype=torch.int64), "symbols"),
        ("integrated_gradients", Rounded(), torch.rand(1, 6), "no gradient"),
        ("deeplift", Functional(), torch.rand(1, 6), "calls tanh as a function"),
        ("deeplift", layers(nn.Linear(6, 6), nn.LayerNorm(6)), torch.rand(1, 6), "no rule for LayerNorm"),
        ("gradcam", nn.Linear(6, 2), torch.rand(1, 6), "no images"),
        ("gradcam", layers(nn.Flatten(), nn.Linear(12, 2)), torch.rand(1, 3, 2, 2), "no nn.Conv2d"),
        ("gradcam", layers(nn.Conv2d(1, 2, 2), nn.Flatten()), torch.rand(1, 1, 2, 2), "more than one place"),
        ("layer_integrated_gradients", nn.Linear(6, 2), torch.rand(1, 6), "not symbols"),
        ("layer_integrated_gradients", Gather(torch.rand(3, 2)), torch.tensor([[1, 2]]), "no nn.Embedding"),
        (
            "layer_integrated_gradients",
            Embedded(times=2),
            torch.ones(1, 8, dtype=torch.int64),
            "more than once",
        ),
    ],
)
def test_a_method_that_does_not_fit_is_refused_by_name_with_the_reason_and_what_fits(
    key: MethodKey, model: nn.Module, example: torch.Tensor, reason: str
) -> None:
    with pytest.raises(MethodDoesNotFitError, match=reason) as refused:
        choose_method(model.eval(), example, key)

    assert "ablation" in refused.value.fitting
    assert key not in refused.value.fitting
    assert ", ".join(refused.value.fitting) in str(refused.value)


def test_deeplift_refuses_a_module_that_is_used_twice() -> None:
    relu = nn.ReLU()

    with pytest.raises(MethodDoesNotFitError, match="used more than once"):
        choose_method(layers(nn.Linear(6, 6), relu, nn.Linear(6, 3), relu), torch.rand(1, 6), "deeplift")


class Shaped(nn.Module):
    """Functions of one tensor beside modules: a shape, a scale, a mean."""

    def __init__(self, *, has_shortcut: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.relu, self.head = nn.Linear(12, 12), nn.ReLU(), nn.Linear(6, 3)
        self.has_shortcut = has_shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first(0.5 * x)
        active = self.relu(hidden) + hidden if self.has_shortcut else self.relu(hidden)
        logits: torch.Tensor = self.head(active.reshape(x.shape[0], 2, 6).mean(1))
        return logits


def test_deeplift_passes_linear_functions_of_one_tensor_and_adds_up() -> None:
    model, x, classes = Shaped(has_shortcut=False).eval(), torch.randn(4, 12), torch.tensor([0, 1, 2, 0])

    found = choose_method(model, x[:1], "deeplift").method.attribute(model, x, classes)

    change = (model(x) - model(torch.zeros(1, 12)))[torch.arange(4), classes]
    torch.testing.assert_close(found.sum(1), change.detach(), atol=1e-5, rtol=0)


def test_deeplift_refuses_where_two_paths_meet() -> None:
    # Captum 0.9 counts the shortcut's gradient into that of the relu beside it.
    with pytest.raises(MethodDoesNotFitError, match="calls add as a function"):
        choose_method(Shaped(has_shortcut=True).eval(), torch.randn(1, 12), "deeplift")


@pytest.mark.parametrize(
    ("model", "example", "key"),
    [
        (cnn(), IMAGES[:1], "integrated_gradients"),
        (nn.Linear(4, 2), torch.rand(1, 4), "integrated_gradients"),
        (Embedded(), torch.ones(1, 8, dtype=torch.int64), "layer_integrated_gradients"),
    ],
)
def test_auto_takes_the_usual_method_of_the_kind_of_input(
    model: nn.Module, example: torch.Tensor, key: str
) -> None:
    chosen = choose_method(model, example, "auto")

    assert (chosen.method.key, chosen.note) == (key, "")


@pytest.mark.parametrize(
    ("model", "example", "reason"),
    [
        (Gather(torch.rand(3, 2)), torch.tensor([[1, 2]]), "no nn.Embedding"),
        (Rounded(), torch.rand(1, 6), "no gradient"),
    ],
)
def test_auto_falls_back_to_ablation_and_says_why(
    model: nn.Module, example: torch.Tensor, reason: str
) -> None:
    chosen = choose_method(model, example, "auto")

    assert chosen.method.key == "ablation"
    assert reason in chosen.note


def test_of_a_convolutional_network_four_methods_fit() -> None:
    assert list(fitting_methods(cnn(), IMAGES[:1])) == [
        "integrated_gradients",
        "deeplift",
        "gradcam",
        "ablation",
    ]


def test_a_job_may_ask_for_each_method_and_for_no_other() -> None:
    asked = get_args(ExplainSpec.model_fields["method"].annotation)

    assert set(asked) == {"auto", *FITS} == set(get_args(Wanted))

import numpy as np
import pytest
import torch

from ayni.data.generation.generator_settings import GeneratorSettings
from ayni.data.generation.input_form import InputForm
from ayni.data.generation.networks import make_decoder, make_encoder, make_field, uses_convolutions
from ayni.data.records import Records


def form_of(*shape: int) -> InputForm:
    rng = np.random.default_rng(0)
    inputs = rng.random((4, *shape), dtype=np.float32)
    return InputForm.of(Records(inputs=inputs, labels=np.arange(4)))


@pytest.mark.parametrize(
    ("shape", "expected"), [((30,), False), ((8, 8), False), ((16, 16), True), ((3, 32, 20), True)]
)
def test_images_of_some_size_get_convolutions(shape: tuple[int, ...], expected: bool) -> None:
    assert uses_convolutions(GeneratorSettings(kind="flow"), form_of(*shape)) is expected


def test_convolutions_for_a_table_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(30,\)"):
        uses_convolutions(GeneratorSettings(kind="flow", layers="convolution"), form_of(30))


@pytest.mark.parametrize("shape", [(12,), (4, 4), (1, 17, 23), (3, 16, 16)])
def test_every_network_gives_what_its_name_says_for_odd_sides_too(shape: tuple[int, ...]) -> None:
    form = form_of(*shape)
    layers = "flat" if len(shape) == 1 else "convolution"
    settings = GeneratorSettings(kind="vae", layers=layers, width=32, noise_size=5)
    x, classes, noise = torch.randn(2, form.num_encoded), torch.eye(3)[:2], torch.randn(2, 5)

    assert make_encoder(settings, form, 3, 7)(x, classes).shape == (2, 7)
    assert make_decoder(settings, form, 3)(noise, classes).shape == x.shape
    assert make_field(settings, form, 3)(x, classes).shape == x.shape


@pytest.mark.parametrize("layers", ["flat", "convolution"])
def test_the_class_changes_what_comes_out(layers: str) -> None:
    form = form_of(16, 16)
    settings = GeneratorSettings(kind="vae", layers=layers, width=32)  # type: ignore[arg-type]
    x = torch.randn(1, form.num_encoded).repeat(3, 1)

    out = make_field(settings, form, 3)(x, torch.eye(3))

    assert not torch.allclose(out[0], out[1])

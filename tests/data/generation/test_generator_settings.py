from typing import Any

import pytest

from ayni.data.generation.generator_settings import GeneratorSettings


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "diffusion"}, "gaussian, copula, vae, gan, flow"),
        ({"kind": "flow", "layers": "deep"}, "auto, flat, convolution"),
        ({"kind": "flow", "width": 0}, "width must be at least 1"),
        ({"kind": "vae", "kl_weight": -1}, "kl_weight must be at least 0"),
        ({"kind": "gaussian", "shrinkage": 1.5}, "shrinkage must be from 0 to 1"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_is_allowed(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeneratorSettings(**wrong)


def test_settings_come_back_from_json() -> None:
    settings = GeneratorSettings(kind="vae", category_columns=(2, 3), kl_weight=0.5)

    assert GeneratorSettings.from_json(settings.to_json()) == settings

import subprocess
import sys

import pydantic
import pytest

from ayni.train.config import TrainConfig, config_to_json


def test_the_cosine_begins_at_the_peak_and_ends_near_zero() -> None:
    config = TrainConfig(rounds=2, local_steps=50, learning_rate=0.1)

    rates = [config.learning_rate_at(step) for step in range(config.total_steps)]

    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert 0 < rates[-1] < 1e-3


def test_a_warm_up_rises_linearly_to_the_peak() -> None:
    config = TrainConfig(warmup_steps=4, learning_rate=0.4, schedule="constant")

    rates = [config.learning_rate_at(step) for step in range(6)]

    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learners", 0),
        ("rounds", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", 0.0),
        ("outer_momentum", 1.0),
        ("strategy", "gossip"),
        ("round_deadline_seconds", -1.0),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be .*, not"):
        TrainConfig(**{name: value})  # type: ignore[arg-type]


def test_pydantic_refuses_unknown_keys() -> None:
    adapter = pydantic.TypeAdapter(TrainConfig)

    with pytest.raises(pydantic.ValidationError, match="round"):
        adapter.validate_python({"round": 3})


def test_every_field_is_described() -> None:
    assert TrainConfig.__doc__ is not None
    assert all(f"{name}:" in TrainConfig.__doc__ for name in config_to_json(TrainConfig()))


def test_a_configuration_can_be_read_without_torch_numpy_or_dask() -> None:
    program = (
        "import sys;"
        "from ayni.train import accepted, config, curve, result, rounds;"
        "assert not {'torch', 'numpy', 'dask'} & set(sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

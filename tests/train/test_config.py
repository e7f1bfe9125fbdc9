import subprocess
import sys

import pydantic
import pytest

from ayni.train.config import TrainConfig, config_to_json
from ayni.train.strategy_config import AggregationConfig


def krum(num_faulty: int) -> AggregationConfig:
    return AggregationConfig(rule="krum", num_faulty=num_faulty)


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


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"codec": "int3"}, "codec must be one of fp32, .* not 'int3'"),
        ({"local_steps": 0}, "local_steps must be at least 1, not 0"),
        ({"quorum": 3}, "quorum must be from 1 to the 2 learners, not 3"),
        ({"learners": 4, "aggregation": krum(1)}, "only among 5 or more, and there are 4: raise learners"),
        ({"learners": 9, "aggregation": krum(4)}, "only among 11 or more"),
        ({"learners": 6, "quorum": 4, "aggregation": krum(1)}, "needs 5 updates, and quorum is 4"),
        ({"strategy": "async", "learners": 5, "aggregation": krum(1)}, "use strategy diloco or streaming"),
        ({"strategy": "sync", "merge": "rda"}, "use strategy diloco or streaming"),
        ({"learners": 5, "merge": "rda", "aggregation": krum(1)}, "use one of them"),
        ({"strategy": "async", "download_codec": "int8"}, "use fp32, fp16 or bf16"),
        ({"strategy": "streaming", "local_steps": 1}, "must be less than local_steps"),
        ({"strategy": "streaming", "rounds": 3}, r"fragments \(4\) must be at most rounds \(3\)"),
        ({"strategy": "sync", "round_seconds": 5.0}, "use local_steps"),
        ({"engine": "10.0.0.1:8786"}, "engine must be local, tcp://HOST:PORT or tls://HOST:PORT"),
        ({"engine": "tls://host:8786"}, "set tls.ca_file"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_to_change(
    changes: dict[str, object], advice: str
) -> None:
    with pytest.raises(ValueError, match=advice):
        TrainConfig(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, 2),
        ({"learners": 6, "quorum": 4}, 4),
        ({"learners": 6, "strategy": "async"}, 1),
        # A robust rule may go on without the wrong ones, but not with fewer than it needs.
        ({"learners": 8, "aggregation": krum(1)}, 7),
        ({"learners": 5, "aggregation": krum(1)}, 5),
        # The mean trusts everybody, and has no use for that number.
        ({"learners": 5, "aggregation": AggregationConfig(num_faulty=1)}, 5),
    ],
)
def test_a_round_needs_all_updates_unless_something_is_said(changes: dict[str, object], needed: int) -> None:
    assert TrainConfig(**changes).needed_updates == needed  # type: ignore[arg-type]


def test_coarse_codecs_always_have_error_feedback() -> None:
    assert TrainConfig(codec="int2").has_error_feedback
    assert not TrainConfig(codec="int8").has_error_feedback
    assert TrainConfig(codec="int8", error_feedback=True).has_error_feedback

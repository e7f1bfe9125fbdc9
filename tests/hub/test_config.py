import json
from pathlib import Path
from typing import Any

import pytest

from ayni.hub.config import ModelConfig, UnusableConfigError, read_config


def config(**changed: Any) -> ModelConfig:
    values: dict[str, Any] = {
        "task": "task:Digits",
        "task_sha256": "0" * 64,
        "architecture": "Small",
        "input_shape": (1, 28, 28),
        "labels": ("a", "b"),
        "variants": {"full": "model.safetensors"},
    }
    return ModelConfig(**(values | changed))


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    for written in (config(), config(labels=None, chosen="full", run="r1", value_range=(-1.0, 1.0))):
        (tmp_path / "config.json").write_text(json.dumps(written.to_json()))

        assert read_config(tmp_path) == written


@pytest.mark.parametrize(
    "changed",
    [
        {"task": "../task:Digits"},
        {"task": "task"},
        {"task": "task:a.b"},
        {"chosen": "int4"},
        {"variants": {"full": "../x"}},
        {"variants": {"full": "/x"}},
        {"input_dtype": "float32)\nimport os"},
    ],
)
def test_a_configuration_that_points_elsewhere_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        config(**changed)


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[]", "null", '{"ayni": 3}', '{"ayni": {"task": "../x:y"}}', "\xff"]
)
def test_a_file_that_is_no_configuration_is_explained(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="latin-1")

    with pytest.raises(UnusableConfigError, match="Choose a revision"):
        read_config(tmp_path)

import json
from typing import Any

import pytest

from ayni.market.machine_classes import MachineClass


def machine_class(**changes: Any) -> MachineClass:
    values: dict[str, Any] = {
        "name": "v100",
        "cores": 8,
        "memory_bytes": 64 << 30,
        "accelerator": "V100",
        "watts": 300.0,
        "reference_throughput": {"resnet": 6.0, "any": 2.0},
    }
    return MachineClass(**values | changes)


def test_a_kind_of_work_that_is_not_named_has_the_ratio_of_any() -> None:
    assert machine_class().throughput("resnet") == 6.0
    assert machine_class().throughput("speech") == 2.0


def test_a_kind_of_work_that_nobody_measured_is_unknown_and_not_one() -> None:
    assert machine_class(reference_throughput={"resnet": 6.0}).throughput("speech") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"cores": 0},
        {"memory_bytes": 0},
        {"watts": -1.0},
        {"watts": float("nan")},
        {"reference_throughput": {"any": 0.0}},
        {"reference_throughput": {"any": float("inf")}},
    ],
)
def test_an_impossible_class_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"name|machine|power|throughput"):
        machine_class(**changes)


def test_a_class_survives_json() -> None:
    assert MachineClass.from_json(json.loads(json.dumps(machine_class().to_json()))) == machine_class()

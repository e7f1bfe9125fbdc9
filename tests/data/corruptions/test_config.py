"""The keys about corruptions."""

import pytest

from ayni.data.corruptions.config import CorruptionsConfig


def test_the_default_reference_is_the_baseline() -> None:
    assert CorruptionsConfig().reference == "baseline"


@pytest.mark.parametrize("values", [{"samples": 9}, {"reference": ""}, {"reference": "latest"}])
def test_values_that_mean_nothing_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="corruptions"):
        CorruptionsConfig(**values)  # type: ignore[arg-type]

from pathlib import Path
from typing import Any

from ayni.reports.compress_keys import VARIANT_KEYS, search_view, variant_view


def test_files_of_a_variant_become_absolute(run_inputs: dict[str, Any]) -> None:
    result = {**run_inputs["results"]["compress"]["variants"][-1], "companions": ["compress/int8.bin"]}

    variant = variant_view(result, Path("/runs/one"))

    assert variant["file"] == "/runs/one/compress/int8.onnx"
    assert variant["companions"] == ["/runs/one/compress/int8.bin"]


def test_an_empty_variant_has_all_keys_and_lists_that_are_empty() -> None:
    variant = variant_view({}, Path("/runs/one"))

    assert tuple(variant) == VARIANT_KEYS
    assert variant["latencies"] == variant["steps"] == variant["companions"] == []
    assert {key for key, value in variant.items() if value is not None} == {
        "latencies",
        "steps",
        "companions",
    }


def test_steps_without_a_search_have_no_summary_of_one() -> None:
    assert search_view(None) is None

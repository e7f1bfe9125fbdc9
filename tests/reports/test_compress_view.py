"""What follows from a compression's numbers by division, and two variants side by side."""

import copy
from pathlib import Path
from typing import Any

import pytest

from ayni.reports.compress_view import comparison_view, compress_view, hidden_losses, worst_group

Json = dict[str, Any]


@pytest.fixture
def view(compress_result: Json) -> Json:
    return viewed(compress_result)


def viewed(result: Json, run: str = "run-1") -> Json:
    return compress_view(run_id=run, status="finished", result=result, folder=Path("/runs") / run)


def row(view: Json, name: str) -> Json:
    found: Json = next(variant for variant in view["variants"] if variant["name"] == name)
    return found


def test_each_variant_stands_against_the_original_in_both_runtimes(view: Json) -> None:
    int8 = row(view, "int8")

    assert int8["bytes_ratio"] == pytest.approx(0.25)
    assert int8["speed_up"] == pytest.approx(4.0)
    assert int8["speed_up_over_onnx"] == pytest.approx(2.0)
    assert int8["file"] == "/runs/run-1/compress/int8.onnx"


def test_a_variant_that_takes_longer_than_the_original_is_called_slower(view: Json) -> None:
    assert [variant["name"] for variant in view["variants"] if variant["is_slower"]] == ["int4"]


def test_without_an_export_nothing_is_compared_with_it(compress_result: Json) -> None:
    del compress_result["variants"][1]

    assert row(viewed(compress_result), "int8")["speed_up_over_onnx"] is None


def test_the_keys_of_the_result_stay(view: Json, compress_result: Json) -> None:
    assert {key: view[key] for key in compress_result if key != "variants"} == {
        key: compress_result[key] for key in compress_result if key != "variants"
    }
    for before, after in zip(compress_result["variants"], view["variants"], strict=True):
        assert {key: after[key] for key in before if key not in ("file", "companions")} == {
            key: before[key] for key in before if key not in ("file", "companions")
        }


def test_two_variants_meet_under_every_condition(view: Json) -> None:
    found = comparison_view(view, "full-onnx", view, "int8")

    assert [(row["num_threads"], row["batch_size"]) for row in found["latencies"]] == [(1, 1), (1, 32)]
    assert [row["speed_up"] for row in found["latencies"]] == pytest.approx([2.0, 2.0])
    assert found["speed_up"] == pytest.approx(2.0)
    assert (found["a"]["is_chosen"], found["b"]["is_chosen"]) == (False, True)


def test_a_condition_that_only_one_was_measured_under_has_one_side(view: Json) -> None:
    other = copy.deepcopy(view)
    del row(other, "int8")["latencies"][1]

    found = comparison_view(view, "int8", other, "int8")

    assert found["latencies"][1]["b"] is None
    assert found["latencies"][1]["speed_up"] is None


def test_classes_of_the_original_are_those_that_its_variant_was_compared_with(view: Json) -> None:
    found = comparison_view(view, "full", view, "int8")

    assert [(group["name"], group["difference"]) for group in found["groups"]] == [
        ("dog", pytest.approx(-0.3)),
        ("cat", 0.0),
    ]
    assert found["groups"][0]["a"]["drop"] == 0.0
    assert found["groups"][0]["b"]["drop"] == pytest.approx(0.3)


def test_the_original_of_another_run_has_no_classes_to_show(view: Json, compress_result: Json) -> None:
    found = comparison_view(viewed(compress_result, "run-2"), "full", view, "int8")

    assert [group["a"] for group in found["groups"]] == [None, None]
    assert {group["difference"] for group in found["groups"]} == {None}


def test_the_class_that_lost_most_is_found_and_named_a_hidden_loss(view: Json) -> None:
    worst = worst_group(row(view, "int8"))

    assert worst is not None
    assert (worst["name"], worst["verdict"]) == ("dog", "lost")
    assert [group["name"] for group in hidden_losses(row(view, "int8"))] == ["dog"]
    assert worst_group(row(view, "int4")) is None

"""What follows from a compression's numbers by division, and two variants side by side."""

from collections.abc import Callable
from typing import Any

import pytest

from ayni.reports.compress_view import KEYS, comparison_view
from ayni.reports.compress_view import compress_view as arranged

Json = dict[str, Any]
Viewed = Callable[..., Json]


@pytest.fixture
def run(compress_view: Viewed) -> Json:
    """The object of a run."""
    return compress_view()


@pytest.fixture
def view(run: Json) -> Json:
    return arranged(run)


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


def test_of_a_latency_that_is_not_to_be_quoted_no_ratio_is_made(view: Json, run: Json) -> None:
    assert row(view, "int3")["speed_up"] is None
    assert not row(view, "int3")["is_slower"]

    found = comparison_view(run, "full", run, "int3")

    assert found["speed_up"] is None
    assert [row["speed_up"] for row in found["latencies"]] == [None, pytest.approx(0.5)]


def test_without_an_export_nothing_is_compared_with_it(run: Json) -> None:
    del run["variants"][1]

    assert row(arranged(run), "int8")["speed_up_over_onnx"] is None


def test_the_keys_of_the_run_stay_and_four_are_added(view: Json, run: Json) -> None:
    assert list(view) == list(KEYS)
    added = {"bytes_ratio", "speed_up", "speed_up_over_onnx", "is_slower"}
    for before, after in zip(run["variants"], view["variants"], strict=True):
        assert {key: after[key] for key in before} == before
        assert set(after) - set(before) == added


def test_two_variants_meet_under_every_condition(run: Json) -> None:
    found = comparison_view(run, "full-onnx", run, "int8")

    assert [(row["num_threads"], row["batch_size"]) for row in found["latencies"]] == [(1, 1), (1, 32)]
    assert [row["speed_up"] for row in found["latencies"]] == pytest.approx([2.0, 2.0])
    assert found["speed_up"] == pytest.approx(2.0)
    assert (found["a"]["is_chosen"], found["b"]["is_chosen"]) == (False, True)


def test_a_condition_that_only_one_was_measured_under_has_one_side(run: Json, compress_view: Viewed) -> None:
    other = compress_view()
    del row(other, "int8")["latencies"][1]

    found = comparison_view(run, "int8", other, "int8")

    assert found["latencies"][1]["b"] is None
    assert found["latencies"][1]["speed_up"] is None


def test_classes_of_the_original_are_those_that_its_variant_was_compared_with(run: Json) -> None:
    found = comparison_view(run, "full", run, "int8")

    assert [(group["name"], group["difference"]) for group in found["groups"]] == [
        ("dog", pytest.approx(-0.3)),
        ("cat", 0.0),
    ]
    assert found["groups"][0]["a"]["drop"] == 0.0
    assert found["groups"][0]["b"]["drop"] == pytest.approx(0.3)


def test_the_original_of_another_run_has_no_classes_to_show(run: Json, compress_view: Viewed) -> None:
    found = comparison_view(compress_view("run-2"), "full", run, "int8")

    assert [group["a"] for group in found["groups"]] == [None, None]
    assert {group["difference"] for group in found["groups"]} == {None}

from typing import Any

import pytest

from ayni.reports import variants


def named(view: dict[str, Any], name: str) -> dict[str, Any]:
    return next(variant for variant in view["variants"] if variant["name"] == name)


def names(of: list[dict[str, Any]]) -> list[str]:
    return [variant["name"] for variant in of]


def test_few_variants_are_all_shown_the_chosen_first_and_what_does_not_qualify_last(
    view: dict[str, Any],
) -> None:
    shown, folded = variants.in_reading_order(view)

    assert names(shown) == ["full", "full-onnx", "int8", "distilled", "pruned"]
    assert folded == []


def test_of_many_variants_the_front_is_shown_and_the_rest_is_folded_by_score(
    searched_view: dict[str, Any],
) -> None:
    shown, folded = variants.in_reading_order(searched_view)

    assert names(shown) == ["full", "full-onnx", "int8", "low-rank75-recovered-1", "distilled"]
    assert len(shown) + len(folded) == len(searched_view["variants"])
    qualifying = [variant["score"] for variant in folded if variant["qualifies"]]
    assert qualifying == sorted(qualifying, reverse=True)
    assert [variant["qualifies"] for variant in folded] == [True] * len(qualifying) + [False] * 6


def test_where_no_front_is_known_variants_stay_as_listed(old_view: dict[str, Any]) -> None:
    assert variants.in_reading_order(old_view) == (old_view["variants"], [])


def test_a_variant_on_the_front_that_loses_too_much_is_folded(searched_view: dict[str, Any]) -> None:
    named(searched_view, "pruned")["is_on_front"] = True

    shown, _ = variants.in_reading_order(searched_view)

    assert "pruned" not in names(shown)


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [("onnxruntime", "full-onnx"), ("torch", "full"), ("packed", "full"), ("openvino", None)],
)
def test_the_same_model_in_the_runtime_of_a_variant(
    view: dict[str, Any], runtime: str, expected: str | None
) -> None:
    found = variants.same_runtime_variant(view, {**named(view, "int8"), "runtime": runtime})

    assert (found and found["name"]) == expected


def test_a_variant_is_slower_only_by_more_than_nothing_and_only_if_both_times_are_known(
    view: dict[str, Any],
) -> None:
    int8, full = named(view, "int8"), named(view, "full")

    slower = []
    for latency in (1.04 * full["latency_p50_seconds"], 1.06 * full["latency_p50_seconds"], None):
        int8["latency_p50_seconds"] = latency
        slower.append(variants.is_slower(view, int8))
    full["latency_p50_seconds"], int8["latency_p50_seconds"] = None, 1.0

    assert slower == [False, True, False]
    assert not variants.is_slower(view, int8)


def test_there_is_no_speed_up_of_a_latency_that_is_not_to_be_quoted(view: dict[str, Any]) -> None:
    int8, full = named(view, "int8"), named(view, "full")
    assert variants.speed_up(full, int8) == pytest.approx(0.00041 / 0.00008)

    full["latency_problem"] = "9 of 10 calls waited"

    int8["latency_p50_seconds"] = 1.0
    assert variants.speed_up(full, int8) is None
    assert not variants.is_slower(view, int8)


def test_hidden_losses_come_worst_first_and_only_where_the_mean_does_not_tell(view: dict[str, Any]) -> None:
    int8, pruned = named(view, "int8"), named(view, "pruned")
    group = next(group for group in int8["changes"]["groups"] if group["is_hidden_loss"])
    int8["changes"]["groups"] = [{**group, "drop": 0.02, "name": "small"}, group]

    assert [group["name"] for group in variants.hidden_losses(int8)] == ["8", "small"]
    assert pruned["changes"]["hidden_losses"]
    assert variants.hidden_losses(pruned) == []

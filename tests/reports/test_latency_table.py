from typing import Any

from ayni.reports import formats
from ayni.reports.latency_table import LatencyTable, latency_table


def plain(text: str) -> str:
    return text.replace(formats.NO_BREAK_SPACE, " ").replace("\N{MICRO SIGN}", "u").replace(formats.DASH, "-")


def table(view: dict[str, Any]) -> LatencyTable:
    found = latency_table(view)
    assert found is not None
    return found


def test_each_condition_has_a_row_with_the_chosen_variant_against_both_originals(
    view: dict[str, Any],
) -> None:
    found = table(view)

    assert found.names == ["full", "full-onnx", "int8"]
    assert found.ratio_names == ["int8 against full", "int8 against full-onnx"]
    assert [row.condition for row in found.rows] == [
        "1 thread, 1 example",
        "1 thread, 32 examples",
        "2 threads, 1 example",
        "2 threads, 32 examples",
    ]
    first = found.rows[0]
    assert [plain(cell.written) for cell in first.cells] == [
        "410 us (394-443)",
        "190 us (182-205)",
        "80.0 us (76.8-86.4)",
    ]
    assert [plain(cell.written) for cell in first.ratios] == ["5.1\u00d7 faster", "2.4\u00d7 faster"]


def test_batches_say_what_one_example_of_them_takes(view: dict[str, Any]) -> None:
    remarks = table(view).rows[1].cells[0].remarks

    assert [plain(remark.text) for remark in remarks] == ["179 us an example"]


def test_a_doubtful_time_has_no_ratios(view: dict[str, Any]) -> None:
    of_last = table(view).rows[3]

    assert [remark.text for remark in of_last.cells[2].remarks if remark.is_bad] == ["not to be quoted"]
    assert [cell.written for cell in of_last.ratios] == ["not to be quoted"] * 2


def test_a_variant_without_another_original_is_compared_with_the_full_model_alone(
    view: dict[str, Any],
) -> None:
    view["variants"][-1]["runtime"] = "openvino"

    assert table(view).names == ["full", "int8"]


def test_a_condition_that_was_not_measured_is_unknown(view: dict[str, Any]) -> None:
    del view["variants"][-1]["latencies"][1]

    row = table(view).rows[1]

    assert [row.cells[2].written, *(cell.written for cell in row.ratios)] == ["unknown"] * 3


def test_one_condition_alone_or_none_is_no_table(view: dict[str, Any], old_view: dict[str, Any]) -> None:
    for variant in view["variants"]:
        del variant["latencies"][1:]

    assert latency_table(view) is None
    assert latency_table(old_view) is None

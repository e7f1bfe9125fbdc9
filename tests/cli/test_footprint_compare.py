from ayni.cli.footprint_compare import comparison_lines

SIDE = {"reference": "small", "runs": 5, "tiers": ["W3"], "nodes": ["vm"], "left_out": ["r9"]}
FOUND = {
    "first": {**SIDE, "joules": {"value": 100.0, "low": 50.0, "high": 200.0}},
    "second": {
        **SIDE,
        "reference": "large",
        "left_out": [],
        "joules": {"value": 110.0, "low": 55.0, "high": 220.0},
    },
    "comparison": {"ratio": 0.909, "low": 0.9, "high": 0.92, "method": "repeatability", "answer": "less"},
}


def test_both_sides_are_shown_with_what_may_be_said_of_them() -> None:
    lines = comparison_lines(FOUND)

    assert lines[0].startswith("small: 100")
    assert "of 5 (W3 on vm)" in lines[0]
    assert lines[1] == "  left out, its energy is not known: r9"
    assert "small takes less: 0.909 times (0.9 to 0.92) the energy of large." in lines


def test_where_nobody_can_tell_nothing_is_claimed() -> None:
    unsure = {**FOUND, "comparison": {**FOUND["comparison"], "answer": "cannot tell"}}

    assert any(line.startswith("Cannot tell: 0.909 times") for line in comparison_lines(unsure))

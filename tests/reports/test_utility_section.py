import xml.etree.ElementTree as ET
from typing import Any

from ayni.reports.utility_section import utility_plot, utility_section


def result(**changes: Any) -> dict[str, Any]:
    def arm(name: str, verdict: str, mean: float | None, same_energy: float | None = None) -> dict[str, Any]:
        def difference(value: float | None) -> dict[str, float] | None:
            return None if value is None else {"mean": value, "low": value - 1, "high": value + 1}

        return {
            "name": name,
            "compared_with": None if mean is None else "none",
            "accuracy": 91.234,
            "cost": {"cpu_seconds": 2.5, "joules": None},
            "same_steps": difference(mean),
            "same_energy": difference(same_energy),
            "steps_ratio": 2.5,
            "verdict": verdict,
        }

    arms = [
        arm("none", "reference", None),
        arm("flow <b>", "helps", 3.0, 2.0),
        arm("vae", "no evidence", -0.5),
    ]
    return {
        "arms": arms,
        "seeds": [0, 1],
        "num_own": 100,
        "num_partner": 700,
        "num_steps": 500,
        "energy_unit": "CPU s",
        **changes,
    }


def test_each_arm_has_a_row_with_its_intervals_and_its_word() -> None:
    html = utility_section(result())

    assert "(+2.00 to +4.00)" in html
    assert "(+1.00 to +3.00)" in html
    assert "the other took 2.5 times the steps" in html
    assert "no evidence" in html
    assert "CPU seconds, for nothing was metered" in html
    assert "2.50 CPU s" in html


def test_names_cannot_become_markup() -> None:
    html = utility_section(result())

    assert "<b>" not in html
    assert "flow &lt;b&gt;" in html


def test_the_plot_marks_what_helps_by_shape_too_and_puts_gains_on_the_right() -> None:
    root = ET.fromstring(utility_plot(result()))

    (diamond,) = root.iterfind(".//path")
    (circle,) = root.iterfind(".//circle")
    helps_x = float(diamond.attrib["d"].removeprefix("M").split()[0])
    assert helps_x > float(circle.attrib["cx"])
    assert "flow <b>: +3.00" in (root.findtext("desc") or "")


def test_without_a_comparison_there_is_no_plot() -> None:
    assert utility_plot(result(arms=result()["arms"][:1])) == ""

"""The card's table: what stands there with a reference and without, and that names stay text."""

from ayni.hub.card_robustness import CardRobustness, RobustnessRow, robustness_section


def row(name: str, mce: float | None = 90.0) -> RobustnessRow:
    return RobustnessRow(
        name=name, clean_error=0.1, mean_error=0.25, mce_percent=mce, relative_mce_percent=None
    )


def section(reference: str | None, *rows: RobustnessRow) -> str:
    return robustness_section(CardRobustness(num_examples=1200, seed=3, reference=reference, rows=rows))


def test_the_four_numbers_stand_together_under_a_named_reference() -> None:
    text = section("me/other", row("full"))

    assert "1,200 test images" in text and "relative to me/other" in text
    assert "| full | 10.0% | 25.0% | 90.0 | no ratio |" in text


def test_without_a_reference_there_are_no_ratios_and_it_says_why() -> None:
    text = section(None, row("full", None))

    assert "| full | 10.0% | 25.0% |\n" in text and "mCE |" not in text
    assert "No reference was measured" in text


def test_names_cannot_add_cells_and_nobody_looked_is_no_section() -> None:
    assert r"| a \| b |" in section(None, row("a | b"))
    assert robustness_section(None) == ""

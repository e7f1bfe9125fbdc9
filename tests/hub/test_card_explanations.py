"""The card says whether explanations are to be believed, and names pictures by relative paths."""

from dataclasses import replace

import pytest

from ayni.hub.card_explanations import CardExample, CardExplanations, explanations_section
from ayni.hub.licences import why_not_shown

IMAGE = CardExample(
    index=7,
    label="4",
    answer="4",
    confidence="99 %",
    input_image="explanations/sample_00007_input.png",
    attribution_image="explanations/sample_00007_attribution.png",
)
FOUND = CardExplanations(
    method="integrated gradients",
    mark="checked",
    sentence="The attributions name what the answers rest on.",
    reasons=["Deleting first halves it."],
    examples=[IMAGE],
)


def test_an_image_has_its_pictures_a_description_and_the_verdict_in_its_row() -> None:
    section = explanations_section(FOUND)

    head, _, row = section.splitlines()[-3:]
    assert head == "| example | label | answer | checks | input | attribution |"
    assert row == (
        "| 7 | 4 | 4 (99 %) | checked | "
        '<img src="explanations/sample_00007_input.png" alt="test example 7, labelled 4" width="96"> | '
        '<img src="explanations/sample_00007_attribution.png" '
        'alt="what spoke for and against 4 in test example 7 (checked)" width="96"> |'
    )
    assert "**Checked:** The attributions name" in section
    assert "- Deleting first halves it." in section
    assert "none of the training data" in section


def test_what_flipped_and_the_variants_answer_are_told() -> None:
    flipped = replace(IMAGE, other_answer="9", change_image="explanations/change.png")

    section = explanations_section(replace(FOUND, examples=[IMAGE, flipped]))

    assert "| what flipped |" in section and "4 (99 %), variant 9" in section
    assert "rather than the chosen variant's" in section


def test_words_of_a_text_cannot_become_markdown() -> None:
    evil = CardExample(
        index=1,
        label='a | "><script>',
        answer="![x](http://x)",
        confidence="9 %",
        input_image="explanations/one.png",
        strongest="`</td>|<script> +1.0, \n# title -2",
    )

    section = explanations_section(replace(FOUND, examples=[evil]))

    rows = [line for line in section.splitlines() if line.startswith("| 1 ")]
    assert len(rows) == 1 and rows[0].count(" | ") == 5
    assert "&quot;&gt;&lt;script&gt;" in rows[0] and "<script>" not in rows[0].partition("`")[0]
    assert "![x](http" not in section and "\n# title" not in section


def test_without_examples_the_reason_stands_there_and_without_explanations_nothing() -> None:
    told = explanations_section(replace(FOUND, examples=[], why_none="nobody asked"))

    assert told.endswith("No examples are shown: nobody asked.")
    assert "|" not in told
    assert explanations_section(None) == ""


@pytest.mark.parametrize("licence", ["mit", "CC BY-SA 4.0", "cc0-1.0", "cc-by-nc-4.0", "etalab-2.0"])
def test_records_under_open_terms_may_be_shown(licence: str) -> None:
    assert why_not_shown(licence) == ""


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        (None, "not known"),
        ("other", "none that is known"),
        ("llama3", "none that is known"),
        ("cc-by-nd-4.0", "forbids"),
        ("cc-by-nc-nd-4.0", "forbids"),
        ("my own", "none that is known"),
    ],
)
def test_records_under_other_terms_may_not(licence: str | None, told: str) -> None:
    assert told in why_not_shown(licence)

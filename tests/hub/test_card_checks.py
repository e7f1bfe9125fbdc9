from typing import Any

import pytest
import yaml
from tests.hub.test_card import card

from ayni.hub.card import model_card
from ayni.hub.card_checks import MAX_CARD_BYTES, CardFindings, check_card, check_card_text


def check(metadata: dict[str, Any], body: str = "", **given: Any) -> CardFindings:
    front = yaml.safe_dump({"license": "mit", **metadata})
    return check_card_text(f"---\n{front}---\n{body}", given.pop("kind", "model"), **given)


def emissions(value: Any, body: str = "", **more: Any) -> CardFindings:
    return check({"co2_eq_emissions": {"emissions": value, **more}}, body)


@pytest.mark.parametrize(
    ("body", "write"),
    [
        ("Training emitted 83.524 kg of CO2.", "83524"),
        ("Carbon emitted: **83.524 kg** eq. CO2", "83524"),
        ("CO2 emissions: 83.524 kilograms", "83524"),
        ("The carbon footprint is 83.524 tonnes.", "83524000"),
        ("Emissions: 83.524 t", "83524000"),
    ],
)
def test_kilograms_in_the_field_of_grams_are_an_error_that_says_what_to_write(body: str, write: str) -> None:
    [error] = emissions(83.524, body).errors

    assert error.endswith(f"Write {write}.")


@pytest.mark.parametrize(
    "body",
    [
        "Training emitted 83.524 g of CO2.",
        "Training emitted 0.083524 kg of CO2.",
        "Training emitted 83.524 g, or 0.084 kg, of CO2. The carbon of ours.",
        "The robot weighs 83.524 kg.",
        "CO2: 12 kg of steel",
        "",
    ],
)
def test_grams_in_the_field_of_grams_are_right(body: str) -> None:
    assert emissions(83.524, body) == CardFindings()


@pytest.mark.parametrize(
    ("grams", "kwh", "pue", "write"),
    [(0.4, 1, 1, "400"), (83.524, 220, 1.1, "83524"), (0.0005, 1, 1, "500"), (500_000, 1, 1.2, "500")],
)
def test_an_intensity_that_no_grid_has_is_an_error(grams: float, kwh: float, pue: float, write: str) -> None:
    [error] = emissions(grams, energy_kwh=kwh, pue=pue).errors

    assert error.endswith(f"write {write}.")


def test_an_intensity_that_a_grid_has_is_right() -> None:
    assert emissions(400, energy_kwh=1, pue=1.2) == CardFindings()
    assert emissions(11, energy_kwh=1) == CardFindings()


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("83.5 kg", "Write 83500."),
        ("1,200 g", "Write 1200."),
        ("much", "grams"),
        (-3, "offset"),
        ([], "grams"),
        (True, "grams"),
    ],
)
def test_what_is_no_number_of_grams_is_an_error(value: Any, word: str) -> None:
    [error] = emissions(value).errors

    assert word in error


def test_a_number_alone_and_a_number_as_text_are_taken() -> None:
    assert check({"co2_eq_emissions": 12}) == CardFindings()
    assert check({"co2_eq_emissions": {"emissions": "12.5"}}) == CardFindings()
    assert check({"co2_eq_emissions": {"source": "x"}}).errors


def test_a_small_number_of_codecarbon_is_a_warning() -> None:
    [warning] = emissions(0.0123, source="CodeCarbon 2.1").warnings

    assert "write 12.3" in warning


@pytest.mark.parametrize(
    ("metadata", "errors", "warnings"),
    [
        ({"license": "apache-2.0"}, 0, 0),
        ({"license": ["mit", "apache-2.0"]}, 0, 0),
        ({"license": None}, 0, 1),
        ({"license": "my own"}, 0, 1),
        ({"license": 3}, 1, 0),
        ({"license": "other"}, 0, 1),
        ({"license": "other", "license_name": "ours"}, 0, 0),
        ({"base_model": "bert-base-uncased"}, 0, 0),
        ({"base_model": ["a/b", "c/d"], "base_model_relation": "merge"}, 0, 0),
        ({"base_model": "https://example.org/a"}, 1, 0),
        ({"base_model": {"a": 1}}, 1, 0),
        ({"base_model": "Me/Digits"}, 1, 0),
        ({"base_model": "a/b", "base_model_relation": "cousin"}, 0, 1),
        ({"base_model_relation": "merge"}, 0, 1),
        ({"model-index": "good"}, 1, 0),
        ({"model-index": [{"name": "x"}]}, 1, 0),
        ({"model-index": [{"name": "x", "results": [{"task": {"type": "t"}}]}]}, 1, 0),
    ],
)
def test_licence_bases_and_results(metadata: dict[str, Any], errors: int, warnings: int) -> None:
    found = check(metadata, repository="me/digits")

    assert (len(found.errors), len(found.warnings)) == (errors, warnings)


def test_bases_of_data_sets_are_not_looked_at() -> None:
    assert check({"base_model": {"a": 1}}, kind="dataset") == CardFindings()


def test_a_card_without_metadata_is_warned_of_and_unreadable_metadata_are_an_error() -> None:
    assert check_card_text("# Title", "model").warnings
    assert check_card_text("---\n: [\n---\n", "model").errors
    assert check_card_text("x" * (MAX_CARD_BYTES + 1), "model").errors
    assert check_card("---\nlicense: mit\n---\n", "model") == ([], [])


def test_the_card_that_we_write_has_nothing_wrong() -> None:
    assert check_card_text(model_card(card()), "model") == CardFindings()

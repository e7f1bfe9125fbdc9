import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ayni.footprint.exports.model_card import TrainingTypeError, model_card
from ayni.footprint.exports.options import ExportOptions, UnknownFigureError
from ayni.footprint.grid.basis import BasisMismatchError
from ayni.footprint.sums.entries import entry_of_receipt

GOLDEN = Path(__file__).parent.parent / "golden" / "receipt_2.json"
ENTRY = entry_of_receipt(json.loads(GOLDEN.read_text()), GOLDEN)


def test_emissions_are_in_grams() -> None:
    text = model_card(
        [ENTRY, replace(ENTRY, step="compress")],
        ExportOptions(training_type="fine-tuning", hardware="1 x EPYC"),
    )

    assert yaml.safe_load(text) == {
        "co2_eq_emissions": {
            "emissions": 960.0,
            "source": "Ayni, 960 g (480 to 1900) with 90 %, tier W3, average, location-based, "
            "life-cycle; making the machines adds 90 g (45 to 180)",
            "training_type": "fine-tuning",
            "geographical_location": "DE",
            "hardware_used": "1 x EPYC",
        }
    }


def test_what_nobody_says_is_left_out_or_comes_from_the_receipts() -> None:
    card = yaml.safe_load(model_card([ENTRY]))["co2_eq_emissions"]

    assert "training_type" not in card
    assert card["hardware_used"] == "server"


def test_a_name_cannot_add_a_field() -> None:
    hostile = replace(ENTRY, zone="DE\nlicense: mit", devices=({"name": "x: y\n#", "method": "m"},))

    found = yaml.safe_load(model_card([hostile]))

    assert list(found) == ["co2_eq_emissions"]
    assert found["co2_eq_emissions"]["hardware_used"] == "x: y\n#"


def test_an_unknown_carbon_is_no_number_for_a_card() -> None:
    with pytest.raises(UnknownFigureError, match="the carbon of explain is unknown"):
        model_card([ENTRY, replace(ENTRY, step="explain", carbon=None)])


def test_bases_are_not_mixed_in_a_card() -> None:
    with pytest.raises(BasisMismatchError):
        model_card([ENTRY, replace(ENTRY, basis="average, location-based, direct")])


def test_a_card_knows_two_types_of_training() -> None:
    with pytest.raises(TrainingTypeError, match="pre-training and fine-tuning"):
        model_card([ENTRY], ExportOptions(training_type="distillation"))

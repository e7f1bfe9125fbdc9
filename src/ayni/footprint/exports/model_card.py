"""`co2_eq_emissions` for the metadata of a model card on the Hugging Face Hub, in grams.

CodeCarbon's file has kilograms and the card wants grams: cards that are wrong by a factor of 1000 are
common. The number is operational carbon; the text beside it has interval, tier, basis and what making the
machines adds.

Not covered: the card itself, which `ayni.hub.card` writes for models that Ayni publishes.

Source: Hugging Face, "Displaying carbon emissions for your model" (huggingface.co/docs/hub/model-cards-co2).
"""

from collections.abc import Sequence
from typing import Any

from ayni.errors import UserError
from ayni.footprint.exports.options import ExportOptions, UnknownFigureError, hardware_of, rounded, to_export
from ayni.footprint.grid.basis import BasisMismatchError
from ayni.footprint.sums.amounts import Amount
from ayni.footprint.sums.entries import FootprintEntry
from ayni.footprint.sums.totals import total_of

TRAINING_TYPES = ("pre-training", "fine-tuning")


class TrainingTypeError(UserError):
    """A model card has no such type of training."""

    def __init__(self, given: str) -> None:
        self.given = given
        super().__init__(
            f"{given!r} is no type of training; a model card knows {' and '.join(TRAINING_TYPES)}."
        )


def model_card(entries: Sequence[FootprintEntry], options: ExportOptions | None = None) -> str:
    """The metadata as YAML, to be put between the two lines `---` of a README.md.

    Raises:
        BasisMismatchError: carbon was counted on different bases.
        UnknownFigureError: the carbon of a step is unknown.
        TrainingTypeError, NothingToExportError.
    """
    import yaml

    metadata = {"co2_eq_emissions": card_emissions(entries, options)}
    text: str = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True, width=1000)
    return text


def card_emissions(entries: Sequence[FootprintEntry], options: ExportOptions | None = None) -> dict[str, Any]:
    """The same as plain values; `emissions` is in grams. Raises as `model_card` does."""
    options = options or ExportOptions()
    if options.training_type is not None and options.training_type not in TRAINING_TYPES:
        raise TrainingTypeError(options.training_type)
    given = to_export(entries)
    total = total_of(given)
    if len(total.carbon) > 1:
        raise BasisMismatchError(total.carbon)
    (basis, carbon), *_ = total.carbon.items()
    if carbon.amount is None:
        unknown = [entry.step for entry in given if entry.carbon is None]
        raise UnknownFigureError("A model card", "carbon", unknown)
    embodied = total.embodied.amount
    made = "" if embodied is None else f"; making the machines adds {_grams(embodied)}"
    found: dict[str, Any] = {
        "emissions": float(f"{carbon.amount.value:.5g}"),
        "source": f"Ayni, {_grams(carbon.amount)} with 90 %, tier {total.tier}, {basis}{made}",
    }
    if options.training_type is not None:
        found["training_type"] = options.training_type
    zones = dict.fromkeys(entry.zone for entry in given)
    return {
        **found,
        "geographical_location": ", ".join(zones),
        "hardware_used": hardware_of(given, options),
    }


def _grams(amount: Amount) -> str:
    text = f"{rounded(amount.value, 3)} g"
    if amount.low is None or amount.high is None:
        return text
    return f"{text} ({rounded(amount.low, 2)} to {rounded(amount.high, 2)})"

"""What the model card says of corrupted images.

Not covered: errors by kind and curves, which the run's report has.
"""

from ayni.data.baseline import LINEAR
from ayni.data.corruptions.robustness import MeasuredModel, Robustness
from ayni.hub.card_robustness import CardRobustness, RobustnessRow


def card_robustness(found: Robustness | None, *, is_private: bool) -> CardRobustness | None:
    """The card's rows; None when nobody looked.

    A baseline learned from the same examples without noise: where the training promises privacy its errors,
    and ratios to them, are no part of the card.
    """
    if found is None:
        return None
    hides = is_private and found.reference == LINEAR
    rows = [model for model in found.models if not (hides and model.errors.model == LINEAR)]
    return CardRobustness(
        num_examples=found.num_examples,
        seed=found.seed,
        reference=None if hides else found.reference,
        rows=[_row(model) for model in rows],
    )


def _row(model: MeasuredModel) -> RobustnessRow:
    return RobustnessRow(
        name=model.errors.model,
        clean_error=model.summary.clean_error,
        mean_error=model.summary.mean_error,
        mce_percent=model.summary.mce_percent,
        relative_mce_percent=model.summary.relative_mce_percent,
    )

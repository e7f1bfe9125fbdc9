"""Which variant of a run's object is which: the chosen one, the full model, the one that is kept.

Not covered: choosing; that was done on the validation data before the object was written.
"""

from collections.abc import Mapping
from typing import Any

View = Mapping[str, Any]


def chosen_variant(view: View) -> dict[str, Any] | None:
    """The variant that was chosen; None when none was."""
    return next((variant for variant in view["variants"] if variant["name"] == view["chosen"]), None)


def full_variant(view: View) -> dict[str, Any] | None:
    """The model that the variants are compared with: the first of the list."""
    return view["variants"][0] if view["variants"] else None


def kept_variant(view: View) -> dict[str, Any] | None:
    """What a user of the run ends up with: the chosen variant, else the full model."""
    return chosen_variant(view) or full_variant(view)

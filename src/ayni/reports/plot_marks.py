"""The marks of trade-off plots, and a key that explains those which a plot has.

A mark is known by how its SVG begins: plots write that text, and the key looks for it. So nothing is
explained that is not drawn, whatever hides or thins out points.

Not covered: where marks go (plots.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

CHOSEN = Markup('<g class="point chosen"')
PLAIN = Markup('<g class="point"')
PALE = Markup('<g class="point pale"')
FRONT = Markup('<path class="front"')
RING = Markup('<circle class="ring"')
WHISKER = Markup('<line class="whisker"')

# Around (0, 0), in a square of 24.
_ALONE = (
    (CHOSEN, Markup('{}><path d="M0 -8l8 8-8 8-8-8z"/></g>'), "The chosen variant."),
    (PALE, Markup('{}><circle r="3.5"/></g>'), "Another variant beats it."),
    (FRONT, Markup('{} d="M-11 -5H0V5H11"/>'), "The front: what nothing else here beats in both."),
    (
        RING,
        PLAIN + Markup('><circle r="4"/>{} r="9"/></g>'),
        "A ring is another variant at the place of the mark inside it.",
    ),
    (WHISKER, PLAIN + Markup('>{} y1="-11" y2="11"/><circle r="4"/></g>'), "Bars are intervals of the loss."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyEntry:
    """One kind of mark as it is drawn, and what it means."""

    drawn: Markup
    meaning: str


def key_of(plots: Sequence[Markup]) -> list[KeyEntry]:
    """How to read the marks that these plots have, and no others."""
    return [
        KeyEntry(drawn=_alone(drawn.format(begin)), meaning=meaning)
        for begin, drawn, meaning in _ALONE
        if any(begin in plot for plot in plots)
    ]


def _alone(mark: Markup) -> Markup:
    return Markup('<svg class="mark" viewBox="-12 -12 24 24" aria-hidden="true">{}</svg>').format(mark)

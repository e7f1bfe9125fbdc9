"""What a figure of carbon counts, and the refusal to add figures that count different things.

    life-cycle or direct      with or without fuel supply, building and scrapping of the power plants
    average or marginal       all plants that ran, or those that the last kilowatt-hour called for
    location-based            the grid of the place; certificates and contracts play no part

The same energy weighs 1.18 to 1.53 times as much life-cycle as direct (four grids of the United States,
2023, 5 to 95 % of the hours), so an undeclared basis is an error of a third. Sums over different bases
mean nothing and are refused.

Not covered: market-based figures, and conversion from one basis to another.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ayni.errors import UserError

Counting = Literal["life-cycle", "direct"]
Signal = Literal["average", "marginal"]


class BasisMismatchError(UserError):
    """Figures of carbon that count different things were to be added or mixed."""

    def __init__(self, bases: Iterable[str]) -> None:
        self.bases = tuple(sorted(set(bases)))
        super().__init__(
            f"Carbon figures on different bases cannot be added: {' | '.join(self.bases)}. Use data of one "
            "basis for all of them, or report each sum by itself."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What is counted. The defaults can be observed and added, and the SCI standard allows them."""

    counting: Counting = "life-cycle"
    signal: Signal = "average"

    def __post_init__(self) -> None:
        if self.counting not in ("life-cycle", "direct") or self.signal not in ("average", "marginal"):
            raise ValueError(f"there is no basis {self.signal!r}, {self.counting!r}")

    def __str__(self) -> str:
        return f"{self.signal}, location-based, {self.counting}"

    @classmethod
    def of_text(cls, text: str) -> "Basis":
        """The basis that a text begins with, such as `average, location-based, direct, annual`.

        Raises:
            ValueError: the text does not begin as one does.
        """
        known: tuple[Basis, ...] = (
            cls(),
            cls(counting="direct"),
            cls(signal="marginal"),
            cls(counting="direct", signal="marginal"),
        )
        for basis in known:
            if text == str(basis) or text.startswith(f"{basis},"):
                return basis
        raise ValueError(f"{text!r} does not name a basis; it would begin like {str(known[0])!r}")


def one_basis(bases: Iterable[Basis]) -> Basis:
    """The basis that all of them share.

    Raises:
        BasisMismatchError: they differ.
        ValueError: there is none.
    """
    different = set(bases)
    if not different:
        raise ValueError("nothing to add: no basis")
    if len(different) > 1:
        raise BasisMismatchError(map(str, different))
    return different.pop()

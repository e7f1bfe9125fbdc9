"""Units and their conversions. SI inside; every name of a number carries its unit.

Energy that must add up is an integer of microjoules, credits that must add up are integers of
micro-credits. Everything else is a float.

Not covered: physical dimensions are not checked by types; the names are the check.
"""

import math
from collections.abc import Sequence

MICROJOULES_PER_JOULE = 1_000_000
JOULES_PER_KWH = 3_600_000.0
MICROJOULES_PER_KWH = 3_600_000_000_000
MICROCREDITS_PER_CREDIT = 1_000_000


def microjoules_to_kwh(microjoules: float) -> float:
    """Energy in kilowatt-hours: 1 kWh = 3.6e12 microjoules."""
    return microjoules / MICROJOULES_PER_KWH


def joules_to_kwh(joules: float) -> float:
    """Energy in kilowatt-hours: 1 kWh = 3.6e6 joules."""
    return joules / JOULES_PER_KWH


def credits_to_microcredits(credits_: float) -> int:
    """Whole micro-credits nearest to an amount in credits; half goes to the even neighbour."""
    return round(credits_ * MICROCREDITS_PER_CREDIT)


def microcredits_to_credits(microcredits: int) -> float:
    """Credits, for people to read. Never add these up: add the integers."""
    return microcredits / MICROCREDITS_PER_CREDIT


def split_exactly(total: int, weights: Sequence[float]) -> list[int]:
    """Integers in proportion to weights that sum exactly to total (largest remainder).

        out[i] = floor(total * w[i] / sum(w)), and the units left over go to the largest fractions

    Weights that are all zero give everything to the last entry, which callers use as "the rest".
    Exact for totals and weights of any size: all arithmetic is on integers, because floats above
    2**53 microjoules (2,500 kWh) cannot hold a share. An entry of weight 0 gets 0.
    Cost: O(n log n). Ties go to the earlier entry, so the result is a function of its input.

    Source: the method of Hamilton (largest remainder), as used for seats in parliaments.

    Raises:
        ValueError: no weights, a weight that is negative, infinite or not a number, or a negative total.
    """
    if total < 0 or not weights or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise ValueError(f"cannot split {total} by the weights {list(weights)}")
    parts = _as_integers(weights)
    parts_sum = sum(parts)
    if parts_sum == 0:
        return [0] * (len(weights) - 1) + [total]
    shares = [divmod(total * part, parts_sum) for part in parts]
    whole = [quotient for quotient, _ in shares]
    largest_first = sorted(range(len(parts)), key=lambda i: (-shares[i][1], i))
    for index in largest_first[: total - sum(whole)]:
        whole[index] += 1
    return whole


def _as_integers(weights: Sequence[float]) -> list[int]:
    """The same proportions as integers: every finite float is a fraction with a power of two below."""
    fractions = [weight.as_integer_ratio() for weight in weights]
    denominator = max(below for _, below in fractions)
    return [above * (denominator // below) for above, below in fractions]

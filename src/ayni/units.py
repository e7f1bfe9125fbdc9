"""Units and their conversions. SI inside; every name of a number carries its unit.

Energy that must add up is an integer of microjoules, credits that must add up are integers of
micro-credits. Everything else is a float.

Not covered: physical dimensions are not checked by types; the names are the check.
"""

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


def split_exactly(total: int, weights: list[float]) -> list[int]:
    """Integers in proportion to weights that sum exactly to total (largest remainder).

        out[i] = floor(total * w[i] / sum(w)), and the units left over go to the largest fractions

    Weights that are all zero give everything to the last entry, which callers use as "the rest".
    Cost: O(n log n). Ties go to the earlier entry, so the result is a function of its input.

    Source: the method of Hamilton (largest remainder), as used for seats in parliaments.

    Raises:
        ValueError: no weights, a negative weight, or a negative total.
    """
    if total < 0 or not weights or min(weights) < 0:
        raise ValueError(f"cannot split {total} by the weights {weights}")
    weight_sum = sum(weights)
    if weight_sum == 0:
        return [0] * (len(weights) - 1) + [total]
    shares = [total * weight / weight_sum for weight in weights]
    whole = [int(share) for share in shares]
    order = sorted(range(len(weights)), key=lambda i: (whole[i] - shares[i], i))
    missing = total - sum(whole)
    for index in order[: max(missing, 0)]:
        whole[index] += 1
    # Floats above 2**53 can round the floors up; take the surplus back from the largest share.
    if (surplus := sum(whole) - total) != 0:
        whole[whole.index(max(whole))] -= surplus
    return whole

"""What less carbon costs: the rounds of the mode "least carbon at most eps dearer", one point for each eps.

Not covered: caps of bids and budgets of members, which limit every point alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ayni.market.clearing import clear_round
from ayni.market.rounds import MarketRound

SHARES = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """A round with one eps. The bids that are placed may differ between points; so see also their work."""

    greenest_within: float
    num_placed: int
    reference_hours: float
    cost_microcredits: int
    grams: float


def carbon_curve(market: MarketRound, *, shares: Sequence[float] = SHARES) -> tuple[CurvePoint, ...]:
    """The round cleared with each share, in the order given."""
    return tuple(_point(market, share) for share in shares)


def pareto_points(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    """Those that no other beats in cost and carbon for an hour of work at once, from cheap to green."""
    known = [point for point in points if point.reference_hours > 0]
    in_order = sorted(known, key=_per_hour)
    kept: list[CurvePoint] = []
    for point in in_order:
        if not kept or _per_hour(point)[1] < _per_hour(kept[-1])[1]:
            kept.append(point)
    return tuple(kept)


def _per_hour(point: CurvePoint) -> tuple[float, float]:
    return point.cost_microcredits / point.reference_hours, point.grams / point.reference_hours


def _point(market: MarketRound, share: float) -> CurvePoint:
    result = clear_round(replace(market, policy=replace(market.policy, greenest_within=share))).result
    work = {bid.id: bid.work_reference_hours for bid in market.bids}
    return CurvePoint(
        greenest_within=share,
        num_placed=len(result.allocations),
        reference_hours=sum(work[each.bid] for each in result.allocations),
        cost_microcredits=sum(each.option.cost_microcredits for each in result.allocations),
        grams=sum(each.option.grams or 0.0 for each in result.allocations),
    )

"""How much a round can be worth at most: a certificate by linear programming, for judging the greedy result.

    max  sum over options of (worth - cost) x
    s.t. each bid at most once, 0 <= x, and in each row and slot with C free machines
         sum of gang * x                 <= C
         sum of floor(gang / d) * x      <= floor(C / d)    for d = floor(C / k) + 1, k = 2, 3, 4

The second kind (Chvatal-Gomory cuts) holds for whole allocations, not for fractions of gangs: of gangs that
take more than half of the machines there is at most one. Without it the bound is far too high where gangs are
large.

Whole allocations are worth no more than the optimum. Prices of machines and cuts in each row and slot give a
bound without trusting the solver:

    bound = sum of price * right-hand side + sum over bids of max(0, best of worth - cost - prices)

lies above every allocation, whatever the prices (weak duality). Its second term looks at every place; those
that pay at the prices join the program, and it is solved again, until the bound comes within
`tolerance`. The solver is the interior point method of HiGHS, by scipy.

Not covered: work that is suspended; fairness weights, caps and carbon budgets of members. The bound is
that of a pool that looks at welfare alone. Carbon caps, residency and deadlines of bids hold.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ayni.errors import MissingExtraError
from ayni.market.rounds import MarketRound

if TYPE_CHECKING:
    from ayni.market.option_pricing import Columns
    from ayni.market.round_arrays import Floats, Integers, RoundArrays

CUTS = (2, 3, 4)
COLUMNS_A_ROUND = 16
"""Places that each bid may add after a program is solved; with fewer, more programs must be solved."""
COLUMNS_AT_FIRST = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class WelfareBound:
    """The most that a round can be worth, and how close the search for the least bound came.

    program_microcredits is the optimum of the program over the options that were looked at; the true optimum
    of the relaxation lies between it and bound_microcredits.
    """

    bound_microcredits: float
    program_microcredits: float
    num_options: int
    num_solved: int
    slot_prices: tuple[float, ...]
    """What an hour of the reference machine was worth in each slot, in micro-credits, over all rows: the mean
    price of capacity, from which later rounds may learn."""


class _Limits(NamedTuple):
    """Rows of the program by kind I, row and slot: what a gang weighs in one, and how much fits.

    weight_GIRT is for the sizes of gangs in gang_G; kind 0 are the machines themselves, the others cuts.
    """

    gang_G: "Integers"
    weight_GIRT: "Integers"
    most_IRT: "Integers"


def welfare_bound(market: MarketRound, *, tolerance: float = 1e-3, most_solved: int = 8) -> WelfareBound:
    """The least bound that up to `most_solved` programs find.

    Args:
        market: the round; weights, caps and budgets of members are left out of account.
        tolerance: share of the bound at which program and bound are near enough.
        most_solved: programs that are solved at most. Each takes from a second (200 bids) to minutes.

    Raises:
        MissingExtraError: numpy or scipy is not installed.
        ValueError: a bid can be suspended.
    """
    try:
        import numpy as np
        import scipy  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(extra="market", package=error.name or "scipy") from error
    from ayni.market.option_pricing import best_at_prices, without_known
    from ayni.market.round_arrays import make_round_arrays

    if any(bid.can_suspend for bid in market.bids):
        raise ValueError("the bound does not cover bids that can be suspended")
    arrays = make_round_arrays(market)
    limits = _limits(arrays)
    price_GRT = np.zeros((len(limits.gang_G), *arrays.facts.free_RT.shape))
    surplus_N, columns = best_at_prices(arrays, price_GRT, limits.gang_G, num_columns=COLUMNS_AT_FIRST)
    bound, program, num_solved = float(surplus_N.sum()), 0.0, 0
    while num_solved < most_solved:
        program, price_IRT = _solve(arrays, limits, columns)
        num_solved += 1
        price_GRT = np.einsum("girt,irt->grt", limits.weight_GIRT, price_IRT)
        surplus_N, found = best_at_prices(arrays, price_GRT, limits.gang_G, num_columns=COLUMNS_A_ROUND)
        bound = min(bound, float((price_IRT * limits.most_IRT).sum() + surplus_N.sum()))
        if bound - program <= tolerance * bound:
            break
        columns = without_known(columns, found)
    return WelfareBound(
        bound_microcredits=bound,
        program_microcredits=program,
        num_options=len(columns.bid_O),
        num_solved=num_solved,
        slot_prices=_slot_prices(arrays, limits, price_GRT),
    )


def _slot_prices(arrays: "RoundArrays", limits: _Limits, price_GRT: "Floats") -> tuple[float, ...]:
    """Prices of the smallest gangs, for a machine of the reference class, weighted by capacity."""
    import numpy as np

    ratio_R = arrays.facts.ratio_SR.max(axis=0, initial=0.0)
    capacity_RT = arrays.facts.free_RT * ratio_R[:, None]
    worth_T = (price_GRT[0] * arrays.facts.free_RT).sum(axis=0) / max(1, int(limits.gang_G[0]))
    mean_T = worth_T / np.maximum(1e-9, capacity_RT.sum(axis=0))
    return tuple(mean_T[: arrays.facts.cumulative_ZT.shape[1] - 1].tolist())


def _limits(arrays: "RoundArrays") -> _Limits:
    import numpy as np

    free_RT, gang_G = arrays.facts.free_RT, np.unique(arrays.facts.bids["gang"])
    divisor_IRT = np.stack([np.ones_like(free_RT), *(free_RT // k + 1 for k in CUTS)])
    return _Limits(
        gang_G=gang_G,
        weight_GIRT=gang_G[:, None, None, None] // divisor_IRT,
        most_IRT=free_RT // divisor_IRT,
    )


def _solve(arrays: "RoundArrays", limits: _Limits, columns: "Columns") -> "tuple[float, Floats]":
    """Optimum of the program over some columns, and its prices by kind, row and slot."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix

    num_columns, num_bids = len(columns.bid_O), len(arrays.facts.bids)
    num_kinds, num_rows, num_slots = limits.most_IRT.shape
    lengths = columns.end_O - columns.start_O
    column = np.repeat(np.arange(num_columns), lengths)
    offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    slot = np.repeat(columns.start_O, lengths) + offset
    row = np.repeat(columns.row_O, lengths)
    gang = np.searchsorted(limits.gang_G, arrays.facts.bids["gang"][columns.bid_O])[column]
    entries = [(np.ones(num_columns), columns.bid_O, np.arange(num_columns))]
    for kind in range(num_kinds):
        weight = limits.weight_GIRT[gang, kind, row, slot]
        is_there = weight > 0
        place = num_bids + (kind * num_rows + row) * num_slots + slot
        entries.append((weight[is_there].astype(np.float64), place[is_there], column[is_there]))
    values, rows, of_columns = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    # Only limits that some column meets are rows of the program.
    met, rows = np.unique(rows, return_inverse=True)
    uses = csr_matrix((values, (rows, of_columns)), shape=(len(met), num_columns))
    most = np.concatenate([np.ones(num_bids), limits.most_IRT.reshape(-1)])[met]
    # Micro-credits reach 1e12, where the solver's tolerances mean nothing: the dearest gain becomes 1.
    unit = max(1.0, float(columns.gain_O.max(initial=0.0)))
    solved = linprog(-columns.gain_O / unit, A_ub=uses, b_ub=most, method="highs-ipm")
    if solved.x is None:
        raise RuntimeError(f"HiGHS did not solve the bound: {solved.message}")
    prices = np.zeros(num_bids + limits.most_IRT.size)
    prices[met] = np.maximum(-solved.ineqlin.marginals, 0.0) * unit
    return float(-solved.fun) * unit, prices[num_bids:].reshape(limits.most_IRT.shape)

"""How much a round can be worth at most: a certificate by linear programming, for judging the greedy result.

    max  sum over options of (worth - cost) x
    s.t. each bid at most once, machines of each row and slot at most as many as are free, 0 <= x

Whole allocations are worth no more than its optimum. Prices p >= 0 of machines by row and slot give a bound
without trusting the solver:

    bound(p) = sum of p * free machines + sum over bids of max(0, max of worth - cost - p * use over options)

is above every allocation, whatever p is (weak duality). The second term looks at every place and start, not at
the few options that greedy keeps; those that pay at the prices join the program, and it is solved again until
none does or the bound comes within `tolerance`. The solver is the interior point method of HiGHS, by scipy.

Not covered: work that is suspended, fairness weights, caps and carbon budgets of members: the bound is that of
a pool that looks at welfare alone. Carbon caps, residency and deadlines of bids hold.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ayni.errors import MissingExtraError
from ayni.market.rounds import MarketRound

COLUMNS_A_ROUND = 6
"""Places that each bid may add after a program is solved: the best of different rows."""

if TYPE_CHECKING:
    from ayni.market.option_pricing import Columns
    from ayni.market.round_arrays import Floats, RoundArrays


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


def welfare_bound(
    market: MarketRound, *, tolerance: float = 1e-3, most_solved: int = 8, first_options: int = 16
) -> WelfareBound:
    """The least bound that up to `most_solved` programs find.

    Args:
        market: the round; weights, caps and budgets of members are left out of account.
        tolerance: share of the bound at which program and bound are near enough.
        most_solved: programs that are solved at most. Each takes from a second (1,000 bids) to minutes.
        first_options: options a bid in the first program.

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
    price_RT = np.zeros(arrays.rows.free_RT.shape)
    surplus_N, columns = best_at_prices(arrays, price_RT, num_columns=first_options)
    bound, program, num_solved = float(surplus_N.sum()), 0.0, 0
    while num_solved < most_solved:
        program, price_RT = _solve(arrays, columns)
        num_solved += 1
        surplus_N, found = best_at_prices(arrays, price_RT, num_columns=COLUMNS_A_ROUND)
        bound = min(bound, float((price_RT * arrays.rows.free_RT).sum() + surplus_N.sum()))
        if bound - program <= tolerance * bound:
            break
        columns = without_known(columns, found)
    return WelfareBound(
        bound_microcredits=bound,
        program_microcredits=program,
        num_options=len(columns.bid_O),
        num_solved=num_solved,
    )


def _solve(arrays: "RoundArrays", columns: "Columns") -> "tuple[float, Floats]":
    """Optimum and prices of the program over some columns."""
    import numpy as np
    from scipy.optimize import linprog
    from scipy.sparse import csr_matrix

    num_columns, num_bids = len(columns.bid_O), len(arrays.bids.limit_N)
    width = arrays.rows.free_RT.shape[1]
    lengths = columns.end_O - columns.start_O
    column = np.repeat(np.arange(num_columns), lengths)
    offset = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    place = np.repeat(columns.row_O * width + columns.start_O, lengths) + offset
    machines = np.repeat(arrays.bids.gang_N[columns.bid_O], lengths).astype(np.float64)
    # Only places that some column wants are rows of the program.
    wanted, place = np.unique(place, return_inverse=True)
    uses = csr_matrix(
        (
            np.concatenate([np.ones(num_columns), machines]),
            (
                np.concatenate([columns.bid_O, num_bids + place]),
                np.concatenate([np.arange(num_columns), column]),
            ),
        ),
        shape=(num_bids + len(wanted), num_columns),
    )
    available = np.concatenate([np.ones(num_bids), arrays.rows.free_RT.reshape(-1)[wanted]])
    # Micro-credits reach 1e12, where the solver's tolerances mean nothing: the dearest gain becomes 1.
    unit = max(1.0, float(columns.gain_O.max(initial=0.0)))
    solved = linprog(-columns.gain_O / unit, A_ub=uses, b_ub=available, method="highs-ipm")
    if solved.x is None:
        raise RuntimeError(f"HiGHS did not solve the bound: {solved.message}")
    price_P = np.zeros(arrays.rows.free_RT.size)
    price_P[wanted] = np.maximum(-solved.ineqlin.marginals[num_bids:], 0.0) * unit
    return float(-solved.fun) * unit, price_P.reshape(arrays.rows.free_RT.shape)

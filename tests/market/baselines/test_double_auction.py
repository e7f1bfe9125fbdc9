"""Double auctions of one good, against the worked example and their promises.

bids 9 8 7 4,  asks 2 3 6 8:   k = 3 (7 >= 6, 4 < 8)
"""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ayni.market.baselines.double_auction import NO_TRADES, Trades, k_double_auction
from ayni.market.baselines.mcafee import mcafee
from ayni.market.baselines.sbba import sbba

BIDS, ASKS = (4, 9, 7, 8), (6, 2, 8, 3)
amounts = st.lists(st.integers(0, 12), max_size=7)


def run(name: str, bids: list[int], asks: list[int], seed: int = 0) -> Trades:
    if name == "sbba":
        return sbba(bids, asks, rng=random.Random(seed))
    return mcafee(bids, asks) if name == "mcafee" else k_double_auction(bids, asks)


def buyer_gain(trades: Trades, buyer: int, value: int) -> int:
    if buyer not in trades.buyers or trades.buyer_price_microcredits is None:
        return 0
    return value - trades.buyer_price_microcredits


def seller_gain(trades: Trades, seller: int, cost: int) -> int:
    if seller not in trades.sellers or trades.seller_price_microcredits is None:
        return 0
    return trades.seller_price_microcredits - cost


@pytest.mark.parametrize(("alpha", "price"), [(0.0, 6), (0.5, 6), (1.0, 7)])
def test_the_k_double_auction_trades_all_pairs_between_the_last_ask_and_bid(alpha: float, price: int) -> None:
    trades = k_double_auction(BIDS, ASKS, alpha=alpha)

    assert trades == Trades(
        buyers=(1, 3, 2), sellers=(1, 3, 0), buyer_price_microcredits=price, seller_price_microcredits=price
    )


def test_mcafee_takes_the_mean_of_the_next_pair_where_it_lies_between() -> None:
    # p0 = (4 + 8) / 2 = 6, within [6, 7].
    trades = mcafee(BIDS, ASKS)

    assert len(trades.buyers) == 3 and trades.buyer_price_microcredits == 6
    assert trades.surplus_microcredits == 0


def test_mcafee_gives_up_the_last_pair_where_it_does_not() -> None:
    # p0 = (4 + 20) / 2 = 12 is above 7: two pairs trade, buyers pay 7 and sellers get 6.
    trades = mcafee([9, 8, 7, 4], [2, 3, 6, 20])

    assert trades.buyers == (0, 1) and trades.sellers == (0, 1)
    assert (trades.buyer_price_microcredits, trades.seller_price_microcredits) == (7, 6)
    assert trades.surplus_microcredits == 2


def test_sbba_trades_all_pairs_at_the_next_ask_where_buyers_can_pay_it() -> None:
    trades = sbba([9, 8, 7], [2, 3, 5, 6], rng=random.Random(0))

    assert len(trades.buyers) == 3 and trades.buyer_price_microcredits == 6


def test_sbba_leaves_out_the_last_buyer_and_a_seller_drawn_by_lot_where_they_cannot() -> None:
    drawn = {sbba(BIDS, ASKS, rng=random.Random(seed)).sellers for seed in range(40)}

    # The next ask is 8 and the last bid 7: two buyers pay 7 to two of the three sellers.
    assert {frozenset(sellers) for sellers in drawn} == {
        frozenset({1, 3}),
        frozenset({1, 0}),
        frozenset({3, 0}),
    }
    assert sbba(BIDS, ASKS, rng=random.Random(0)).buyers == (1, 3)


@pytest.mark.parametrize("name", ["k", "mcafee", "sbba"])
def test_nobody_trades_where_every_ask_is_above_every_bid(name: str) -> None:
    assert run(name, [3, 2], [4, 5]) == NO_TRADES and run(name, [], []) == NO_TRADES


@pytest.mark.parametrize("name", ["k", "mcafee", "sbba"])
@given(bids=amounts, asks=amounts, seed=st.integers(0, 9))
def test_nobody_loses_and_the_house_never_pays(
    name: str, bids: list[int], asks: list[int], seed: int
) -> None:
    trades = run(name, bids, asks, seed)

    assert len(trades.buyers) == len(trades.sellers)
    assert all(buyer_gain(trades, buyer, bids[buyer]) >= 0 for buyer in trades.buyers)
    assert all(seller_gain(trades, seller, asks[seller]) >= 0 for seller in trades.sellers)
    assert trades.surplus_microcredits >= 0
    if name != "mcafee":
        assert trades.surplus_microcredits == 0


@pytest.mark.parametrize("name", ["mcafee", "sbba"])
@given(
    bids=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    asks=st.lists(st.integers(0, 12), min_size=1, max_size=6),
    lie=st.integers(0, 12),
    seed=st.integers(0, 3),
)
def test_no_lie_gains_anything(name: str, bids: list[int], asks: list[int], lie: int, seed: int) -> None:
    honest = run(name, bids, asks, seed)

    buyer_lied = run(name, [lie, *bids[1:]], asks, seed)
    seller_lied = run(name, bids, [lie, *asks[1:]], seed)

    # A lot may fall otherwise when the order changes, so that sellers would have to be judged over all lots.
    assert buyer_gain(buyer_lied, 0, bids[0]) <= buyer_gain(honest, 0, bids[0]) + 1e-9
    if name == "mcafee":
        assert seller_gain(seller_lied, 0, asks[0]) <= seller_gain(honest, 0, asks[0]) + 1e-9

"""SBBA, the strongly budget-balanced double auction: what buyers pay, sellers get, to the last micro-credit.

    p = min(b_k, s_(k+1))
    p = s_(k+1)   all k pairs trade at p
    p = b_k       buyer k trades not, and one of the k sellers, drawn by lot, neither; the others at p

Truthful whatever the lot says, individually rational, and exactly balanced. The lot may exclude a seller that
is cheaper than others, so a trade that is lost costs more than with McAfee.

Not covered: bids for more than one unit (see `double_auction`).

Source: Segal-Halevi, Hassidim and Aumann, "SBBA: A Strongly-Budget-Balanced Double-Auction Mechanism", SAGT
2016, arXiv:1607.05139. Without a (k+1)-th ask the price is b_k.
"""

import random
from collections.abc import Sequence

from ayni.market.baselines.double_auction import NO_TRADES, Trades, order_book, trades_at


def sbba(bids_microcredits: Sequence[int], asks_microcredits: Sequence[int], *, rng: random.Random) -> Trades:
    """Who trades, and at which price."""
    book = order_book(bids_microcredits, asks_microcredits)
    k = book.num_pairs
    if k == 0:
        return NO_TRADES
    last_bid, next_ask = book.bids[k - 1], book.ask(k + 1)
    if next_ask is not None and next_ask <= last_bid:
        return trades_at(book, k, buyer_price=next_ask, seller_price=next_ask)
    if k == 1:
        return NO_TRADES
    excluded = rng.randrange(k)
    sellers = tuple(seller for rank, seller in enumerate(book.sellers[:k]) if rank != excluded)
    return Trades(
        buyers=book.buyers[: k - 1],
        sellers=sellers,
        buyer_price_microcredits=last_bid,
        seller_price_microcredits=last_bid,
    )

"""McAfee's double auction: nobody who trades can move the price at which it trades.

    p0 = (b_(k+1) + s_(k+1)) / 2
    s_k <= p0 <= b_k   all k pairs trade at p0
    else               k - 1 pairs trade; buyers pay b_k, sellers get s_k

Truthful for both sides, individually rational, and weakly balanced: the difference in the second case stays
with the house. It loses at most the k-th trade, which in a thin market is much.

Not covered: bids for more than one unit (see `double_auction`).

Source: McAfee, "A Dominant Strategy Double Auction", Journal of Economic Theory 56(2), 1992. Without a
(k+1)-th bid or ask there is no p0, and the second case holds.
"""

from collections.abc import Sequence

from ayni.market.baselines.double_auction import NO_TRADES, Trades, order_book, trades_at


def mcafee(bids_microcredits: Sequence[int], asks_microcredits: Sequence[int]) -> Trades:
    """Who trades, and at which prices; p0 is rounded down to whole micro-credits."""
    book = order_book(bids_microcredits, asks_microcredits)
    k = book.num_pairs
    if k == 0:
        return NO_TRADES
    next_bid, next_ask = book.bid(k + 1), book.ask(k + 1)
    if next_bid is not None and next_ask is not None:
        price = (next_bid + next_ask) // 2
        if book.asks[k - 1] <= price <= book.bids[k - 1]:
            return trades_at(book, k, buyer_price=price, seller_price=price)
    return trades_at(book, k - 1, buyer_price=book.bids[k - 1], seller_price=book.asks[k - 1])

"""The k-double auction: one price between the last bid and the last ask that trade.

    k  = the largest i with b_i >= s_i,   b falling, s rising
    lo = max(s_k, b_(k+1)),  hi = min(b_k, s_(k+1))
    p  = (1 - alpha) * lo + alpha * hi

Exactly balanced and efficient on what is reported, but neither side gains nothing by misreporting: who is at
the margin moves the price. In large markets little is to be gained.

Not covered: bids for more than one unit. Each unit is a bidder of its own here, and truthfulness is proved
for such bidders only.

Source: Chatterjee and Samuelson, "Bargaining under Incomplete Information", Operations Research 31(5), 1983;
Rustichini, Satterthwaite and Williams, Econometrica 62(5), 1994, for the large market.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trades:
    """Who trades, as indices into what was given, and at which prices for one unit (None without trades)."""

    buyers: tuple[int, ...]
    sellers: tuple[int, ...]
    buyer_price_microcredits: int | None
    seller_price_microcredits: int | None

    @property
    def surplus_microcredits(self) -> int:
        """What buyers pay and sellers do not get."""
        if self.buyer_price_microcredits is None or self.seller_price_microcredits is None:
            return 0
        paid = len(self.buyers) * self.buyer_price_microcredits
        return paid - len(self.sellers) * self.seller_price_microcredits


NO_TRADES = Trades(buyers=(), sellers=(), buyer_price_microcredits=None, seller_price_microcredits=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """Bids from the highest and asks from the lowest, and how many pairs would trade."""

    buyers: tuple[int, ...]
    sellers: tuple[int, ...]
    bids: tuple[int, ...]
    asks: tuple[int, ...]
    num_pairs: int

    def bid(self, rank: int) -> int | None:
        """The bid of a rank from 1; None below the last."""
        return self.bids[rank - 1] if rank <= len(self.bids) else None

    def ask(self, rank: int) -> int | None:
        """The ask of a rank from 1; None above the last."""
        return self.asks[rank - 1] if rank <= len(self.asks) else None


def order_book(bids_microcredits: Sequence[int], asks_microcredits: Sequence[int]) -> Book:
    """Sort both sides, ties by index. Cost: O(n log n)."""
    buyers = tuple(sorted(range(len(bids_microcredits)), key=lambda i: (-bids_microcredits[i], i)))
    sellers = tuple(sorted(range(len(asks_microcredits)), key=lambda i: (asks_microcredits[i], i)))
    bids = tuple(bids_microcredits[i] for i in buyers)
    asks = tuple(asks_microcredits[i] for i in sellers)
    num_pairs = sum(bid >= ask for bid, ask in zip(bids, asks, strict=False))
    return Book(buyers=buyers, sellers=sellers, bids=bids, asks=asks, num_pairs=num_pairs)


def k_double_auction(
    bids_microcredits: Sequence[int], asks_microcredits: Sequence[int], *, alpha: float = 0.5
) -> Trades:
    """All k pairs trade at one price, rounded down to whole micro-credits."""
    book = order_book(bids_microcredits, asks_microcredits)
    k = book.num_pairs
    if k == 0:
        return NO_TRADES
    next_bid, next_ask = book.bid(k + 1), book.ask(k + 1)
    low = book.asks[k - 1] if next_bid is None else max(book.asks[k - 1], next_bid)
    high = book.bids[k - 1] if next_ask is None else min(book.bids[k - 1], next_ask)
    price = low + int(alpha * (high - low))
    return trades_at(book, k, buyer_price=price, seller_price=price)


def trades_at(book: Book, num_trades: int, *, buyer_price: int, seller_price: int) -> Trades:
    """The first so many of both sides at these prices; none for no trade."""
    if num_trades == 0:
        return NO_TRADES
    return Trades(
        buyers=book.buyers[:num_trades],
        sellers=book.sellers[:num_trades],
        buyer_price_microcredits=buyer_price,
        seller_price_microcredits=seller_price,
    )

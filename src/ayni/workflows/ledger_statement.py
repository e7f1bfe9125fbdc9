"""Say what became of a member's credits."""

from datetime import datetime

from ayni.errors import UserError
from ayni.market.ledger import Ledger
from ayni.market.statement import Statement, make_statement


class UnknownMemberError(UserError):
    """The ledger has no account of a member."""

    def __init__(self, member: str, known: list[str]) -> None:
        self.member = member
        named = ", ".join(known) if known else "nobody yet; a member's first job makes its account"
        super().__init__(f"The ledger knows no member {member!r}. It knows: {named}.")


def ledger_statement(
    ledger: Ledger, member: str, *, since: datetime | None = None, until: datetime | None = None
) -> Statement:
    """The movements of a member's credits in [since, until), with what it had before and after.

    Raises:
        UnknownMemberError: nothing was ever booked for it.
    """
    rows = ledger.transactions_of(member)
    if not rows:
        accounts = [account.split(":") for account in ledger.balances()]
        raise UnknownMemberError(member, sorted({parts[1] for parts in accounts if parts[0] == "member"}))
    return make_statement(rows, member=member, since=since, until=until)

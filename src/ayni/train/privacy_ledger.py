"""What the runs of this home have told about each data set, in the shared database.

Two releases about the same examples tell more than one. Spends are added up by basic composition: the
epsilons and the deltas of all runs on a data set, each in full. That is never too little; a tighter
composition over runs would need their mechanisms side by side.

A run's promise is booked before its first step and settled by what it reached. One that broke off stays
booked in full as soon as a single step was begun, for somebody may have seen what it left.

Two data sets are the same when they have the same name on their data cards or the same training examples.
The lowest cap that any run declared for a data set holds for all later ones.

Not covered: runs in other homes, data sets that overlap under other names, and whoever deletes the database.

Source: Dwork et al., "Our Data, Ourselves", EUROCRYPT 2006, theorem 1 (basic composition).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ayni.database import Database, metadata
from ayni.errors import UserError

privacy_spends_table = sa.Table(
    "privacy_spends",
    metadata,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("dataset_name", sa.String, nullable=True, index=True),
    sa.Column("dataset_sha256", sa.String, nullable=False, index=True),
    sa.Column("epsilon", sa.Float, nullable=False),
    sa.Column("delta", sa.Float, nullable=False),
    sa.Column("cap_epsilon", sa.Float, nullable=True),
    sa.Column("is_settled", sa.Boolean, nullable=False),
    sa.Column("booked_at", sa.String, nullable=False),
)


class DatasetBudgetError(UserError):
    """A run would tell more about a data set than is allowed for all runs together."""

    def __init__(self, *, dataset: str, spent: float, wanted: float, cap: float) -> None:
        self.spent_epsilon, self.wanted_epsilon, self.cap_epsilon = spent, wanted, cap
        super().__init__(
            f"The runs on {dataset} have spent epsilon {spent:.4g} together, and this one asks for "
            f"{wanted:.4g}; the lowest dataset_epsilon that was declared for it is {cap:.4g}. Lower "
            f"train.privacy.epsilon to {max(0.0, cap - spent):.4g} or less, or use other data. `ayni train "
            "privacy` shows what was spent."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetIdentity:
    """By what a data set is recognised; a name of None says nothing."""

    name: str | None
    sha256: str

    def __str__(self) -> str:
        return self.name or f"data {self.sha256[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpend:
    """What one run promised, or reached once it `is_settled`."""

    run: str
    dataset: DatasetIdentity
    epsilon: float
    delta: float
    cap_epsilon: float | None
    is_settled: bool
    booked_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "run": self.run,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "cap_epsilon": self.cap_epsilon,
            "is_settled": self.is_settled,
            "booked_at": self.booked_at.isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetAccount:
    """All runs on one data set; `cap_epsilon` is the lowest that was declared, None when none was."""

    dataset: DatasetIdentity
    spends: tuple[PrivacySpend, ...]

    @property
    def epsilon(self) -> float:
        """Of all runs together."""
        return sum(spend.epsilon for spend in self.spends)

    @property
    def delta(self) -> float:
        """Of all runs together."""
        return sum(spend.delta for spend in self.spends)

    @property
    def cap_epsilon(self) -> float | None:
        """The lowest cap that any run declared."""
        caps = [spend.cap_epsilon for spend in self.spends if spend.cap_epsilon is not None]
        return min(caps, default=None)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.dataset.name,
            "sha256": self.dataset.sha256,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "cap_epsilon": self.cap_epsilon,
            "composition": "basic: the sum over the runs",
            "runs": [spend.to_json() for spend in self.spends],
        }


class PrivacyLedger:
    """Spends of all runs in the shared database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def book(self, spend: PrivacySpend) -> DatasetAccount:
        """Book what a run promises before it begins; the same again for a run that goes on changes nothing.

        Raises:
            DatasetBudgetError: it would exceed the data set's cap, or the one that it declares itself.
        """

        def write(connection: sa.Connection) -> DatasetAccount:
            account = DatasetAccount(
                dataset=spend.dataset, spends=tuple(_spends_on(connection, spend.dataset))
            )
            if any(known.run == spend.run for known in account.spends):
                return account
            caps = [cap for cap in (account.cap_epsilon, spend.cap_epsilon) if cap is not None]
            if caps and account.epsilon + spend.epsilon > min(caps) * (1 + 1e-9):
                raise DatasetBudgetError(
                    dataset=str(spend.dataset), spent=account.epsilon, wanted=spend.epsilon, cap=min(caps)
                )
            connection.execute(privacy_spends_table.insert(), [_to_row(spend)])
            return DatasetAccount(dataset=spend.dataset, spends=(*account.spends, spend))

        return self._database.run(write)

    def settle(self, run: str, *, epsilon: float) -> None:
        """Note what a run that is over has reached; never more than it promised."""
        table = privacy_spends_table
        update = (
            table.update()
            .where(table.c.run == run, table.c.epsilon >= epsilon)
            .values(epsilon=epsilon, is_settled=True)
        )
        self._database.run(lambda connection: connection.execute(update))

    def release(self, run: str) -> None:
        """Forget what a run promised that never began."""
        table = privacy_spends_table
        delete = table.delete().where(table.c.run == run, table.c.is_settled.is_(False))
        self._database.run(lambda connection: connection.execute(delete))

    def accounts(self) -> list[DatasetAccount]:
        """One for each data set, in the order of their first run; rows that share name or content are one."""
        with self._database.reading() as connection:
            rows = connection.execute(_ordered(sa.select(privacy_spends_table))).all()
        groups: list[list[PrivacySpend]] = []
        for spend in map(_from_row, rows):
            mine = [group for group in groups if any(_is_same(spend.dataset, one.dataset) for one in group)]
            others = [group for group in groups if group not in mine]
            groups = [*others, [*(one for group in mine for one in group), spend]]
        found = [DatasetAccount(dataset=group[0].dataset, spends=tuple(group)) for group in groups]
        return sorted(found, key=lambda account: account.spends[0].booked_at)


def _is_same(one: DatasetIdentity, other: DatasetIdentity) -> bool:
    return one.sha256 == other.sha256 or (one.name is not None and one.name == other.name)


def _spends_on(connection: sa.Connection, dataset: DatasetIdentity) -> Sequence[PrivacySpend]:
    table = privacy_spends_table
    is_same = table.c.dataset_sha256 == dataset.sha256
    if dataset.name is not None:
        is_same = is_same | (table.c.dataset_name == dataset.name)
    return [_from_row(row) for row in connection.execute(_ordered(sa.select(table).where(is_same)))]


def _ordered(query: sa.Select[Any]) -> sa.Select[Any]:
    return query.order_by(privacy_spends_table.c.booked_at, privacy_spends_table.c.run)


def _to_row(spend: PrivacySpend) -> dict[str, Any]:
    return {
        "run": spend.run,
        "dataset_name": spend.dataset.name,
        "dataset_sha256": spend.dataset.sha256,
        "epsilon": spend.epsilon,
        "delta": spend.delta,
        "cap_epsilon": spend.cap_epsilon,
        "is_settled": spend.is_settled,
        "booked_at": spend.booked_at.astimezone(UTC).isoformat(),
    }


def _from_row(row: Any) -> PrivacySpend:
    return PrivacySpend(
        run=row.run,
        dataset=DatasetIdentity(name=row.dataset_name, sha256=row.dataset_sha256),
        epsilon=row.epsilon,
        delta=row.delta,
        cap_epsilon=row.cap_epsilon,
        is_settled=row.is_settled,
        booked_at=datetime.fromisoformat(row.booked_at),
    )

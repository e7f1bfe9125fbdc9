"""How many parameters a model has, by the headers of its safetensors files; kept at each commit on `main`.

    model.safetensors              alone, where it is there
    model-00001-of-00003...        all of them, where they are there
    any other *.safetensors        all in the first folder

The numbers are those that the scan of content found, so that no file is read here.

Not covered: weights in other forms, and quantised values that are packed several into one.
"""

import json
import re
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ayni.database import metadata
from ayni.hub import revisions
from ayni.hub.commits import AfterCommit, CommitRequest, Committed
from ayni.hub.content_safety import known_scans
from ayni.hub.git_objects import TreeEntry
from ayni.hub.repository import Repository

SUFFIX = ".safetensors"
_PART = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_BOUND = re.compile(r"(min|max):(\d{1,15}(?:\.\d{1,6})?)([KMBT]?)", re.IGNORECASE)

parameters_table = sa.Table(
    "hub_parameters",
    metadata,
    sa.Column("repository_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("num_parameters", sa.BigInteger, nullable=False),
    sa.Column("by_type", sa.String, nullable=False),
    sa.Index("ix_hub_parameters_num_parameters", "num_parameters"),
)
_COLUMNS = parameters_table.c


def counting() -> AfterCommit:
    """What keeps the numbers up to date, for `CommitHooks.after`."""

    def follow(
        connection: sa.Connection, repository: Repository, request: CommitRequest, committed: Committed
    ) -> None:
        if request.ref == revisions.MAIN and any(path.endswith(SUFFIX) for path in request.changes):
            made = revisions.read_commit(connection, repository.id, committed.revision)
            assert made is not None
            here = {each.name: each for each in revisions.read_tree(connection, made.tree)}
            put(connection, repository.id, counts_of(connection, here))

    return follow


def counts_of(connection: sa.Connection, files: Mapping[str, TreeEntry]) -> dict[str, int]:
    """Parameters by type of the files in the first folder of a revision; empty where none are known."""
    weights = {
        path: each
        for path, each in files.items()
        if path.endswith(SUFFIX) and "/" not in path and not each.is_folder
    }
    parts = {path: each for path, each in weights.items() if _PART.fullmatch(path)}
    whole = {path: each for path, each in weights.items() if path == f"model{SUFFIX}"}
    counts: dict[str, int] = {}
    for scan in known_scans(connection, whole or parts or weights).values():
        for kind, number in scan.parameters.items():
            counts[kind] = counts.get(kind, 0) + number
    return counts


def put(connection: sa.Connection, repository_id: int, counts: Mapping[str, int]) -> None:
    """Keep the numbers in the place of those before."""
    connection.execute(parameters_table.delete().where(_COLUMNS.repository_id == repository_id))
    if counts:
        values = {"repository_id": repository_id, "num_parameters": sum(counts.values())}
        connection.execute(parameters_table.insert().values(**values, by_type=json.dumps(counts)))


def read(connection: sa.Connection, repository_ids: Sequence[int]) -> dict[int, dict[str, int]]:
    """Parameters by type, by number of repository."""
    query = sa.select(parameters_table).where(_COLUMNS.repository_id.in_(list(repository_ids)))
    return {row.repository_id: json.loads(row.by_type) for row in connection.execute(query)}


def within(repository_id: sa.ColumnElement[int], text: str) -> sa.ColumnElement[bool]:
    """A condition for a listing, as the clients write it: `min:6B,max:128B`.

    Raises:
        ValueError: it is written in another way.
    """
    conditions = []
    for bound in text.split(","):
        found = _BOUND.fullmatch(bound.strip())
        if found is None:
            raise ValueError(f"{bound!r} is no bound; write min:6B, max:500M, or both with a comma")
        number = min(round(float(found[2]) * _UNITS[found[3].upper()]), (1 << 63) - 1)
        column = _COLUMNS.num_parameters
        conditions.append(column >= number if found[1].lower() == "min" else column <= number)
    return sa.exists().where(_COLUMNS.repository_id == repository_id, *conditions)

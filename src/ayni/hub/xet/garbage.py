"""Free files made of chunks that no repository has any more, and xorbs that no file uses.

    file    no repository links its content, and none received it to commit it
    xorb    no file uses it, and it came longer ago than clients remember what they uploaded

A client may build on a xorb that it remembers for three weeks; to free it earlier would break its next
upload. Rows go first, in a transaction: a crash afterwards leaves bytes that no row names, which
`unnamed_objects` finds.

Not covered: when this is done, and content that is not made of chunks.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import sqlalchemy as sa

from ayni.database import Database
from ayni.hub.content import ContentStore
from ayni.hub.tables import repository_objects_table
from ayni.hub.uploads import received_table
from ayni.hub.xet.chunk_reader import ChunkReader
from ayni.hub.xet.hashes import from_text
from ayni.hub.xet.tables import (
    eligible_chunks_table,
    file_xorbs_table,
    files_table,
    holders_table,
    xorbs_table,
)

CLIENTS_REMEMBER = timedelta(days=28)
_BATCH = 200


def free_files(connection: sa.Connection, *, before: datetime) -> int:
    """Forget files that nobody has and that were registered before a moment; how many."""
    columns = files_table.c
    linked = sa.exists().where(repository_objects_table.c.sha256 == columns.sha256)
    received = sa.exists().where(received_table.c.sha256 == columns.sha256)
    unused = sa.and_(columns.registered_at < before.isoformat(), ~linked, ~received)
    names = list(connection.scalars(sa.select(columns.file).where(unused)))
    for start in range(0, len(names), _BATCH):
        part = names[start : start + _BATCH]
        connection.execute(file_xorbs_table.delete().where(file_xorbs_table.c.file.in_(part)))
        connection.execute(files_table.delete().where(columns.file.in_(part)))
    return len(names)


def free_xorbs(database: Database, xorbs: ContentStore, chunks: ChunkReader, *, before: datetime) -> int:
    """Free xorbs that no file uses and that came before a moment; how many bytes.

    May be broken off and begun again.
    """
    columns = xorbs_table.c
    used = sa.exists().where(file_xorbs_table.c.xorb == columns.xorb)
    unused = sa.and_(columns.received_at < before.isoformat(), ~used)
    num_bytes = 0
    while True:
        with database.transaction() as connection:
            rows = connection.execute(sa.select(xorbs_table).where(unused).limit(_BATCH)).all()
            names = [row.xorb for row in rows]
            for table in (eligible_chunks_table, holders_table, xorbs_table):
                connection.execute(table.delete().where(table.c.xorb.in_(names)))
        if not rows:
            return num_bytes
        for row in rows:
            chunks.forget(from_text(row.xorb))
            xorbs.delete(row.object_name)
            num_bytes += row.stored_bytes


def unnamed_objects(connection: sa.Connection, xorbs: ContentStore) -> Iterator[str]:
    """Objects that no row names: left by a crash, or an upload that is under way at this moment."""
    columns = xorbs_table.c
    for name in xorbs.list():
        if connection.scalar(sa.select(columns.xorb).where(columns.object_name == name).limit(1)) is None:
            yield name

"""The one `MetaData` on which every capability declares its tables.

Capabilities declare their tables in a `store.py` of their own and turn rows into values with explicit
functions. There are no foreign keys between capabilities, so that each can move elsewhere.

Not covered: making the tables. That is done by `ayni.migrations`, and a test keeps both equal.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# The newest revision in ayni/migrations/versions; a test keeps the two equal.
NEWEST_REVISION = "0019"

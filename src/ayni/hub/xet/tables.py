"""Tables of xorbs and of the files that are made of them.

What is in a xorb is one value of 40 bytes a chunk and what makes a file one value of 48 bytes a term, so that
a file of a gigabyte costs some twenty rows and not sixteen thousand. Only chunks that clients ask for have a
row of their own.

`hub_xet_holders` says who may build on a xorb: the readers of a repository that has it, and who uploaded it.

Not covered: which repository has a file; that is asked by its SHA-256, as for any other content.
"""

import sqlalchemy as sa

from ayni.database import metadata

xorbs_table = sa.Table(
    "hub_xet_xorbs",
    metadata,
    sa.Column("xorb", sa.String, primary_key=True),
    # Of the object that has its records.
    sa.Column("object_name", sa.String, nullable=False),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    sa.Column("unpacked_bytes", sa.BigInteger, nullable=False),
    sa.Column("chunks", sa.LargeBinary, nullable=False),
    sa.Column("received_at", sa.String, nullable=False),
    # The namespace, in lower case, that pays until a file uses it.
    sa.Column("payer", sa.String, nullable=False, server_default=""),
    sa.Index("ix_hub_xet_xorbs_object_name", "object_name"),
    sa.Index("ix_hub_xet_xorbs_payer", "payer"),
)

holders_table = sa.Table(
    "hub_xet_holders",
    metadata,
    sa.Column("xorb", sa.String, primary_key=True),
    sa.Column("repository_id", sa.Integer, primary_key=True),
    sa.Column("user", sa.String, primary_key=True),
)

eligible_chunks_table = sa.Table(
    "hub_xet_eligible_chunks",
    metadata,
    sa.Column("chunk", sa.String, primary_key=True),
    sa.Column("xorb", sa.String, primary_key=True),
    sa.Index("ix_hub_xet_eligible_chunks_xorb", "xorb"),
)

files_table = sa.Table(
    "hub_xet_files",
    metadata,
    sa.Column("file", sa.String, primary_key=True),
    sa.Column("sha256", sa.String, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("terms", sa.LargeBinary, nullable=False),
    sa.Column("registered_at", sa.String, nullable=False),
    sa.Index("ix_hub_xet_files_sha256", "sha256"),
)

file_xorbs_table = sa.Table(
    "hub_xet_file_xorbs",
    metadata,
    sa.Column("file", sa.String, primary_key=True),
    sa.Column("xorb", sa.String, primary_key=True),
    sa.Index("ix_hub_xet_file_xorbs_xorb", "xorb"),
)

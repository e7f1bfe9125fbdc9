"""What a repository begins with: a commit with `.gitattributes`, so that `main` is there from the start."""

import io
from datetime import datetime

import sqlalchemy as sa

from ayni.hub import commits
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import FILE_MODE, GITATTRIBUTES, TreeEntry, blob_sha1
from ayni.hub.large_files import first_gitattributes
from ayni.hub.repository import Repository


def store_first_file(content: ContentStore) -> TreeEntry:
    """Store `.gitattributes`; to be done before the transaction that names it."""
    return store_gitattributes(content, first_gitattributes())


def store_gitattributes(content: ContentStore, text: bytes) -> TreeEntry:
    """Store another text of `.gitattributes`."""
    sha256 = content.put(io.BytesIO(text))
    return TreeEntry(
        name=GITATTRIBUTES,
        mode=FILE_MODE,
        git_sha1=blob_sha1(text),
        sha256=sha256,
        size_bytes=len(text),
    )


def write_first_commit(
    connection: sa.Connection,
    repository: Repository,
    entry: TreeEntry,
    *,
    author: str,
    when: datetime,
    hooks: commits.CommitHooks,
) -> str:
    """Commit it; return the revision."""
    request = commits.CommitRequest(
        changes={GITATTRIBUTES: entry}, message="initial commit", author=author, when=when
    )
    return commits.commit(connection, repository, request, hooks=hooks).revision

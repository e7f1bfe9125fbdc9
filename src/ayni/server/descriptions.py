"""Files, commits and addresses as JSON of the Hugging Face Hub's API.

Not covered: repositories as a whole (`routes/listing.py`).
"""

import urllib.parse
from datetime import UTC, datetime
from typing import Any

from ayni.hub.git_objects import TreeEntry, lfs_pointer
from ayni.hub.repository import Kind
from ayni.hub.revisions import BRANCHES, TAGS, Recorded

URL_PREFIXES: dict[Kind, str] = {"model": "", "dataset": "datasets/", "space": "spaces/"}
API_KINDS: dict[Kind, str] = {"model": "models", "dataset": "datasets", "space": "spaces"}


def page_path(kind: Kind, name: str) -> str:
    """The path of a repository's page."""
    return f"/{URL_PREFIXES[kind]}{name}"


def quoted(text: str) -> str:
    """One part of a path; slashes are encoded as well."""
    return urllib.parse.quote(text, safe="")


def time_text(when: datetime) -> str:
    """A time as the clients parse it: UTC, milliseconds, Z."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def entry_json(path: str, entry: TreeEntry) -> dict[str, Any]:
    """A file or folder in a listing of a tree."""
    if entry.is_folder:
        return {"type": "directory", "oid": entry.git_sha1, "size": 0, "path": path}
    said: dict[str, Any] = {"type": "file", "oid": entry.git_sha1, "size": entry.size_bytes, "path": path}
    if entry.is_lfs:
        said["lfs"] = {"oid": entry.sha256, "size": entry.size_bytes, "pointerSize": pointer_size(entry)}
    return said


def sibling_json(path: str, entry: TreeEntry, *, with_blobs: bool) -> dict[str, Any]:
    """A file in the description of a repository."""
    said: dict[str, Any] = {"rfilename": path}
    if with_blobs:
        said |= {"size": entry.size_bytes, "blobId": entry.git_sha1}
        if entry.is_lfs:
            said["lfs"] = {
                "sha256": entry.sha256,
                "size": entry.size_bytes,
                "pointerSize": pointer_size(entry),
            }
    return said


def pointer_size(entry: TreeEntry) -> int:
    """Bytes of the text that git keeps instead of the file."""
    return len(lfs_pointer(str(entry.sha256), entry.size_bytes or 0))


def commit_json(recorded: Recorded) -> dict[str, Any]:
    """A commit in a history."""
    title, _, message = recorded.commit.message.partition("\n")
    return {
        "id": recorded.revision,
        "title": title,
        "message": message.strip(),
        "authors": [{"user": recorded.commit.author}],
        "date": time_text(recorded.commit.when),
    }


def last_commit_json(recorded: Recorded) -> dict[str, Any]:
    """The commit that changed a file last."""
    title = recorded.commit.message.partition("\n")[0]
    return {"id": recorded.revision, "title": title, "date": time_text(recorded.commit.when)}


def ref_json(ref: str, revision: str) -> dict[str, str]:
    """A branch, a tag or a pull request."""
    return {
        "name": ref.removeprefix(BRANCHES).removeprefix(TAGS),
        "ref": ref,
        "targetCommit": revision,
    }

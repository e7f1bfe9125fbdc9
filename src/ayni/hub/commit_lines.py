"""The lines of a commit as clients of the Hugging Face Hub send them, taken one by one.

    {"key": "header", "value": {"summary", "description", "parentCommit"?}}
    {"key": "file", "value": {"path", "content" in base64, "encoding"}}
    {"key": "lfsFile", "value": {"path", "algo", "oid", "size"?}}
    {"key": "deletedFile", "value": {"path"}}        {"key": "deletedFolder", "value": {"path"}}

Content that comes inside a line is stored at once, so that memory holds one line and not the commit. Nothing
of it is visible before the commit is.

Not covered: who may commit, and whether the bytes of an `lfsFile` are there: `changes` is told.
"""

import base64
import binascii
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ayni.errors import UserError
from ayni.hub.content import ContentStore
from ayni.hub.git_objects import FILE_MODE, TreeEntry, blob_sha1, lfs_pointer

MAX_INLINE_BYTES = 16 << 20
MAX_LINES = 100_000
MAX_SUMMARY, MAX_DESCRIPTION = 1_000, 64_000
# Base64 takes four bytes for three; the rest of a line is a path.
MAX_LINE_BYTES = MAX_INLINE_BYTES // 3 * 4 + (1 << 16)
# Beside a file of LFS its pointer has the same git id, so a pointer is never taken for a file.
LFS_POINTER_START = b"version https://git-lfs.github.com/spec/v1\n"
LFS_POINTER_BYTES = 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")


class CommitLineError(UserError):
    """A line of a commit cannot be understood."""

    def __init__(self, number: int, reason: str) -> None:
        self.number = number
        super().__init__(f"Line {number} of the commit: {reason}. Nothing was committed.")


class UnknownContentError(UserError):
    """A commit names bytes that did not come, or that the caller may not read."""

    def __init__(self, path: str, sha256: str) -> None:
        self.path = path
        self.sha256 = sha256
        super().__init__(
            f"The content {sha256[:12]}... of {path!r} is not here. Upload the file first, then commit."
        )


class CommitSizeError(UserError):
    """A commit, or a file inside one, is larger than the hub takes inside a commit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeFile:
    """A file whose bytes were sent before. `size_bytes` is None where a client copies."""

    sha256: str
    size_bytes: int | None


@dataclass(slots=True, kw_only=True)
class CommitLines:
    """The lines taken so far. The last line about a path counts."""

    content: ContentStore
    max_inline_bytes: int = MAX_INLINE_BYTES
    summary: str = ""
    description: str = ""
    parent: str | None = None
    files: dict[str, TreeEntry] = field(default_factory=dict)
    large_files: dict[str, LargeFile] = field(default_factory=dict)
    deleted_files: set[str] = field(default_factory=set)
    deleted_folders: set[str] = field(default_factory=set)
    num_lines: int = 0
    num_inline_bytes: int = 0
    _has_header: bool = field(default=False, init=False)

    @property
    def message(self) -> str:
        """Summary and description as git has them."""
        return f"{self.summary}\n\n{self.description}" if self.description else self.summary

    def take(self, line: bytes) -> None:
        """Take one line; content inside it is stored.

        Raises:
            CommitLineError: not a line of a commit.
            CommitSizeError: too much.
            DiskFullError, NotWritableError: content could not be stored.
        """
        self.num_lines += 1
        if self.num_lines > MAX_LINES:
            raise CommitSizeError(f"A commit has {MAX_LINES} operations at most. Split it into several.")
        key, value = self._parse(line)
        if key == "header":
            self._take_header(value)
        elif key == "file":
            self._take_file(value)
        elif key == "lfsFile":
            self._take_large_file(value)
        elif key == "deletedFile":
            self.deleted_files.add(self._text(value, "path"))
        elif key == "deletedFolder":
            self.deleted_folders.add(self._text(value, "path").rstrip("/"))
        else:
            raise CommitLineError(self.num_lines, f"the key {key!r} is not known")

    def changes(self, sizes: Mapping[str, int]) -> dict[str, TreeEntry | None]:
        """All changes, deletions first.

        Args:
            sizes: of the content that the commit may name, by SHA-256.

        Raises:
            UnknownContentError: a large file is not among it, or has another size.
            CommitLineError: there was no header.
        """
        if not self._has_header:
            raise CommitLineError(self.num_lines, "there is no header with a summary")
        changes: dict[str, TreeEntry | None] = dict.fromkeys(sorted(self.deleted_folders))
        for path in sorted(self.deleted_files):
            if not any(path.startswith(f"{folder}/") for folder in self.deleted_folders):
                changes[path] = None
        changes |= self.files
        for path, large in self.large_files.items():
            size = sizes.get(large.sha256)
            if size is None or large.size_bytes not in (None, size):
                raise UnknownContentError(path, large.sha256)
            changes[path] = large_entry(path, large.sha256, size)
        return changes

    def _parse(self, line: bytes) -> tuple[str, dict[str, Any]]:
        try:
            said = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CommitLineError(self.num_lines, "it is no JSON") from error
        if not isinstance(said, dict) or not isinstance(said.get("value"), dict):
            raise CommitLineError(self.num_lines, "it has no key and value")
        return str(said.get("key")), said["value"]

    def _take_header(self, value: dict[str, Any]) -> None:
        self.summary = self._text(value, "summary").strip() or "Update"
        description = value.get("description") or ""
        parent = value.get("parentCommit")
        if not isinstance(description, str) or not _is_text(description + self.summary):
            raise CommitLineError(self.num_lines, "summary or description is no text")
        if parent is not None and (not isinstance(parent, str) or not _REVISION.fullmatch(parent)):
            raise CommitLineError(self.num_lines, "parentCommit is no revision of 40 digits")
        if len(self.summary) > MAX_SUMMARY or len(description) > MAX_DESCRIPTION:
            raise CommitSizeError(
                f"The message has {len(self.summary)} and {len(description)} characters; {MAX_SUMMARY} and "
                f"{MAX_DESCRIPTION} fit. Say it shorter, or put it into a file."
            )
        self.description, self.parent, self._has_header = description.strip(), parent, True

    def _take_file(self, value: dict[str, Any]) -> None:
        path = self._text(value, "path")
        if (encoding := value.get("encoding", "base64")) not in ("base64", "utf-8"):
            raise CommitLineError(self.num_lines, f"the encoding {encoding!r} is not known")
        text = self._text(value, "content")
        try:
            content = base64.b64decode(text, validate=True) if encoding == "base64" else text.encode()
        except (binascii.Error, ValueError) as error:
            raise CommitLineError(self.num_lines, f"the content of {path!r} is no {encoding}") from error
        if len(content) > self.max_inline_bytes:
            raise CommitSizeError(
                f"{path!r} has {len(content)} bytes, more than the {self.max_inline_bytes} that fit into a "
                "commit. Upload it as a large file."
            )
        if content.startswith(LFS_POINTER_START) and len(content) < LFS_POINTER_BYTES:
            raise CommitLineError(
                self.num_lines, f"{path!r} is a pointer of git-lfs. Upload the file that it stands for"
            )
        self.num_inline_bytes += len(content)
        sha256 = self.content.put(io.BytesIO(content))
        self._forget(path)
        self.files[path] = TreeEntry(
            name=path,
            mode=FILE_MODE,
            git_sha1=blob_sha1(content),
            sha256=sha256,
            size_bytes=len(content),
        )

    def _take_large_file(self, value: dict[str, Any]) -> None:
        path, sha256, size = self._text(value, "path"), self._text(value, "oid"), value.get("size")
        if value.get("algo", "sha256") != "sha256" or not _SHA256.fullmatch(sha256):
            raise CommitLineError(self.num_lines, f"{path!r} is not named by a SHA-256")
        if size is not None and (not isinstance(size, int) or isinstance(size, bool) or size < 0):
            raise CommitLineError(self.num_lines, f"the size {size!r} of {path!r} is no number of bytes")
        self._forget(path)
        self.large_files[path] = LargeFile(sha256=sha256, size_bytes=size)

    def _forget(self, path: str) -> None:
        self.files.pop(path, None)
        self.large_files.pop(path, None)

    def _text(self, value: dict[str, Any], name: str) -> str:
        text = value.get(name)
        if not isinstance(text, str) or not _is_text(text):
            raise CommitLineError(self.num_lines, f"{name} is missing or no text")
        return text


def _is_text(text: str) -> bool:
    """Whether git and databases can keep it: no NUL, and no half of a surrogate pair, which JSON may hold."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def large_entry(name: str, sha256: str, size_bytes: int) -> TreeEntry:
    """A file that git keeps by LFS: the id is that of its pointer."""
    git_sha1 = blob_sha1(lfs_pointer(sha256, size_bytes))
    return TreeEntry(name=name, mode=FILE_MODE, git_sha1=git_sha1, sha256=sha256, size_bytes=size_bytes)

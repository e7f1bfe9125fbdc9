"""The ids that git would give to files, folders and commits, without git.

A revision's id is the SHA-1 of a real git commit object, so that clients of the Hugging Face Hub can check
what they downloaded, and a repository could be cloned later with the same ids. Only ids are computed: bytes
live in the object store and trees in the database, which is 100 times faster than writing loose objects.

SHA-1 names things here as git does; integrity rests on the SHA-256 that is kept beside it.

Not covered: reading git repositories, symbolic links, submodules, signed commits and SHA-256 repositories.

Source: git documentation, "gitformat-pack" and "Git Internals - Git Objects", https://git-scm.com/book;
pointer files: git-lfs specification, https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

FILE_MODE = "100644"
EXECUTABLE_MODE = "100755"
TREE_MODE = "40000"

LFS_SUFFIXES = (".safetensors", ".onnx")
# The Hugging Face Hub asks for LFS above 10 MiB.
LFS_ABOVE_BYTES = 10 * 1024 * 1024
GITATTRIBUTES = ".gitattributes"

# What git removes from both ends of a name (ident.c, "crud").
_CRUD = "".join(chr(code) for code in range(33)) + ".,:;<>\"\\'"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """One line of a git tree. `sha256` and `size_bytes` are those of a file's content, None for a folder.

    For a file kept by LFS `git_sha1` is the id of its pointer, while `sha256` and `size_bytes` are the
    file's own.
    """

    name: str
    mode: str
    git_sha1: str
    sha256: str | None = None
    size_bytes: int | None = None

    @property
    def is_folder(self) -> bool:
        """Whether the entry names another tree."""
        return self.mode == TREE_MODE

    @property
    def is_lfs(self) -> bool:
        """Whether git keeps a pointer: then the id is that of the pointer's text."""
        if self.sha256 is None or self.size_bytes is None:
            return False
        return self.git_sha1 == blob_sha1(lfs_pointer(self.sha256, self.size_bytes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """All trees below a root, by id; equal folders appear once."""

    root: str
    entries: Mapping[str, tuple[TreeEntry, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a commit says. Its author is its committer as well."""

    tree: str
    parent: str | None
    author: str
    message: str
    when: datetime

    def __post_init__(self) -> None:
        if self.when.tzinfo is None:
            raise ValueError(f"the time {self.when} of a commit has no time zone")
        if "\0" in self.message:
            raise ValueError("the message of a commit cannot hold a NUL byte")

    @property
    def sha1(self) -> str:
        """The id of the commit, and so of the revision."""
        return object_sha1("commit", self.content())

    def content(self) -> bytes:
        """The bytes that git hashes, without the header. The message always ends with a line feed."""
        person = f"{identity(self.author)} {git_time(self.when)}"
        lines = [f"tree {self.tree}"]
        if self.parent is not None:
            lines.append(f"parent {self.parent}")
        lines += [f"author {person}", f"committer {person}", "", self.message.removesuffix("\n")]
        return "\n".join(lines).encode() + b"\n"


def object_sha1(kind: str, content: bytes) -> str:
    """The id of a git object: SHA-1 of "<kind> <length>", a NUL byte and the content."""
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


def blob_hasher(size_bytes: int) -> "hashlib._Hash":
    """A SHA-1 to be fed with a file's content piece by piece, when its size is known before."""
    return hashlib.sha1(f"blob {size_bytes}\0".encode(), usedforsecurity=False)


def blob_sha1(content: bytes) -> str:
    """The id of a file's content."""
    return object_sha1("blob", content)


def tree_sha1(entries: Iterable[TreeEntry]) -> str:
    """The id of a folder.

    Git sorts by bytes and takes a folder's name with a slash at its end: "a.b" comes before the folder "a"
    (as "a/"), which comes before "a0".
    """
    return object_sha1("tree", tree_content(entries))


def tree_content(entries: Iterable[TreeEntry]) -> bytes:
    """The bytes of a folder that git hashes, without the header."""
    ordered = sorted(entries, key=lambda entry: entry.name.encode() + (b"/" if entry.is_folder else b""))
    return b"".join(
        f"{entry.mode} {entry.name}\0".encode() + bytes.fromhex(entry.git_sha1) for entry in ordered
    )


def build_trees(files: Mapping[str, TreeEntry]) -> Trees:
    """The trees of all folders of `files`, whose keys are paths with slashes.

    The names inside the given entries are ignored: the last part of the path counts.
    Cost: O(n log n) for n files.
    """
    entries: dict[str, tuple[TreeEntry, ...]] = {}

    def build(inside: Mapping[str, TreeEntry]) -> str:
        folders: dict[str, dict[str, TreeEntry]] = {}
        found: list[TreeEntry] = []
        for path, entry in inside.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = entry
            else:
                found.append(_named(entry, name))
        for name, below in folders.items():
            found.append(TreeEntry(name=name, mode=TREE_MODE, git_sha1=build(below)))
        sha1 = tree_sha1(found)
        entries[sha1] = tuple(found)
        return sha1

    return Trees(root=build(files), entries=entries)


def lfs_pointer(sha256: str, size_bytes: int) -> bytes:
    """The small text that git keeps instead of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size_bytes}\n".encode()


def is_lfs(path: str, size_bytes: int) -> bool:
    """Whether git keeps a pointer instead of this file. `.gitattributes` of the same commit says the same."""
    return path.endswith(LFS_SUFFIXES) or size_bytes > LFS_ABOVE_BYTES


def gitattributes(large_paths: Iterable[str]) -> bytes:
    """The `.gitattributes` of a commit: the suffixes of weights, and each other path above 10 MiB."""
    patterns = [f"*{suffix}" for suffix in LFS_SUFFIXES]
    patterns += [_pattern(path) for path in sorted(large_paths) if not path.endswith(LFS_SUFFIXES)]
    return "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in patterns).encode()


def identity(author: str) -> str:
    """`Name <address>` as git writes it: no line breaks and angle brackets, no punctuation at the ends.

    The address is made from the name under a domain that cannot exist, because members have no addresses
    here.

    Raises:
        ValueError: nothing of the name is left.
    """
    printable = re.sub(r"[\x00-\x20\x7f]+", " ", author)
    name = re.sub(r"[<>]", "", printable.strip(_CRUD)).strip(_CRUD)
    if not name:
        raise ValueError(f"{author!r} is no name for the author of a commit")
    local = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-") or "member"
    return f"{name} <{local}@users.invalid>"


def git_time(when: datetime) -> str:
    """Seconds since 1970 and the offset from UTC, as in "1700000000 +0100". Parts of a second are dropped."""
    offset = when.utcoffset() or timedelta()
    sign = "-" if offset < timedelta() else "+"
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{int(when.timestamp())} {sign}{minutes // 60:02d}{minutes % 60:02d}"


def _named(entry: TreeEntry, name: str) -> TreeEntry:
    return TreeEntry(
        name=name,
        mode=entry.mode,
        git_sha1=entry.git_sha1,
        sha256=entry.sha256,
        size_bytes=entry.size_bytes,
    )


def _pattern(path: str) -> str:
    # A slash in front ties the pattern to the root, and keeps a leading "!" or "#" from being special.
    escaped = re.sub(r"([\\*?\[\]])", r"\\\1", path)
    return "/" + escaped.replace(" ", "[[:space:]]")

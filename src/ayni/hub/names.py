"""Which names repositories and files may have.

The rules for repositories are those of the Hugging Face Hub, in ASCII, so that a repository can be pushed
there unchanged. The rules for files keep every path inside its folder on every system, because snapshots
are plain files.

Not covered: names that only Windows reserves (`CON`, `NUL`).

Source: `validate_repo_id` of huggingface_hub; git's `verify_path` for `.git` in its disguises.
"""

import re
import unicodedata
from collections.abc import Iterable

from ayni.errors import UserError

MAX_NAME_LENGTH = 96
MAX_PATH_BYTES = 1024
# Embeddings, overrides and isolates: `exe.txt` may be shown of what is `txt.exe`.
_TURNING = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
MAX_PART_BYTES = 255

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?", re.ASCII)


class RepositoryNameError(UserError):
    """A repository cannot have this name."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        super().__init__(
            f"{name!r} is no name for a repository: {reason}. Write it as namespace/name, for example "
            "me/digits, with letters, digits, and - _ . inside."
        )


class FilePathError(UserError):
    """A file cannot be published under this path."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        super().__init__(
            f"{path!r} cannot be the path of a published file: {reason}. Use a relative path with single "
            "slashes, for example receipts/0001-plan.json."
        )


def check_repository_name(name: str) -> None:
    """Accept `namespace/name` as the Hugging Face Hub does.

    Raises:
        RepositoryNameError: no namespace, a character or an ending that is not allowed, or too long.
    """
    parts = name.split("/")
    if len(parts) != 2:
        raise RepositoryNameError(name, f"it has {len(parts) - 1} slashes and needs exactly one")
    for part in parts:
        if len(part) > MAX_NAME_LENGTH:
            raise RepositoryNameError(name, f"{len(part)} characters are more than {MAX_NAME_LENGTH}")
        if not _NAME.fullmatch(part):
            raise RepositoryNameError(name, f"{part!r} holds, begins or ends with a forbidden character")
        if "--" in part or ".." in part:
            raise RepositoryNameError(name, "-- and .. are forbidden")
        if part.lower().endswith(".git"):
            raise RepositoryNameError(name, "it ends with .git")


def check_file_paths(paths: Iterable[str]) -> None:
    """Accept paths that stay inside their folder and do not collide, whatever the file system.

    Raises:
        FilePathError: absolute, `..`, `.git`, a control character, a backslash, too long, or two paths that
        some
            file system takes for one.
    """
    seen: dict[str, str] = {}
    for path in paths:
        _check_file_path(path)
        # macOS and Windows ignore case, and macOS the way an accent is composed.
        key = unicodedata.normalize("NFC", path).casefold()
        if key in seen:
            raise FilePathError(path, f"it differs from {seen[key]!r} only by case or accents")
        seen[key] = path
    for key, path in seen.items():
        folders = key.split("/")[:-1]
        for length in range(1, len(folders) + 1):
            if (parent := "/".join(folders[:length])) in seen:
                raise FilePathError(path, f"{seen[parent]!r} is a file already")


def _check_file_path(path: str) -> None:
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise FilePathError(path, "it is not valid Unicode") from error
    if len(encoded) > MAX_PATH_BYTES:
        raise FilePathError(path, f"{len(encoded)} bytes are more than {MAX_PATH_BYTES}")
    if any(unicodedata.category(character) == "Cc" for character in path) or "\\" in path:
        raise FilePathError(path, "it holds a control character or a backslash")
    if any(unicodedata.bidirectional(character) in _TURNING for character in path):
        raise FilePathError(
            path, "it holds a character that turns the direction of writing, and hides the rest"
        )
    for part in path.split("/"):
        if part in ("", ".", ".."):
            raise FilePathError(path, f"the part {part!r} is not allowed")
        if len(part.encode()) > MAX_PART_BYTES:
            raise FilePathError(path, f"a part is longer than {MAX_PART_BYTES} bytes")
        if part.rstrip(". ").casefold() in (".git", "git~1") or ":" in part:
            raise FilePathError(path, f"the part {part!r} is not allowed")

"""Which files git keeps as they are and which by LFS, and what `.gitattributes` says about it.

The hub decides: files with the suffixes of weights and data, and all above 10 MiB, are kept by LFS. A path
that no pattern covers gets a line of its own in `.gitattributes`, so that a clone fetches it as well.

Not covered: patterns for folders in `.gitattributes`; what they cover gets a line of its own as well.
"""

import fnmatch
from collections.abc import Iterable

from ayni.hub.git_objects import LFS_ABOVE_BYTES

# Formats that are large as a rule and never text.
LARGE_SUFFIXES = (
    *("7z", "arrow", "bin", "bz2", "ckpt", "ftz", "gguf", "gz", "h5", "joblib", "keras", "lz4", "mlmodel"),
    *("model", "msgpack", "npy", "npz", "onnx", "ot", "parquet", "pb", "pickle", "pkl", "pt", "pth", "rar"),
    *("safetensors", "tar", "tflite", "tgz", "wasm", "xz", "zip", "zst"),
)
_RULE = "filter=lfs diff=lfs merge=lfs -text"


def first_gitattributes() -> bytes:
    """The `.gitattributes` that every new repository begins with."""
    return "".join(f"*.{suffix} {_RULE}\n" for suffix in LARGE_SUFFIXES).encode()


def is_large(path: str, size_bytes: int) -> bool:
    """Whether the hub asks for LFS. Empty files are never kept by LFS."""
    if size_bytes == 0:
        return False
    name = path.rpartition("/")[2]
    suffix = name.rpartition(".")[2].lower() if "." in name else ""
    return suffix in LARGE_SUFFIXES or size_bytes > LFS_ABOVE_BYTES


def with_lines_for(gitattributes: bytes, large_paths: Iterable[str]) -> bytes | None:
    """`.gitattributes` with a line for each path that no pattern covers; None when nothing is missing."""
    lines = gitattributes.decode(errors="replace").splitlines()
    # Patterns with a slash are taken for single files, so that at most a line too many is written.
    patterns = [line.partition(" ")[0] for line in lines if "filter=lfs" in line and "/" not in line]
    own = {path: f"{_quoted(path)} {_RULE}" for path in sorted(large_paths)}
    missing = [line for path, line in own.items() if line not in lines and not _is_covered(path, patterns)]
    if not missing:
        return None
    start = gitattributes if gitattributes.endswith(b"\n") or not gitattributes else gitattributes + b"\n"
    return start + "".join(f"{line}\n" for line in missing).encode()


def with_added_lines(before: bytes | None, ours: bytes | None, theirs: bytes | None) -> bytes | None:
    """`.gitattributes` with the lines that both sides added; None where one took a line away or has none."""
    if ours is None or theirs is None:
        return None
    olds, mine, others = (text.splitlines() for text in (before or b"", ours, theirs))
    if not set(olds) <= set(mine) or not set(olds) <= set(others):
        return None
    added = [line for line in others if line not in set(mine)]
    return b"".join(line + b"\n" for line in (*mine, *added))


def _is_covered(path: str, patterns: list[str]) -> bool:
    # Without a slash a pattern is for the name alone, as in git.
    name = path.rpartition("/")[2]
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _quoted(path: str) -> str:
    # Git takes blanks only in quotes; the characters of a pattern stand for themselves behind a backslash.
    special = "".join(f"\\{character}" if character in "*?[" else character for character in path)
    anchored = f"/{special}"
    if any(character in anchored for character in ' "\\#!'):
        escaped = anchored.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return anchored

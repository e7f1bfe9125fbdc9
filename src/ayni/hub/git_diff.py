"""Differences of files as `git diff` writes them, so that a person reads them and `git apply` takes them.

Large files appear as git has them: the text of their pointers. Files that are no text, or too long to be
compared, are named and not shown. Long stretches that changed are shown as taken out and put in as a whole,
because finding the shortest description of them takes time that grows with the square of their length.

Not covered: renames, and changes of a file's mode without its content.

Source: git documentation, "git-diff", "Generating patch text with -p".
"""

import difflib
from collections.abc import Callable, Iterator, Sequence

from ayni.hub.git_objects import TreeEntry, lfs_pointer
from ayni.hub.tree_differences import Differences

MOST_FILES = 300
MOST_FILE_BYTES = 256 << 10
MOST_CHARACTERS = 1 << 20
# Above this many lines that may have changed, they are shown as a whole.
MOST_COMPARED_LINES = 1_500
NULL_ID = "0" * 40
CONTEXT_LINES = 3

ReadFile = Callable[[TreeEntry], bytes]
"""The content of a file that is at most MOST_FILE_BYTES long."""


def git_diff(found: Differences, read_file: ReadFile) -> str:
    """The text of all differences; what is left out is said at the end."""
    pieces: list[str] = []
    num_characters = 0
    for num_shown, (path, (old, new)) in enumerate(found.items()):
        if num_shown == MOST_FILES or num_characters > MOST_CHARACTERS:
            pieces.append(f"# {len(found) - num_shown} more files differ and are not shown.\n")
            break
        pieces.append("".join(_file_diff(path, old, new, read_file)))
        num_characters += len(pieces[-1])
    return "".join(pieces)


def _file_diff(path: str, old: TreeEntry | None, new: TreeEntry | None, read_file: ReadFile) -> Iterator[str]:
    before, after = _quoted(f"a/{path}"), _quoted(f"b/{path}")
    yield f"diff --git {before} {after}\n"
    yield from _header(old, new)
    old_text, new_text = _text(old, read_file), _text(new, read_file)
    if old_text is None or new_text is None:
        yield f"Binary files {before if old else '/dev/null'} and {after if new else '/dev/null'} differ\n"
        return
    hunks = list(_hunks(_lines(old_text), _lines(new_text)))
    if hunks:
        yield f"--- {_with_tab(before) if old else '/dev/null'}\n"
        yield f"+++ {_with_tab(after) if new else '/dev/null'}\n"
        yield from hunks


def _header(old: TreeEntry | None, new: TreeEntry | None) -> Iterator[str]:
    old_id, new_id = (NULL_ID if each is None else each.git_sha1 for each in (old, new))
    if old is None and new is not None:
        yield f"new file mode {new.mode}\n"
    elif new is None and old is not None:
        yield f"deleted file mode {old.mode}\n"
    elif old is not None and new is not None and old.mode != new.mode:
        yield f"old mode {old.mode}\nnew mode {new.mode}\n"
    if old_id != new_id:
        same = f" {old.mode}" if old is not None and new is not None and old.mode == new.mode else ""
        yield f"index {old_id}..{new_id}{same}\n"


def _text(entry: TreeEntry | None, read_file: ReadFile) -> str | None:
    """The text that git has of a file; "" of none; None where it is no text or too long."""
    if entry is None:
        return ""
    if entry.is_lfs:
        return lfs_pointer(str(entry.sha256), entry.size_bytes or 0).decode()
    if (entry.size_bytes or 0) > MOST_FILE_BYTES:
        return None
    content = read_file(entry)
    try:
        return None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        return None


def _lines(text: str) -> list[str]:
    # Not splitlines: form feeds and the like end no line for git.
    lines = text.split("\n")
    ends = [f"{line}\n" for line in lines[:-1]]
    return [*ends, lines[-1]] if lines[-1] else ends


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    start, end = _alike(old, new)
    changed_old, changed_new = old[start : len(old) - end], new[start : len(new) - end]
    if not changed_old and not changed_new:
        return
    if max(len(changed_old), len(changed_new)) > MOST_COMPARED_LINES:
        yield from _one_hunk(old, new, start, end)
        return
    # The equal lines around the change are put back as far as they are shown.
    first, last = max(0, start - CONTEXT_LINES), min(end, CONTEXT_LINES)
    left, right = old[first : len(old) - end + last], new[first : len(new) - end + last]
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT_LINES):
        yield _range_line(
            first + group[0][1],
            group[-1][2] - group[0][1],
            first + group[0][3],
            group[-1][4] - group[0][3],
        )
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (_line(" ", each) for each in left[i1:i2])
            else:
                yield from (_line("-", each) for each in left[i1:i2])
                yield from (_line("+", each) for each in right[j1:j2])


def _one_hunk(old: Sequence[str], new: Sequence[str], start: int, end: int) -> Iterator[str]:
    first, last = max(0, start - CONTEXT_LINES), min(end, CONTEXT_LINES)
    yield _range_line(first, len(old) - end + last - first, first, len(new) - end + last - first)
    yield from (_line(" ", each) for each in old[first:start])
    yield from (_line("-", each) for each in old[start : len(old) - end])
    yield from (_line("+", each) for each in new[start : len(new) - end])
    yield from (_line(" ", each) for each in old[len(old) - end : len(old) - end + last])


def _alike(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines are equal at the start, and at the end."""
    shortest = min(len(old), len(new))
    start = next((number for number in range(shortest) if old[number] != new[number]), shortest)
    end = next(
        (number for number in range(shortest - start) if old[-1 - number] != new[-1 - number]),
        shortest - start,
    )
    return start, end


def _range_line(old_start: int, num_old: int, new_start: int, num_new: int) -> str:
    def written(start: int, number: int) -> str:
        # Of an empty range git names the line before it.
        return f"{start if number == 0 else start + 1},{number}"

    return f"@@ -{written(old_start, num_old)} +{written(new_start, num_new)} @@\n"


def _line(sign: str, line: str) -> str:
    return f"{sign}{line}" if line.endswith("\n") else f"{sign}{line}\n\\ No newline at end of file\n"


def _with_tab(name: str) -> str:
    # So does git, or what follows a blank would be taken for a date.
    return f"{name}\t" if " " in name and not name.startswith('"') else name


def _quoted(path: str) -> str:
    if path.isascii() and path.isprintable() and not set(path) & set('"\\'):
        return path
    escaped = "".join(
        f"\\{chr(each)}" if chr(each) in '"\\' else chr(each) if 32 <= each < 127 else f"\\{each:03o}"
        for each in path.encode()
    )
    return f'"{escaped}"'

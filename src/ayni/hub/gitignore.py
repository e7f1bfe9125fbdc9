"""Which paths a `.gitignore` leaves out.

Not covered: files of this name in folders below the root, the user's own global one, and rules with more than
four wildcards, which leave nothing out.

Source: git documentation, "gitignore", https://git-scm.com/docs/gitignore.
"""

import re

MAX_RULES = 1_000
# Each wildcard multiplies the ways to match a path; hostile rules would take hours.
MAX_WILDCARDS = 4


class Ignored:
    """The rules of one `.gitignore`; the last that fits a path, or a folder above it, counts."""

    def __init__(self, text: str) -> None:
        self._rules = [rule for line in text.splitlines()[:MAX_RULES] if (rule := _rule(line)) is not None]

    def covers(self, path: str) -> bool:
        """Whether a file is left out."""
        parts = path.split("/")
        for length in range(1, len(parts)):
            # What lies in a folder that is left out cannot be taken in again.
            if self._decides("/".join(parts[:length]), is_folder=True):
                return True
        return self._decides(path, is_folder=False)

    def _decides(self, path: str, *, is_folder: bool) -> bool:
        covered = False
        for expression, is_negated, only_folders in self._rules:
            if (is_folder or not only_folders) and expression.fullmatch(path):
                covered = not is_negated
        return covered


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    pattern = re.sub(r"(?<!\\)\s+$", "", line)
    if not pattern or pattern.startswith("#"):
        return None
    is_negated = pattern.startswith("!")
    pattern = pattern.removeprefix("!")
    only_folders = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    # A slash anywhere but at the end ties the pattern to the root.
    is_anchored = "/" in pattern
    pattern = pattern.lstrip("/")
    if not pattern or len(re.findall(r"\*+|\?", pattern)) > MAX_WILDCARDS:
        return None
    try:
        return (
            re.compile(("" if is_anchored else "(?:.*/)?") + _expression(pattern)),
            is_negated,
            only_folders,
        )
    except re.error:
        return None


def _expression(pattern: str) -> str:
    made, place = "", 0
    while place < len(pattern):
        rest = pattern[place:]
        if rest.startswith("**/"):
            made, place = made + "(?:[^/]+/)*", place + 3
        elif rest == "**":
            made, place = made + ".+", place + 2
        elif rest[0] == "*":
            # Several stars are one; each on its own would make matching slow on purpose.
            made, place = made + "[^/]*", place + len(rest) - len(rest.lstrip("*"))
        elif rest[0] == "?":
            made, place = made + "[^/]", place + 1
        elif (found := re.match(r"\[(!?)([^]/]+)\]", rest)) is not None:
            made += f"[{'^' if found[1] else ''}{re.escape(found[2]).replace(chr(92) + '-', '-')}]"
            place += found.end()
        else:
            skipped = 1 if rest[0] == "\\" and len(rest) > 1 else 0
            made, place = made + re.escape(rest[skipped]), place + 1 + skipped
    return made

"""Print the commands of README.md that a machine runs, so that the README cannot drift from the truth.

A fenced block is taken when the line before it is `<!-- run: NAME -->`; lines that start with `#` are
left out. Used by .ci/run (NAME = ci) and by the tests that run the README (NAME = tour).
"""

import re
import sys
from pathlib import Path

BLOCK = re.compile(r"<!-- run: (?P<name>[a-z]+) -->\n```[a-z]*\n(?P<body>.*?)```", re.DOTALL)


def commands(readme: str, name: str) -> list[str]:
    """The commands of all blocks called `name`, in order."""
    bodies = [match["body"] for match in BLOCK.finditer(readme) if match["name"] == name]
    lines = [line.split("  #")[0].strip() for body in bodies for line in body.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


if __name__ == "__main__":
    readme = Path(__file__).resolve().parent.parent / "README.md"
    found = commands(readme.read_text(encoding="utf-8"), sys.argv[1])
    if not found:
        sys.exit(f"README.md has no commands called {sys.argv[1]}")
    print("\n".join(found))

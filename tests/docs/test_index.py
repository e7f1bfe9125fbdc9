"""docs/README.md has one line for each page."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_the_index_has_one_line_for_every_page() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    # Written by `python -m benchmarks document`, which a fresh copy may not have run yet.
    pages |= {"decisions/README.md", "benchmarks.md"}

    assert sorted(re.findall(r"^\| \[[^]]+\]\(([^)]+)\) \| .+ \|$", index, re.MULTILINE)) == sorted(pages)


def test_the_index_of_decisions_has_every_record_with_its_title() -> None:
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")

    for path in (DOCS / "decisions").glob("[0-9]*.md"):
        title = path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        assert f"({path.name})" in index
        assert title.split(":")[-1].split(". ")[-1].strip() in index

"""docs/benchmarks.md from the rows: the newest full row of each benchmark, else the newest quick one."""

from pathlib import Path
from typing import Any

from ayni.files import write_atomically
from benchmarks.registry import HERE, all_benchmarks
from benchmarks.rows import rows_of

PAGE = HERE.parent / "docs" / "benchmarks.md"
HEADER = """# Benchmarks

Made by `python -m benchmarks document` from the rows in `benchmarks/results/`; do not edit. Bad results stay.
Times depend on the machine and its other work: trust the ratios.
"""


def write_page() -> Path:
    """Write the page and return its path."""
    topics: dict[str, list[str]] = {}
    for benchmark in all_benchmarks().values():
        rows = rows_of(benchmark.name)
        text = _section(_newest(rows), rows) if rows else f"Bar: {benchmark.bar}\n\nNot measured yet.\n"
        topics.setdefault(benchmark.topic, []).append(f"### {benchmark.name}\n\n{text}")
    body = "".join(f"\n## {topic}\n\n" + "\n".join(sections) for topic, sections in sorted(topics.items()))
    write_atomically(PAGE, (HEADER + body).encode())
    return PAGE


def _newest(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return next((row for row in reversed(rows) if not row["quick"]), rows[-1])


def _section(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    machine = row["machine"]
    values = "\n".join(f"| {name} | {_shown(value)} |" for name, value in row["values"].items())
    num_missed = sum(not each["met"] for each in rows)
    verdict = "Met" if row["met"] else "Not met"
    seen_on = f"{machine['processor']} ({machine['cores']} cores, load {machine['load_1_minute']})"
    return (
        f"Bar: {row['bar']}\n\n**{verdict}.**\n\n| value | measured |\n|---|---|\n{values}\n\n"
        f"{row['date']}, commit `{row['commit']}`, `{row['command']}`, {row['seconds']:.0f} s, "
        f"seeds {row['seeds']}, {seen_on}, Python {machine['python']}, torch {row['versions']['torch']}. "
        f"Of {len(rows)} rows in `{row['name']}.jsonl`, {num_missed} missed the bar.\n"
    )


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_shown(entry) for entry in value)
    return str(value)

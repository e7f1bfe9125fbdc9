"""Values as Markdown that means only their characters, and numbers as a card writes them.

Not covered: whole sections; the card has them.
"""

import re


def text(value: object) -> str:
    """A value as one line of Markdown that means only its characters."""
    line = " ".join(str(value).split())
    escaped = re.sub(r"([\\`*_\[\]|~$])", r"\\\1", line)
    # At the start these would open a heading, a list or a rule.
    escaped = re.sub(r"^([#+=-])", r"\\\1", escaped)
    escaped = re.sub(r"^(\d+)([.)])(?= |$)", r"\1\\\2", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code(value: object) -> str:
    """A value as inline code; backticks and table bars cannot end it."""
    return f"`{' '.join(str(value).split()).replace('`', chr(39)).replace('|', '/')}`"


def number(value: float | None) -> str:
    """Four significant digits, or a question mark for what is not known."""
    return "?" if value is None else f"{value:.4g}"

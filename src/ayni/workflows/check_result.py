"""One thing that a verification looked at, and what it found."""

from dataclasses import dataclass
from typing import Any

_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One thing that was looked at. `problems` is empty when all is well; `detail` says what was seen."""

    name: str
    problems: tuple[str, ...]
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        shown = "; ".join(self.problems[:_SHOWN]) or self.detail
        more = f"; and {len(self.problems) - _SHOWN} more" if len(self.problems) > _SHOWN else ""
        return {"name": self.name, "ok": not self.problems, "detail": shown + more}

"""Machine classes: how much of a kind of work one machine does in an hour, beside the reference machine.

Work is counted in reference-hours: what one machine of the reference class does in an hour. A machine of
ratio 2 for a kind of work does it in half the time. Ratios belong to a kind of work, because machines differ
by kind: a V100 is 4 to 12 times a K80 on ResNets, and hardly faster on small recommenders.

    hours on a machine = reference-hours / ratio

Not covered: where ratios come from (`shared` measurements, or a probe of the job), and machines that slow
each other down.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

ANY_WORK = "any"
"""The kind of work whose ratio holds for all kinds that are not named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineClass:
    """One kind of machine. accelerator None = it has none; watts is one machine's power at work, IT only.

    reference_throughput: reference-hours that one machine does in an hour, by kind of work; the kind "any"
    stands for all that are not named. A kind that is neither named nor covered by "any" cannot run here.
    """

    name: str
    cores: int
    memory_bytes: int
    accelerator: str | None
    watts: float
    reference_throughput: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a machine class needs a name")
        if self.cores < 1 or self.memory_bytes < 1:
            raise ValueError(f"{self.name}: {self.cores} cores and {self.memory_bytes} bytes are no machine")
        if not (math.isfinite(self.watts) and self.watts >= 0):
            raise ValueError(f"{self.name}: {self.watts} W is no power")
        for kind, ratio in self.reference_throughput.items():
            if not (math.isfinite(ratio) and ratio > 0):
                raise ValueError(f"{self.name}: a throughput of {ratio} for {kind!r} is not above 0")

    def throughput(self, work_kind: str) -> float | None:
        """Reference-hours an hour for a kind of work; None = unknown, so it is not offered such work."""
        ratio = self.reference_throughput.get(work_kind)
        return self.reference_throughput.get(ANY_WORK) if ratio is None else ratio

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "reference_throughput": dict(self.reference_throughput)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The class that `to_json` wrote."""
        return cls(**data)

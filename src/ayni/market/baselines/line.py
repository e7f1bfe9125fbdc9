"""The waiting jobs of a policy in the order in which it looks at them, as arrays that are cheap to search.

Jobs leave from anywhere: their place is marked and swept away later, so that a start costs no copy of a
line of thousands. A place that was left holds more machines than any site has, and so is never found to
fit.

Not covered: threads.
"""

import numpy as np
from numpy.typing import NDArray

from ayni.market.simulation.demand import Demand

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
_GONE = np.iinfo(np.int64).max


class Line:
    """Jobs in order. Positions hold until `sweep` or `reorder`."""

    def __init__(self, demand: Demand) -> None:
        self._demand = demand
        self._job = np.empty(64, dtype=np.int64)
        self._gang = np.empty(64, dtype=np.int64)
        self._estimate = np.empty(64)
        self._head = self._tail = self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, job: int) -> None:
        """Put a job at the end."""
        if self._tail == len(self._job):
            for name in ("_job", "_gang", "_estimate"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.empty_like(old)]))
        self._job[self._tail] = job
        self._gang[self._tail] = self._demand.gang_J[job]
        self._estimate[self._tail] = self._demand.estimate_seconds_J[job]
        self._tail += 1
        self._size += 1

    def take(self, position: int) -> int:
        """Take the job at a position out of the line."""
        job = int(self._job[self._head + position])
        self._gang[self._head + position] = _GONE
        self._size -= 1
        return job

    def job_at(self, position: int) -> int:
        """The job at a position."""
        return int(self._job[self._head + position])

    def first_fitting(self, machines: int, *, after: int = 0) -> int | None:
        """The position of the first job from `after` on that needs at most so many machines."""
        fits = self._gang[self._head + after : self._tail] <= machines
        place = int(fits.argmax()) if len(fits) else 0
        return after + place if len(fits) and fits[place] else None

    def first(self) -> int | None:
        """The position of the first job; None for an empty line."""
        return self.first_fitting(_GONE - 1)

    def gangs(self, *, after: int) -> Integers:
        """Machines of each place from `after` on; huge where nobody is."""
        return self._gang[self._head + after : self._tail]

    def estimates(self, *, after: int) -> Floats:
        """What users believe of each place from `after` on, in reference seconds."""
        return self._estimate[self._head + after : self._tail]

    def jobs(self) -> Integers:
        """All jobs in order."""
        inside = slice(self._head, self._tail)
        waiting: Integers = self._job[inside][self._gang[inside] < _GONE]
        return waiting

    def sweep(self) -> None:
        """Forget the places that were left, when they are many or in front."""
        first = self.first()
        self._head += self._tail - self._head if first is None else first
        if self._tail - self._head > 2 * self._size + 64 or self._head > 4 * self._size + 64:
            self.reorder(self.jobs())

    def reorder(self, jobs: Integers) -> None:
        """Put the same jobs into another order."""
        assert len(jobs) == self._size
        self._job[: self._size] = jobs
        self._gang[: self._size] = self._demand.gang_J[jobs]
        self._estimate[: self._size] = self._demand.estimate_seconds_J[jobs]
        self._head, self._tail = 0, self._size

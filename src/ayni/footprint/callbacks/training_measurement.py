"""One training as a measurement: a step for each epoch, counted as one epoch.

The first step, `run`, is what comes before the first epoch; what comes after an epoch (validation, saving)
belongs to it. When each of several ranks has the callback, each has receipts of its own, and their sum is
the node: meters of one node share its idle power.

Not covered: telling the ranks of one training from several trainings beside each other.
"""

from typing import Any

from ayni.footprint.measuring.measurement import Measurement, measure


class TrainingMeasurement:
    """Begins, splits and ends a measurement as a training goes on; takes the arguments of `measure`."""

    def __init__(self, name: str, **options: Any) -> None:
        self._name = name
        self._options = options
        # Made now, so that an argument that cannot be is an error here and not after the data are loaded.
        measure(name, **options)
        self.measurement: Measurement | None = None

    def begin(self) -> None:
        """A training begins; one that never ended, because it failed, is ended first."""
        if self.measurement is not None and self.measurement.is_running:
            self.measurement.end("failed")
        self.measurement = measure(self._name, **self._options).start()

    def begin_epoch(self, number: int) -> None:
        """Epoch `number`, from 1, begins."""
        if self.measurement is not None and self.measurement.is_running:
            self.measurement.step(f"epoch-{number}")
            self.measurement.count(1, "epoch")

    def end(self, status: str = "finished") -> None:
        """The training has ended; further calls do nothing."""
        if self.measurement is not None:
            self.measurement.end(status)

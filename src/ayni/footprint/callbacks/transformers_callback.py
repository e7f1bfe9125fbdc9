"""Measure `Trainer.train` of Hugging Face Transformers.

Not covered: `Trainer.evaluate` and `predict` outside of training. A training that ends by an exception is
not told to its callbacks: what was measured is kept when the process ends or the next training begins.
"""

from typing import Any

from transformers import TrainerCallback

from ayni.footprint.callbacks.training_measurement import TrainingMeasurement
from ayni.footprint.measuring.measurement import Measurement


class TransformersCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Measures a training, epoch by epoch.

        callback = TransformersCallback(zone="DE")
        Trainer(..., callbacks=[callback]).train()
        print(callback.measurement)

    Takes the arguments of `ayni.footprint.measure`.
    """

    def __init__(self, name: str = "training", **options: Any) -> None:
        self._training = TrainingMeasurement(name, **options)

    @property
    def measurement(self) -> Measurement | None:
        """The newest training; None before the first."""
        return self._training.measurement

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin."""
        self._training.begin()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Next step; a training that goes on from a checkpoint begins with a later epoch."""
        self._training.begin_epoch(int(state.epoch or 0) + 1)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End."""
        self._training.end()

"""Measure `model.fit` of Keras 3, on any of its backends.

Not covered: `evaluate` and `predict` outside of `fit`.
"""

from typing import Any

import keras

from ayni.footprint.callbacks.training_measurement import TrainingMeasurement
from ayni.footprint.measuring.measurement import Measurement


class KerasCallback(keras.callbacks.Callback):  # type: ignore[misc, unused-ignore]
    """Measures a training, epoch by epoch.

        callback = KerasCallback(zone="DE")
        model.fit(..., callbacks=[callback])
        print(callback.measurement)

    Takes the arguments of `ayni.footprint.measure`.
    """

    def __init__(self, name: str = "training", **options: Any) -> None:
        super().__init__()
        self._training = TrainingMeasurement(name, **options)

    @property
    def measurement(self) -> Measurement | None:
        """The newest training; None before the first."""
        return self._training.measurement

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin."""
        self._training.begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Next step."""
        self._training.begin_epoch(epoch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        """End."""
        self._training.end()

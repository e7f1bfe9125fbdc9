"""Measure `Trainer.fit` of PyTorch Lightning.

The package is `lightning` or, where only that is there or was imported first, `pytorch_lightning`: a
trainer takes callbacks of its own package.

Not covered: `validate`, `test` and `predict` outside of `fit`.
"""

import importlib
import sys
from typing import Any

from ayni.footprint.callbacks.training_measurement import TrainingMeasurement
from ayni.footprint.measuring.measurement import Measurement


def _callback_class() -> Any:
    names = ["lightning.pytorch", "pytorch_lightning"]
    # What the person works with is imported already.
    names.sort(key=lambda name: name not in sys.modules)
    try:
        module = importlib.import_module(names[0])
    except ModuleNotFoundError:
        module = importlib.import_module(names[1])
    return module.Callback


class LightningCallback(_callback_class()):  # type: ignore[misc, unused-ignore]
    """Measures a training, epoch by epoch.

        callback = LightningCallback(zone="DE")
        Trainer(callbacks=[callback]).fit(model)
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

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin, before the check of the validation loop."""
        self._training.begin()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Next step."""
        self._training.begin_epoch(trainer.current_epoch + 1)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """End."""
        self._training.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End, and keep what was measured."""
        self._training.end("failed" if isinstance(exception, Exception) else "interrupted")

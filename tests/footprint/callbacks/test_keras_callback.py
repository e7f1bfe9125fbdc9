from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.measuring.measurement_folder import read_result
from ayni.footprint.receipts.verification import verify_receipts

pytestmark = [pytest.mark.keras, pytest.mark.slow]


def fit(epochs: int, callback: Any, *, fails: bool = False) -> None:
    import keras
    import numpy as np

    class Failing(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if fails:
                raise OSError("the data are gone")

    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.compile(loss="mse", optimizer="sgd")
    x_NF = np.zeros((8, 4), dtype="float32")
    model.fit(x_NF, x_NF[:, :1], epochs=epochs, verbose=0, callbacks=[callback, Failing()])


def test_a_training_of_keras_has_a_receipt_for_each_epoch(home: Path) -> None:
    from ayni.footprint.callbacks import KerasCallback

    callback = KerasCallback(zone="DE")
    assert callback.measurement is None
    fit(2, callback)

    measurement = callback.measurement
    assert measurement is not None and measurement.energy_joules is not None
    assert [receipt["step"] for receipt in measurement.receipts] == ["run", "epoch-1", "epoch-2"]
    assert [receipt["functional_unit"] for receipt in measurement.receipts[1:]] == [
        {"name": "epoch", "count": 1.0}
    ] * 2
    assert verify_receipts(measurement.folder) == []


def test_a_training_that_fails_is_kept_when_the_next_begins(home: Path) -> None:
    from ayni.footprint.callbacks import KerasCallback

    callback = KerasCallback("trial")
    with pytest.raises(OSError, match="the data are gone"):
        fit(1, callback, fails=True)
    first = callback.measurement
    fit(1, callback)

    assert first is not None and read_result(first.folder)["status"] == "failed"
    assert callback.measurement is not first and not callback.measurement.is_running

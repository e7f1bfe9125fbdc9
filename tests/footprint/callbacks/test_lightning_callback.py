from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.measuring.measurement_folder import read_result
from ayni.footprint.receipts.verification import verify_receipts

pytestmark = pytest.mark.slow


def fit(epochs: int, callback: Any, folder: Path, *, fails: bool = False) -> None:
    lightning = pytest.importorskip("lightning.pytorch")
    torch = pytest.importorskip("torch")

    class Line(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, _index: int) -> Any:
            if fails:
                raise OSError("the data are gone")
            return (self.layer(batch) ** 2).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[callback],
    )
    trainer.fit(Line(), torch.utils.data.DataLoader(torch.zeros(8, 4), batch_size=4))


def test_a_training_of_lightning_has_a_receipt_for_each_epoch(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from ayni.footprint.callbacks import LightningCallback

    callback = LightningCallback(zone="DE")
    fit(2, callback, tmp_path)

    measurement = callback.measurement
    assert measurement is not None and measurement.energy_joules is not None
    assert [receipt["step"] for receipt in measurement.receipts] == ["run", "epoch-1", "epoch-2"]
    assert verify_receipts(measurement.folder) == []


def test_a_training_that_fails_is_kept_at_once(home: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    from ayni.footprint.callbacks import LightningCallback

    callback = LightningCallback()
    with pytest.raises(OSError, match="the data are gone"):
        fit(1, callback, tmp_path, fails=True)

    assert callback.measurement is not None and not callback.measurement.is_running
    assert read_result(callback.measurement.folder)["status"] == "failed"

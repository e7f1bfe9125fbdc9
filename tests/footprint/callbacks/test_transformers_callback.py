from pathlib import Path
from typing import Any

import pytest

from ayni.footprint.receipts.verification import verify_receipts

pytestmark = pytest.mark.slow


def test_a_training_of_transformers_has_a_receipt_for_each_epoch(home: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    torch = pytest.importorskip("torch")
    from ayni.footprint.callbacks import TransformersCallback

    class Line(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x: Any, labels: Any) -> dict[str, Any]:
            answer = self.layer(x)
            return {"loss": ((answer - labels) ** 2).mean(), "logits": answer}

    callback = TransformersCallback(zone="DE")
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"), num_train_epochs=2, report_to=[], save_strategy="no", use_cpu=True
    )
    examples = [{"x": torch.zeros(4), "labels": torch.zeros(1)}] * 8
    transformers.Trainer(model=Line(), args=arguments, train_dataset=examples, callbacks=[callback]).train()

    measurement = callback.measurement
    assert measurement is not None and measurement.energy_joules is not None
    assert [receipt["step"] for receipt in measurement.receipts] == ["run", "epoch-1", "epoch-2"]
    assert verify_receipts(measurement.folder) == []

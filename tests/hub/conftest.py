"""A hub in a temporary folder, and a small model published in it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ayni.database import Database
from ayni.hub.config import ModelConfig
from ayni.hub.repositories import LocalHub, Published
from ayni.hub.snapshots import Snapshot
from ayni.objects import ObjectStore
from ayni.signing import sha256_hex

MORNING = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@dataclass(frozen=True)
class HubFolder:
    """A hub and the folder behind it."""

    hub: LocalHub
    folder: Path

    def publish(
        self,
        files: dict[str, Path | bytes],
        *,
        repository: str = "me/digits",
        minute: int = 0,
        publish_key: str | None = None,
    ) -> Published:
        """Publish with everything else given."""
        return self.hub.publish(
            repository,
            files,
            message="Publish",
            author="Ada Lovelace",
            when=MORNING + timedelta(minutes=minute),
            publish_key=publish_key,
        )


@pytest.fixture
def hub_folder(tmp_path: Path, any_database: Database) -> HubFolder:
    folder = tmp_path / "hub"
    return HubFolder(LocalHub(any_database, ObjectStore(str(folder / "objects")), folder), folder)


TASK = '''
import torch


class Small(torch.nn.Module):
    """A linear classifier whose bias is tied, to prove that shared tensors load."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = torch.nn.Flatten()
        self.linear = torch.nn.Linear(4, 3)
        self.tied = self.linear.bias
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x):
        return self.linear(self.flat(x))


class Task:
    def build_model(self):
        return Small()

    def dataset(self, split):
        return []

    def loss(self, model, batch):
        return 0.0

    def evaluate(self, model, batches):
        return {}

    def example_input(self):
        return torch.zeros(1, 1, 2, 2)
'''


@dataclass(frozen=True)
class PublishedModel:
    """A model in a hub: full and as ONNX, whose outputs are known."""

    hub_folder: HubFolder
    config: ModelConfig
    files: dict[str, Path | bytes]

    def publish(self, **changed: Any) -> Snapshot:
        """The snapshot of a new revision with some files (`task_py`) replaced; None removes one."""
        replaced = {name.replace("_", "."): content for name, content in changed.items()}
        files = {name: content for name, content in (self.files | replaced).items() if content is not None}
        self.hub_folder.publish(files)
        return self.hub_folder.hub.find("me/digits")


def _linear_onnx(weight_OI: Any, bias_O: Any) -> bytes:
    """logits = flatten(x) W^T + b as an ONNX file, made by hand: no exporter needed."""
    from onnx import TensorProto, helper, numpy_helper

    shape = ["batch", 1, 2, 2]
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(weight_OI, "w"), numpy_helper.from_array(bias_O, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


@pytest.fixture
def published_model(hub_folder: HubFolder) -> PublishedModel:
    """Class c scores the pixel c, plus 0.25 for class 2."""
    np = pytest.importorskip("numpy")
    safetensors = pytest.importorskip("safetensors.numpy")
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    weight_OI = np.eye(3, 4, dtype=np.float32)
    bias_O = np.array([0, 0, 0.25], dtype=np.float32)
    config = ModelConfig(
        task="task:Task",
        task_sha256=sha256_hex(TASK.encode()),
        architecture="Small",
        input_shape=(1, 2, 2),
        labels=("zero", "one", "two"),
        pipeline_tag="image-classification",
        variants={"full": "model.safetensors", "int8": "int8.onnx"},
        chosen="int8",
    )
    weights = {"linear.weight": weight_OI, "linear.bias": bias_O, "count": np.array(3)}
    files: dict[str, Path | bytes] = {
        "task.py": TASK.encode(),
        "config.json": json.dumps(config.to_json()).encode(),
        "model.safetensors": safetensors.save(weights),
        "int8.onnx": _linear_onnx(weight_OI, bias_O),
    }
    return PublishedModel(hub_folder, config, files)

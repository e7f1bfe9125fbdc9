"""ONNX files as values."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from ayni.compress.deploy.export import export_onnx
from ayni.compress.deploy.onnx_file import (
    Constants,
    OnnxTooLargeError,
    UnreadableOnnxError,
    add_operator_domain,
    describe_onnx,
    read_onnx,
    set_metadata,
    share_tied_tables,
    write_onnx,
    written_whole,
)
from ayni.compress.deploy.runtimes import OnnxRuntime


@pytest.fixture
def file(tmp_path: Path) -> Path:
    export_onnx(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), [torch.randn(2, 4)], tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_a_file_says_what_it_declares(file: Path) -> None:
    found = describe_onnx(file)

    assert (found.inputs, found.outputs) == ({"input": ("batch", 4)}, {"output": ("batch", 3)})
    assert found.num_nodes["Relu"] == 1
    assert found.metadata["ayni.exporter"] == "tracing"
    assert found.stored_bytes == file.stat().st_size


@pytest.mark.parametrize("content", [b"", b"\x00" * 50, b"not a graph at all"])
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)

    with pytest.raises(UnreadableOnnxError, match=r"bad\.onnx"):
        read_onnx(tmp_path / "bad.onnx")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableOnnxError, match=r"none\.onnx"):
        describe_onnx(tmp_path / "none.onnx")


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    target.write_text("old")

    with pytest.raises(KeyError), written_whole(target) as temporary:
        temporary.write_text("half")
        raise KeyError

    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert target.read_text() == "old"


def test_metadata_and_domains_are_added_once_and_kept(file: Path) -> None:
    model = read_onnx(file)

    set_metadata(model, {"a": "1"})
    set_metadata(model, {"a": "2"})
    add_operator_domain(model, "com.microsoft")
    add_operator_domain(model, "com.microsoft")
    write_onnx(model, file)

    metadata = describe_onnx(file).metadata
    assert (metadata["a"], metadata["ayni.exporter"]) == ("2", "tracing")
    assert [entry.domain for entry in read_onnx(file).opset_import].count("com.microsoft") == 1


def test_a_graph_beyond_one_protobuf_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ayni.compress.deploy.onnx_file.MAX_BYTES", 10)

    with pytest.raises(OnnxTooLargeError, match="at most 10"):
        write_onnx(read_onnx(file), file)


def test_constants_are_read_shared_and_dropped_when_unused(file: Path) -> None:
    model = read_onnx(file)
    constants = Constants(model.graph)
    before = {tensor.name for tensor in model.graph.initializer}

    first = constants.add("new", np.arange(6, dtype=np.float32).reshape(2, 3).T)
    again = constants.add("new", np.zeros(1))

    assert first == again == "new"
    assert constants.shape("new") == (3, 2)
    np.testing.assert_array_equal(constants.read("new"), np.arange(6).reshape(2, 3).T)
    constants.replace("new", np.ones((3, 2), np.float32))
    assert constants.read("new").sum() == 6
    constants.drop_unused()
    assert "new" not in constants
    assert {tensor.name for tensor in model.graph.initializer} == before
    onnx.checker.check_model(model)


def test_a_tied_head_is_stored_once_and_other_weights_of_its_shape_are_left(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.other = nn.Embedding(30, 16), nn.Linear(16, 30, bias=False)
            self.head = nn.Linear(16, 30, bias=False)
            self.head.weight = self.words.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            x = self.words(ids)
            logits: torch.Tensor = self.head(x) + self.other(x)
            return logits

    model, ids = Tied().eval(), torch.arange(12).reshape(3, 4)

    export_onnx(model, [ids], tmp_path / "model.onnx")

    graph = read_onnx(tmp_path / "model.onnx").graph
    assert sorted(tuple(t.dims) for t in graph.initializer if len(t.dims) == 2) == [(16, 30), (30, 16)]
    assert share_tied_tables(graph) == 0
    torch.testing.assert_close(OnnxRuntime(tmp_path / "model.onnx")(ids), model(ids).detach())

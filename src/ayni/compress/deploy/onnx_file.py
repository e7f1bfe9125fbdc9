"""ONNX files as values: what a file declares, its constants by name, and writing one whole or not at all.

Files of this package keep their weights inside. Beside the graph a file carries in which form the model
answered (`outputs.OUTPUT_FORM_KEY`), which ONNX Runtime's own tools keep when they write a new file.

Not covered: weights in separate files, so models above 2 GiB, the limit of one protobuf; subgraphs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ayni.errors import AyniError, MissingExtraError
from ayni.files import explain_os_errors

MAX_BYTES = 2**31 - 1

Array = np.ndarray[Any, np.dtype[Any]]


class UnreadableOnnxError(AyniError):
    """A file is not an ONNX graph."""

    def __init__(self, *, file: Path, reason: str) -> None:
        self.file = file
        super().__init__(f"{file.name} is not a readable ONNX file: {reason}. Export the model again.")


class OnnxTooLargeError(AyniError):
    """A graph does not fit into one protobuf."""

    def __init__(self, *, file: Path, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        super().__init__(
            f"{file.name} would have {num_bytes} bytes, and one ONNX file holds at most {MAX_BYTES}. "
            "Export a smaller model, or keep this one in torch."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxDescription:
    """What an ONNX file declares; a dynamic axis has its name where a fixed one has its size."""

    opset: int
    inputs: Mapping[str, tuple[int | str, ...]]
    outputs: Mapping[str, tuple[int | str, ...]]
    metadata: Mapping[str, str]
    num_nodes: Mapping[str, int]
    stored_bytes: int


def import_onnx() -> Any:
    """The onnx package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError(extra="compress", package="onnx") from error
    return onnx


def read_onnx(file: Path) -> Any:
    """The onnx.ModelProto of a file.

    Raises:
        UnreadableOnnxError: missing, damaged, or without a graph.
    """
    onnx = import_onnx()
    try:
        model = onnx.load(str(file))
    except Exception as error:  # protobuf's errors have no common root with the system's.
        raise UnreadableOnnxError(file=file, reason=str(error).splitlines()[0]) from error
    if not model.graph.node:
        raise UnreadableOnnxError(file=file, reason="its graph has no nodes")
    return model


def write_onnx(model: Any, file: Path) -> None:
    """Write a ModelProto; the file is there whole or not at all.

    Raises:
        OnnxTooLargeError: above MAX_BYTES.
        DiskFullError, NotWritableError: the system refused.
    """
    num_bytes = model.ByteSize()
    if not 0 <= num_bytes <= MAX_BYTES:
        raise OnnxTooLargeError(file=file, num_bytes=num_bytes)
    with written_whole(file) as temporary:
        temporary.write_bytes(model.SerializeToString())


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A temporary path that becomes `file` when the block ends well, and vanishes when it does not."""
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        with explain_os_errors(file):
            yield temporary
            temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def describe_onnx(file: Path) -> OnnxDescription:
    """What a file declares: opset, inputs and outputs with their axes, and how many nodes of each kind.

    Raises:
        UnreadableOnnxError: not an ONNX file.
    """
    model = read_onnx(file)
    constants = {tensor.name for tensor in model.graph.initializer}
    num_nodes: dict[str, int] = {}
    for node in model.graph.node:
        num_nodes[node.op_type] = num_nodes.get(node.op_type, 0) + 1
    return OnnxDescription(
        opset=next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0),
        inputs={value.name: _axes(value) for value in model.graph.input if value.name not in constants},
        outputs={value.name: _axes(value) for value in model.graph.output},
        metadata={entry.key: entry.value for entry in model.metadata_props},
        num_nodes=num_nodes,
        stored_bytes=file.stat().st_size,
    )


def set_metadata(model: Any, values: Mapping[str, str]) -> None:
    """Keep `values` in a ModelProto's metadata; entries of other names stay."""
    import_onnx().helper.set_model_props(
        model, {entry.key: entry.value for entry in model.metadata_props} | dict(values)
    )


def add_operator_domain(model: Any, domain: str, version: int = 1) -> None:
    """Declare that a graph uses operators of a domain, unless it does already."""
    if all(entry.domain != domain for entry in model.opset_import):
        model.opset_import.append(import_onnx().helper.make_opsetid(domain, version))


def share_tied_tables(graph: Any) -> int:
    """Store the weights of products that are an embedding table, turned, once; how many there were.

    Exporters fold the turning into a copy of the weights. ONNX Runtime does that too, when it loads the file.
    """
    constants = Constants(graph)
    tables = [node.input[0] for node in graph.node if node.op_type == "Gather" and node.input[0] in constants]
    num_shared = 0
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        table = next((name for name in tables if constants.is_turned(name, node.input[1])), None)
        if table is not None:
            turned = f"{node.output[0]}_turned"
            node.input[1] = turned
            made = import_onnx().helper.make_node("Transpose", [table], [turned], name=turned, perm=[1, 0])
            graph.node.insert(place, made)
            num_shared += 1
    constants.drop_unused()
    return num_shared


class Constants:
    """The constants of a graph by name: read as arrays, replaced, and dropped when nobody uses them."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph
        self._onnx = import_onnx()
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape without reading the values."""
        return tuple(self._tensors[name].dims)

    def is_float32(self, name: str) -> bool:
        """Whether the values are 32-bit floats."""
        is_float: bool = self._tensors[name].data_type == self._onnx.TensorProto.FLOAT
        return is_float

    def read(self, name: str) -> Array:
        """The values. Cost: a copy."""
        values: Array = self._onnx.numpy_helper.to_array(self._tensors[name])
        return values

    def is_turned(self, name: str, other: str) -> bool:
        """Whether one matrix is the transpose of another."""
        shape = self.shape(name)
        if len(shape) != 2 or self.shape(other) != shape[::-1]:
            return False
        return np.array_equal(self.read(name), self.read(other).T)

    def add(self, name: str, values: Array) -> str:
        """Keep `values` under a name and give it back; the same name again is the same constant."""
        if name not in self._tensors:
            self._graph.initializer.append(
                self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
            )
            self._tensors[name] = self._graph.initializer[-1]
        return name

    def replace(self, name: str, values: Array) -> None:
        """Give a constant other values; all that read it see them."""
        tensor = self._onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)
        self._tensors[name].CopyFrom(tensor)

    def drop_unused(self) -> None:
        """Forget constants that no node reads and that are no output."""
        used = {name for node in self._graph.node for name in node.input}
        used |= {value.name for value in self._graph.output}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        if len(kept) < len(self._graph.initializer):
            del self._graph.initializer[:]
            self._graph.initializer.extend(kept)
        self._tensors = {tensor.name: tensor for tensor in self._graph.initializer}


def _axes(value: Any) -> tuple[int | str, ...]:
    return tuple(
        axis.dim_param if axis.WhichOneof("value") == "dim_param" else int(axis.dim_value)
        for axis in value.type.tensor_type.shape.dim
    )

"""Weights in 4 or 8 bits, activations in floats at the border of every layer: for size, and for decoding.

    MatMul(x, W)      -> MatMulNBits(x, codes, scales)                  ONNX Runtime's own operator
    Gather(W, ids)    -> Gather(codes, ids) * Gather(scales, ids)       standard operators

Codes and scales come from `grids`: groups of `group_size` inputs share a scale. With accuracy level 4 (the
default) the operator rounds activations to 8 bits in blocks of the same length, each with its own scale, and
multiplies integers: faster than floats, and much gentler than one scale for the whole tensor. It is the
right form for a decoder, one token at a time; for many tokens at once `quantize` is faster (MiniLM, 8 x 128
tokens: 1.7 times torch against 3.1).

Embedding tables become int8 with a scale for each row. A table that is tied to the output head (or that
tracing has copied) is stored once, in the head's layout, and read by both.

Cost: one pass over the weights, 0.2 s for 10 million.

Source: the operator's definition, ONNX Runtime, docs/ContribOperators.md, com.microsoft.MatMulNBits. Not its
Python quantizer, which unties embeddings and quantizes them to 4 bits or not at all.

Not covered: convolutions; weights that are computed in the graph; 2 and 3 bits, for which the operator has no
fast kernels on a CPU.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ayni.compress.deploy.onnx_file import (
    Array,
    Constants,
    add_operator_domain,
    import_onnx,
    read_onnx,
    write_onnx,
)
from ayni.compress.weights.grids import Grid
from ayni.errors import UserError

DOMAIN = "com.microsoft"
FLOAT_BITS = 32
SMALLEST_GROUP = 16


class NothingToQuantizeError(UserError):
    """A graph has no constant weights that this can quantize."""

    def __init__(self, *, file: Path, skipped: Mapping[str, str]) -> None:
        self.skipped = dict(skipped)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in list(skipped.items())[:3])
        super().__init__(
            f"{file.name} has no matrix multiplication whose weights could be stored in fewer bits"
            f"{f' ({reasons})' if reasons else ''}. Use {{quantize: {{mode: static}}}} for convolutions."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnly:
    """How the weights of a graph are stored.

    bits: 4 or 8 for matrix multiplications.
    group_size: inputs that share a scale: a power of two from 16 to 256. 32 costs one bit a weight (float32
        scales), 128 a quarter.
    scheme: affine has a zero point for each group, symmetric none.
    accuracy_level: 4 multiplies 8-bit integers, 1 multiplies floats.
    embedding_bits: 8, or 32 to leave tables as they are.
    layer_bits: other bits for nodes whose name fits a pattern, 32 to leave them; the first that fits counts.
        A head that is tied to a table has at least 8 bits unless a pattern says otherwise.
    """

    bits: Literal[4, 8] = 4
    group_size: int = 32
    scheme: Literal["affine", "symmetric"] = "affine"
    accuracy_level: Literal[1, 4] = 4
    embedding_bits: Literal[8, 32] = 8
    layer_bits: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if any(bits not in (4, 8, FLOAT_BITS) for bits in (self.bits, *self.layer_bits.values())):
            raise ValueError(f"weights have 4, 8 or 32 bits, not {self.bits} and {dict(self.layer_bits)}")
        size = self.group_size
        if not SMALLEST_GROUP <= size <= 256 or size & (size - 1):
            raise ValueError(f"group_size is a power of two from 16 to 256, not {size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightOnlyResult:
    """What was done: layers by bits, tables, and what was left as it is with the reason."""

    num_layers: Mapping[int, int]
    num_embeddings: int
    num_tied: int
    skipped: Mapping[str, str]
    bytes_before: int
    bytes_after: int


def quantize_weights_onnx(source: Path, target: Path, settings: WeightOnly) -> WeightOnlyResult:
    """Write `source` with its weights in few bits to `target`; it is there whole or not at all.

    Raises:
        UnreadableOnnxError: source is not an ONNX file.
        NothingToQuantizeError: no constant matrix in it, or all are left out.
        CannotQuantizeError: a weight is not finite.
    """
    model = read_onnx(source)
    rewriter = _Rewriter(model.graph, settings)
    rewriter.rewrite()
    if not rewriter.num_layers and not rewriter.num_embeddings:
        raise NothingToQuantizeError(file=source, skipped=rewriter.skipped)
    add_operator_domain(model, DOMAIN)
    write_onnx(model, target)
    return WeightOnlyResult(
        num_layers=rewriter.num_layers,
        num_embeddings=rewriter.num_embeddings,
        num_tied=rewriter.num_tied,
        skipped=rewriter.skipped,
        bytes_before=source.stat().st_size,
        bytes_after=target.stat().st_size,
    )


def quantize_embeddings(graph: Any) -> tuple[str, ...]:
    """Make the embedding tables of an onnx.GraphProto int8 with a scale for each row.

    ONNX Runtime's quantizer gives a table one scale, which costs rows of small numbers most of their bits.

    Returns:
        The names of the new nodes, which that quantizer must leave out: it would take the scales for a table.
    """
    before = {node.name for node in graph.node}
    _Rewriter(graph, WeightOnly(layer_bits={"*": FLOAT_BITS})).rewrite()
    return tuple(node.name for node in graph.node if node.name not in before)


def packed_codes(codes_OI: torch.Tensor, *, bits: int, group_size: int, fill: int) -> Array:
    """Codes in the operator's layout: uint8 [O, groups, bytes of a group], the lower half-byte first.

    A last group that is short is filled up with the code of zero.
    """
    num_outputs, num_inputs = codes_OI.shape
    num_groups = -(-num_inputs // group_size)
    filled_OI = np.full((num_outputs, num_groups * group_size), fill, dtype=np.uint8)
    filled_OI[:, :num_inputs] = codes_OI.numpy()
    return _halves(filled_OI, bits).reshape(num_outputs, num_groups, group_size * bits // 8)


def _halves(codes_OI: Array, bits: int) -> Array:
    """Two 4-bit codes in each byte of a row; a row of odd length is filled up with 0."""
    if bits == 8:
        return codes_OI
    even_OI = np.pad(codes_OI, ((0, 0), (0, codes_OI.shape[1] % 2)))
    packed: Array = even_OI[:, 0::2] | (even_OI[:, 1::2] << 4)
    return packed


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The weights of one multiplication [O, I]: values, and the bias of a Gemm."""

    name: str
    weight_OI: Array  # noqa: N815 (the shape is part of the name)
    bias: str | None


class _Rewriter:
    """Goes through a graph once and replaces nodes one by one, in order."""

    def __init__(self, graph: Any, settings: WeightOnly) -> None:
        self._graph, self._settings = graph, settings
        self._constants = Constants(graph)
        self._producers = {output: node for node in graph.node for output in node.output}
        self._onnx = import_onnx()
        self._new: list[Any] = []
        self._heads: dict[str, tuple[str, str, int]] = {}
        self.num_layers: dict[int, int] = {}
        self.num_embeddings = self.num_tied = 0
        self.skipped: dict[str, str] = {}

    def rewrite(self) -> None:
        """Replace what can be replaced, then forget the constants that nobody reads any more."""
        self._find_heads()
        for node in list(self._graph.node):
            if node.op_type in ("MatMul", "Gemm"):
                matrix = self._matrix(node)
                replaced = matrix is not None and self._replace_product(node, matrix)
            else:
                replaced = node.op_type == "Gather" and self._replace_gather(node)
            if not replaced:
                self._new.append(node)
        del self._graph.node[:]
        self._graph.node.extend(self._new)
        self._drop_dead_transposes()
        self._constants.drop_unused()

    def _find_heads(self) -> None:
        """Which products have the weights of an embedding table, so that both can read one copy."""
        if self._settings.embedding_bits == FLOAT_BITS:
            return
        tables = {node.input[0] for node in self._graph.node if node.op_type == "Gather"}
        tables = {name for name in tables if self._is_table(name)}
        for node in self._graph.node:
            if node.op_type not in ("MatMul", "Gemm") or self._bits(node.name, is_head=True) != 8:
                continue
            matrix = self._matrix(node, note=False, num_weights={self._size(name) for name in tables})
            table = next(
                (name for name in tables if matrix is not None and self._is_same(name, matrix)), None
            )
            if matrix is None or table is None:
                continue
            if group_size := self._dividing_group(matrix.weight_OI.shape[1]):
                codes, scales = self._stored(matrix.weight_OI, table, bits=8, group_size=group_size)[:2]
                self._heads[table] = (codes, scales, group_size)

    def _size(self, name: str) -> int:
        return math.prod(self._constants.shape(name))

    def _matrix(
        self, node: Any, *, note: bool = True, num_weights: Collection[int] | None = None
    ) -> _Matrix | None:
        """The constant weights of a product, if this is how it has them, and if they are so many."""
        name, is_transposed, bias = node.input[1], False, None
        producer = self._producers.get(name)
        if producer is not None and producer.op_type == "Transpose":
            name, is_transposed = producer.input[0], True
        if name not in self._constants or (num_weights is not None and self._size(name) not in num_weights):
            return None  # Queries times keys: there is no weight, so nothing to tell either.
        if node.op_type == "Gemm":
            attributes = {item.name: self._onnx.helper.get_attribute_value(item) for item in node.attribute}
            if attributes.pop("transB", 0):
                is_transposed = not is_transposed
            if any(value not in (0, 1.0) for value in attributes.values()) or attributes.get("transA"):
                self._skip(node, "scaled or transposed product", note)
                return None
            bias = node.input[2] if len(node.input) > 2 else None
        if len(self._constants.shape(name)) != 2 or not self._constants.is_float32(name):
            self._skip(node, "no matrix of 32-bit floats", note)
            return None
        weight = self._constants.read(name)
        return _Matrix(name, weight if is_transposed else weight.T, bias)

    def _skip(self, node: Any, reason: str, note: bool) -> None:
        if note:
            self.skipped[node.name or node.output[0]] = reason

    def _bits(self, node_name: str, *, is_head: bool = False) -> int:
        for pattern, bits in self._settings.layer_bits.items():
            if fnmatchcase(node_name, pattern):
                return bits
        return max(self._settings.bits, 8) if is_head else self._settings.bits

    def _dividing_group(self, num_inputs: int) -> int | None:
        """The longest group up to 128 that rows divide into; None if they do not."""
        return next((size for size in (128, 64, 32, SMALLEST_GROUP) if num_inputs % size == 0), None)

    def _replace_product(self, node: Any, matrix: _Matrix) -> bool:
        head = next((entry for table, entry in self._heads.items() if self._is_same(table, matrix)), None)
        bits = self._bits(node.name, is_head=head is not None)
        if bits == FLOAT_BITS:
            self.skipped[node.name or node.output[0]] = "left out by a pattern"
            return False
        if head is not None and bits == 8:
            codes, scales, group_size = head
            inputs = [codes, scales]
            self.num_tied += 1
        else:
            group_size = self._settings.group_size
            codes, scales, *zeros = self._stored(
                matrix.weight_OI, matrix.name, bits=bits, group_size=group_size
            )
            inputs = [codes, scales, *zeros]
        output = node.output[0] if matrix.bias is None else f"{_own_names(node.output[0])}/without_bias"
        self._new.append(
            self._onnx.helper.make_node(
                "MatMulNBits",
                [node.input[0], *inputs],
                [output],
                name=f"{node.name or node.output[0]}_{bits}bits",
                domain=DOMAIN,
                K=matrix.weight_OI.shape[1],
                N=matrix.weight_OI.shape[0],
                bits=bits,
                block_size=group_size,
                accuracy_level=self._settings.accuracy_level,
            )
        )
        if matrix.bias is not None:
            self._add("Add", [output, matrix.bias], node.output[0])
        self.num_layers[bits] = self.num_layers.get(bits, 0) + 1
        return True

    def _is_same(self, table: str, matrix: _Matrix) -> bool:
        return self._constants.shape(table) == matrix.weight_OI.shape and np.array_equal(
            self._constants.read(table), matrix.weight_OI
        )

    def _stored(self, weight_OI: Array, name: str, *, bits: int, group_size: int) -> list[str]:
        """Names of the constants of a weight: codes, scales, and zero points unless symmetric.

        8-bit codes are always symmetric: the zero point 128 is the operator's own, and costs nothing.
        """
        scheme = "symmetric" if bits == 8 else self._settings.scheme
        grid = Grid(bits=bits, scheme=scheme, granularity="group", group_size=group_size)
        weight = torch.from_numpy(np.array(weight_OI))
        parameters = grid.fit(weight)
        codes_OI = grid.quantize(weight, parameters)
        middle = 1 << (bits - 1)
        packed = packed_codes(codes_OI, bits=bits, group_size=group_size, fill=middle)
        stem = f"{name}_{bits}bits_{group_size}"
        stored = [
            self._constants.add(f"{stem}_codes", packed),
            self._constants.add(f"{stem}_scales", parameters.scale.float().numpy()),
        ]
        if scheme == "affine":
            assert parameters.zero is not None
            zeros = _halves(parameters.zero.numpy(), bits)
            stored.append(self._constants.add(f"{stem}_zeros", zeros))
        return stored

    def _is_table(self, name: str) -> bool:
        return (
            name in self._constants
            and self._constants.is_float32(name)
            and len(self._constants.shape(name)) == 2
        )

    def _replace_gather(self, node: Any) -> bool:
        axes = [item.i for item in node.attribute if item.name == "axis"]
        table, ids, output = node.input[0], node.input[1], node.output[0]
        if self._settings.embedding_bits == FLOAT_BITS or axes not in ([], [0]) or not self._is_table(table):
            return False
        if min(self._constants.shape(table)) < 2:
            return False  # A constant that is looked up, and no table of vectors.
        if table in self._heads:
            self._gather_from_head(table, ids, output)
        else:
            self._gather_rows(table, ids, output)
        self.num_embeddings += 1
        return True

    def _gather_rows(self, table: str, ids: str, output: str) -> None:
        own = _own_names(output)
        weight_VE = torch.from_numpy(self._constants.read(table).copy())
        grid = Grid(bits=8, scheme="symmetric")
        parameters = grid.fit(weight_VE)
        signed_VE = (grid.quantize(weight_VE, parameters).to(torch.int16) - 128).to(torch.int8)
        codes = self._constants.add(f"{table}_rows_codes", signed_VE.numpy())
        scales = self._constants.add(f"{table}_rows_scales", parameters.scale.float().numpy())
        self._add("Gather", [codes, ids], f"{own}/codes")
        self._add("Cast", [f"{own}/codes"], f"{own}/numbers", to=self._onnx.TensorProto.FLOAT)
        self._add("Gather", [scales, ids], f"{own}/scale")
        self._add("Mul", [f"{own}/numbers", f"{own}/scale"], output)

    def _gather_from_head(self, table: str, ids: str, output: str) -> None:
        own = _own_names(output)
        codes, scales, _ = self._heads[table]
        middle = self._constants.add("ayni_middle_of_8_bits", np.array(128, dtype=np.float32))
        last = self._constants.add("ayni_last_axis", np.array([-1], dtype=np.int64))
        width = self._constants.add(
            f"{table}_width", np.array(self._constants.shape(table)[1:], dtype=np.int64)
        )
        self._add("Gather", [codes, ids], f"{own}/codes")
        self._add("Cast", [f"{own}/codes"], f"{own}/numbers", to=self._onnx.TensorProto.FLOAT)
        self._add("Sub", [f"{own}/numbers", middle], f"{own}/signed")
        self._add("Gather", [scales, ids], f"{own}/scale")
        self._add("Unsqueeze", [f"{own}/scale", last], f"{own}/scales")
        self._add("Mul", [f"{own}/signed", f"{own}/scales"], f"{own}/groups")
        self._add("Shape", [ids], f"{own}/places")
        self._add("Concat", [f"{own}/places", width], f"{own}/shape", axis=0)
        self._add("Reshape", [f"{own}/groups", f"{own}/shape"], output)

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._new.append(
            self._onnx.helper.make_node(kind, inputs, [output], name=f"{output}_{kind}", **attributes)
        )

    def _drop_dead_transposes(self) -> None:
        """A table that was transposed for the head alone would else stay in the file as floats."""
        used = {name for node in self._graph.node for name in node.input}
        used |= {value.name for value in self._graph.output}
        for node in [node for node in self._graph.node if node.op_type == "Transpose"]:
            if not used.intersection(node.output):
                self._graph.node.remove(node)


def _own_names(tensor: str) -> str:
    """Begin of names for what computes a tensor. ONNX Runtime's quantizer takes `_scale` and the like."""
    return f"{tensor}/ayni"

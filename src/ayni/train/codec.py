"""What travels: the values of one chunk as a frame of bytes that describes and checks itself.

    offset  bytes
    0       4      magic "AYNF"
    4       1      format version
    5       1      codec: its place in quantizers.QUANTIZERS
    6       2      zero
    8       4      length of the manifest, a multiple of 16
    12      8      number of elements
    20      8      length of the payload
    28      4      checksum of all other bytes: XXH3 (64 bits), its lower half
    32             manifest as JSON: codec, dtype, pieces [name, shape, start, stop]; padded with spaces
    then           payload, see quantizers.py

All numbers are little-endian. A frame is read against the chunk that is expected: lengths are compared
before anything is computed, nothing of a frame decides how much memory is taken, and values that are
not finite never come out. So a damaged or wrong frame is an error and changes nothing.

XXH3, because it misses damage once in 2**32 times and takes a tenth of the time of CRC-32, which was a
large part of a round (dev/LOG.md). It is no protection against forgery: a learner that lies computes it
right, and against it there are aggregation rules and TLS.

Tensors leave their device here and nowhere else.

Shapes: E = elements of a chunk.
"""

import json
import struct
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from ayni.errors import AyniError
from ayni.train.blocks import Blocks, make_blocks
from ayni.train.engine import Frame
from ayni.train.layout import Chunk, num_elements
from ayni.train.quantizers import QUANTIZERS, PayloadError, topk_encoder
from ayni.train.strategy_config import CodecName

if TYPE_CHECKING:
    import torch

# Gives memory for a number of bytes.
Room: TypeAlias = Callable[[int], Frame]

_MAGIC = b"AYNF"
_VERSION = 1
_PREFIX = struct.Struct("<4sBBHIQQ")
_CHECKSUM = struct.Struct("<I")
_PREFIX_BYTES = _PREFIX.size + _CHECKSUM.size
_ALIGNMENT = 16
_CODECS: tuple[CodecName, ...] = tuple(QUANTIZERS)  # their order is part of the format


class FrameError(AyniError):
    """A frame that cannot be used. It was refused before it changed anything."""

    def __init__(self, chunk: Chunk, problem: str) -> None:
        self.first_name = chunk[0].name if chunk else ""
        self.problem = problem
        super().__init__(
            f"The frame for {_describe(chunk)} {problem}. It was refused and nothing was changed; the round "
            "goes on without it or is tried again."
        )


class NotAFrameError(FrameError):
    """The bytes do not begin as a frame of this format version does."""


class FrameSizeError(FrameError):
    """The frame is cut off or too long."""


class ChecksumError(FrameError):
    """Bytes changed on the way."""


class ForeignFrameError(FrameError):
    """The frame is for another chunk: other names, shapes, elements or dtype."""


class UnknownCodecError(FrameError):
    """The frame was made by a codec that this version does not have."""


class DamagedPayloadError(FrameError):
    """The codes contradict each other."""


class NotFiniteError(FrameError):
    """Values are NaN, infinite, or too large for the codec."""


def fresh(num_bytes: int) -> Frame:
    """New memory."""
    return np.empty(num_bytes, np.uint8)


def encode_chunk(
    values_E: NDArray[np.float32],
    chunk: Chunk,
    codec: CodecName,
    *,
    residual_E: NDArray[np.float32] | None = None,
    topk_fraction: float = 0.02,
    room: Room = fresh,
) -> Frame:
    """The frame of a chunk's values, which stay as they are, in the memory that `room` gives.

    With a residual (error feedback) what the codec loses is kept there and added the next time; it is
    changed in place, and only when all went well:

        c = C(v + e);  e <- v + e - c

    Raises:
        NotFiniteError: a value is NaN, infinite or larger than the codec can hold.
        ValueError: the number of values is not the chunk's.

    Source: Karimireddy et al., "Error Feedback Fixes SignSGD", ICML 2019, algorithm 2, arXiv:1901.09847;
    there the learning rate is inside v.
    """
    for name, array in (("values_E", values_E), ("residual_E", residual_E)):
        if array is not None and (array.shape != (num_elements(chunk),) or not chunk):
            raise ValueError(f"{name} has shape {array.shape}, and the chunk {num_elements(chunk)} elements")
    quantizer = QUANTIZERS[codec]
    with np.errstate(over="ignore", invalid="ignore"):  # _check_values says it better
        wanted_E = np.ascontiguousarray(values_E, "<f4")
        if residual_E is not None:
            wanted_E = np.add(wanted_E, residual_E, dtype="<f4")
    _check_values(wanted_E, chunk, codec, quantizer.largest)
    encode = topk_encoder(topk_fraction) if codec == "topk" else quantizer.encode
    frame = make_frame(encode(wanted_E, _blocks(chunk)), chunk, codec, room=room)
    if residual_E is not None:
        payload = frame[_PREFIX_BYTES + len(_header(chunk, codec)) :]
        np.subtract(wanted_E, quantizer.decode(payload, _blocks(chunk)), out=residual_E)
    return frame


def most_bytes(chunks: Iterable[Chunk]) -> int:
    """Bytes that are enough for the frames of these chunks, whatever the codec."""
    # "topk" takes a place and a value for each element that it keeps, which may be all of them.
    return sum(_PREFIX_BYTES + len(_header(chunk, "fp32")) + 8 * num_elements(chunk) + 64 for chunk in chunks)


def decode_frame(frame: Frame, chunk: Chunk, *, is_known: bool = False) -> NDArray[np.float32]:
    """The values of a frame, float32 [E], read-only; for fp32 a view of the frame.

    A frame that was decoded before and kept by ourselves since `is_known`: its checksum and its values
    are not looked at again, which is half of the time.

    Raises:
        FrameError: its subclasses say what is wrong; whatever the bytes, nothing else is raised.
    """
    frame = _as_bytes(frame, chunk)
    codec = _check_prefix(frame, chunk)
    quantizer = QUANTIZERS[codec]
    header = _header(chunk, codec)
    payload = _check_header(frame, chunk, header, is_known=is_known)
    blocks = _blocks(chunk)
    expected_bytes = quantizer.num_bytes and quantizer.num_bytes(num_elements(chunk), len(blocks.starts))
    if expected_bytes not in (None, len(payload)):
        raise FrameSizeError(chunk, f"has a payload of {len(payload)} bytes instead of {expected_bytes}")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            values_E = quantizer.decode(payload, blocks)
    except PayloadError as error:
        raise DamagedPayloadError(chunk, f"is damaged: {error}") from error
    if not is_known:
        _check_values(values_E, chunk, codec, float(np.finfo(np.float32).max))
    values_E.flags.writeable = False
    return values_E


def make_frame(payload: list[NDArray[Any]], chunk: Chunk, codec: CodecName, *, room: Room = fresh) -> Frame:
    """A frame around a payload that a quantiser made, or that a test forged."""
    header = _header(chunk, codec)
    num_bytes = sum(part.nbytes for part in payload)
    prefix = _PREFIX.pack(
        _MAGIC, _VERSION, _CODECS.index(codec), 0, len(header), num_elements(chunk), num_bytes
    )
    frame = room(_PREFIX_BYTES + len(header) + num_bytes)
    frame[: _PREFIX.size] = np.frombuffer(prefix, np.uint8)
    position = _PREFIX_BYTES
    for part in (np.frombuffer(header, np.uint8), *payload):
        frame[position : position + part.nbytes].view(part.dtype)[:] = part
        position += part.nbytes
    frame[_PREFIX.size : _PREFIX_BYTES] = np.frombuffer(_CHECKSUM.pack(_checksum(frame)), np.uint8)
    return frame


def to_array(tensor: "torch.Tensor", *, copy: bool = True) -> NDArray[np.float32]:
    """A contiguous float32 array on the CPU. Half precision crosses from the device as it is.

    Without `copy` the array is a view where it can be: of a contiguous float32 tensor on the CPU.
    """
    import torch

    on_cpu = tensor.detach().to("cpu")
    is_shared = on_cpu.data_ptr() == tensor.data_ptr()
    widened = on_cpu.to(torch.float32).contiguous()
    if copy and is_shared and widened.data_ptr() == on_cpu.data_ptr():
        widened = widened.clone()
    array: NDArray[np.float32] = widened.numpy()
    return array


def view_or_array(tensor: "torch.Tensor") -> NDArray[np.float32]:
    """A view where the tensor is one of float32 on the CPU, else a copy as `to_array` makes it."""
    import torch

    if tensor.device.type == "cpu" and tensor.dtype == torch.float32:
        view: NDArray[np.float32] = tensor.detach().numpy()
        return view
    return to_array(tensor)


def on_cpu(tensor: "torch.Tensor") -> "torch.Tensor":
    """The tensor as it is, contiguous on the CPU; a copy only where it must be."""
    return tensor.detach().cpu().contiguous()


def stored_bytes(tensor: "torch.Tensor") -> NDArray[np.uint8]:
    """Its bytes in C order, whatever the dtype."""
    import torch

    array: NDArray[np.uint8] = on_cpu(tensor).reshape(-1).view(torch.uint8).numpy()
    return array


def to_tensor(array: NDArray[Any], like: "torch.Tensor") -> "torch.Tensor":
    """A new tensor with the values of an array, of the dtype and on the device of another tensor.

    It shares no memory with the array, which a cluster may hand to other learners too.
    """
    import torch

    # A copy even if the dtype is right: torch.from_numpy would share, and warns about read-only arrays.
    return torch.tensor(array, dtype=like.dtype).to(like.device)


def _blocks(chunk: Chunk) -> Blocks:
    return make_blocks(tuple(piece.num_elements for piece in chunk))


@lru_cache(maxsize=256)
def _header(chunk: Chunk, codec: CodecName) -> bytes:
    pieces = [[piece.name, piece.shape, piece.start, piece.stop] for piece in chunk]
    manifest = {"codec": codec, "dtype": QUANTIZERS[codec].dtype, "pieces": pieces}
    text = json.dumps(manifest, separators=(",", ":")).encode()
    return text.ljust(-(-len(text) // _ALIGNMENT) * _ALIGNMENT)


def _checksum(frame: Frame) -> int:
    start = xxhash.xxh3_64_intdigest(frame[: _PREFIX.size].tobytes())
    # A memory view, because the stubs do not say that arrays are buffers.
    return xxhash.xxh3_64_intdigest(frame[_PREFIX_BYTES:].data, seed=start) & 0xFFFFFFFF


def _as_bytes(frame: Frame, chunk: Chunk) -> Frame:
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 1:
        raise NotAFrameError(chunk, "is not an array of bytes")
    return np.ascontiguousarray(frame)


def _check_prefix(frame: Frame, chunk: Chunk) -> CodecName:
    """The codec that a frame names, after everything that the first bytes tell was checked."""
    if len(frame) < _PREFIX_BYTES:
        raise FrameSizeError(chunk, f"has only {len(frame)} bytes: it was cut off")
    magic, version, codec, reserved, _, found_elements, _ = _PREFIX.unpack(frame[: _PREFIX.size].tobytes())
    if magic != _MAGIC or reserved != 0:
        raise NotAFrameError(chunk, "does not begin as a frame does")
    if version != _VERSION:
        raise NotAFrameError(
            chunk,
            f"has format version {version}, and this Ayni reads {_VERSION}: install one version everywhere",
        )
    if codec >= len(_CODECS):
        raise UnknownCodecError(chunk, f"has codec number {codec}, which is not known here")
    if found_elements != num_elements(chunk):
        raise ForeignFrameError(
            chunk,
            f"holds {found_elements} values instead of {num_elements(chunk)}, as if the task's build_model() "
            "made another model in each process",
        )
    return _CODECS[int(codec)]


def _check_header(frame: Frame, chunk: Chunk, expected: bytes, *, is_known: bool) -> Frame:
    """The payload of a frame, after its lengths, checksum and manifest were checked."""
    *_, header_bytes, _, payload_bytes = _PREFIX.unpack(frame[: _PREFIX.size].tobytes())
    announced = _PREFIX_BYTES + header_bytes + payload_bytes
    if len(frame) != announced:
        how = "was cut off" if len(frame) < announced else "has bytes too many"
        raise FrameSizeError(chunk, f"{how}: {len(frame)} bytes instead of {announced}")
    (checksum,) = _CHECKSUM.unpack(frame[_PREFIX.size : _PREFIX_BYTES].tobytes())
    if not is_known and checksum != _checksum(frame):
        raise ChecksumError(chunk, "changed on the way: its checksum is wrong")
    found = frame[_PREFIX_BYTES : _PREFIX_BYTES + header_bytes].tobytes()
    if found != expected:  # never parsed: hostile JSON has nothing to attack
        raise ForeignFrameError(chunk, f"is for other tensors: {_excerpt(found)}")
    return frame[_PREFIX_BYTES + header_bytes :]


def _check_values(values_E: NDArray[np.float32], chunk: Chunk, codec: CodecName, largest: float) -> None:
    """Refuse NaN, infinity and what is too large. Minimum and maximum pass NaN on, and need no copy."""
    if not values_E.size or -largest <= values_E.min() <= values_E.max() <= largest:
        return
    place = int(np.argmin(np.abs(values_E) <= largest))
    value = float(values_E[place])
    limit = f", and {codec} holds up to {largest:.4g}" if np.isfinite(value) else ""
    raise NotFiniteError(
        chunk,
        f"has the value {value:g} in {_name_at(chunk, place)}{limit}: training diverged (lower "
        "train.learning_rate) or the learner is broken",
    )


def _name_at(chunk: Chunk, place: int) -> str:
    stops = np.cumsum([piece.num_elements for piece in chunk])
    return chunk[int(np.searchsorted(stops, place, side="right"))].name


def _describe(chunk: Chunk) -> str:
    more = f" and {len(chunk) - 1} more" if len(chunk) > 1 else ""
    return f"{chunk[0].name}[{chunk[0].start}:{chunk[0].stop}]{more}" if chunk else "an empty chunk"


def _excerpt(header: bytes) -> str:
    return repr(header[:120].decode("ascii", "replace"))

import pickle
import struct

import numpy as np
import pytest
import torch
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from ayni.train.codec import (
    ChecksumError,
    DamagedPayloadError,
    ForeignFrameError,
    FrameError,
    FrameSizeError,
    NotAFrameError,
    NotFiniteError,
    UnknownCodecError,
    decode_frame,
    encode_chunk,
    make_frame,
    to_array,
    to_tensor,
)
from ayni.train.layout import Chunk, Piece, make_chunks, num_elements
from ayni.train.strategy_config import CODECS, CodecName

CHUNK: Chunk = (Piece("norm.bias", 0, 5, (5,)), Piece("head.weight", 4096, 12_295, (3, 8192)))
SIZE = num_elements(CHUNK)
PREFIX_BYTES = 32

codecs = st.sampled_from(CODECS)


def some_values(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)


def with_right_checksum(frame: np.ndarray) -> np.ndarray:
    """What somebody sends who changes a frame on purpose."""
    start = xxhash.xxh3_64_intdigest(frame[:28].tobytes())
    checksum = xxhash.xxh3_64_intdigest(frame[PREFIX_BYTES:].tobytes(), seed=start) & 0xFFFFFFFF
    frame[28:PREFIX_BYTES] = np.frombuffer(struct.pack("<I", checksum), np.uint8)
    return frame


def payload_of(frame: np.ndarray) -> np.ndarray:
    (header_bytes,) = struct.unpack("<I", frame[8:12].tobytes())
    return frame[PREFIX_BYTES + header_bytes :]


@pytest.mark.parametrize(
    ("codec", "largest_error", "bytes_a_value"),
    [
        ("fp32", 0.0, 4.02),
        ("fp16", 0.002, 2.02),
        ("bf16", 0.02, 2.02),
        ("int8", 0.02, 1.02),
        ("e3m0", 1.2, 0.52),
        ("int2", 3.0, 0.28),
        ("topk", 2.5, 0.11),
    ],
)
def test_values_come_back_within_the_codecs_error_and_size(
    codec: CodecName, largest_error: float, bytes_a_value: float
) -> None:
    values = some_values()

    frame = encode_chunk(values, CHUNK, codec)

    assert np.abs(decode_frame(frame, CHUNK) - values).max() <= largest_error
    assert frame.nbytes <= bytes_a_value * SIZE


def test_frames_of_today_can_be_read_by_later_versions() -> None:
    chunk = (Piece("w", 0, 5, (5,)),)
    values = np.array([1.0, -0.5, 0.25, 0.0, -127.0], np.float32)

    frame = encode_chunk(values, chunk, "int8")

    golden = (
        "41594e460103000040000000050000000000000009000000000000008c461e59"
        + b'{"codec":"int8","dtype":"int8","pieces":[["w",[5],0,5]]}        '.hex()
        + "0000803f0100000081"
    )
    assert frame.tobytes().hex() == golden
    payloads = {codec: payload_of(encode_chunk(values, chunk, codec)).tobytes().hex() for codec in CODECS}
    assert payloads == {
        "fp32": "0000803f000000bf0000803e000000000000fec2",
        "fp16": "003c00b800340000f0d7",
        "bf16": "803f00bf803e0000fec2",
        "int8": "0000803f0100000081",
        "e3m0": "0000fe4281000f",
        "int2": "0000e03e0000fe420803",
        "topk": "01000400fec2",
    }


@pytest.mark.parametrize("codec", CODECS)
def test_error_feedback_sends_in_the_long_run_what_was_meant(codec: CodecName) -> None:
    residual, sent, wanted = np.zeros(SIZE, np.float32), np.zeros(SIZE), np.zeros(SIZE)

    for round_ in range(30):
        values = some_values(round_)
        sent += decode_frame(encode_chunk(values, CHUNK, codec, residual_E=residual), CHUNK)
        wanted += values

    assert np.allclose(sent + residual, wanted, atol=1e-4)
    # What is held back stays bounded, and does not grow with the number of rounds.
    assert np.linalg.norm(residual) <= (7 if codec == "topk" else 1) * np.linalg.norm(values)


def test_values_stay_as_they_are_and_the_residual_too_when_encoding_fails() -> None:
    values, residual = some_values(), np.ones(SIZE, np.float32)
    before = values.copy()

    encode_chunk(values, CHUNK, "int2", residual_E=np.ones(SIZE, np.float32))
    broken = values.copy()
    broken[-1] = np.nan
    with pytest.raises(NotFiniteError):
        encode_chunk(broken, CHUNK, "int2", residual_E=residual)

    assert np.array_equal(values, before)
    assert (residual == 1).all()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_diverged_learner_is_told_which_tensor_is_not_finite(codec: CodecName, value: float) -> None:
    values = some_values()
    values[7] = value

    with pytest.raises(NotFiniteError, match=r"in head.weight: .*lower train.learning_rate"):
        encode_chunk(values, CHUNK, codec)


def test_a_value_too_large_for_half_precision_is_refused_not_clipped() -> None:
    values = some_values()
    values[2] = 70_000

    with pytest.raises(NotFiniteError, match=r"value 70000 in norm.bias, and fp16 holds up to 6.55e\+04"):
        encode_chunk(values, CHUNK, "fp16")


def test_values_of_another_length_are_the_callers_mistake() -> None:
    with pytest.raises(ValueError, match=f"and the chunk {SIZE} elements"):
        encode_chunk(np.zeros(3, np.float32), CHUNK, "fp32")
    with pytest.raises(ValueError, match=r"residual_E has shape \(3,\)"):
        encode_chunk(some_values(), CHUNK, "int2", residual_E=np.zeros(3, np.float32))


def test_fp32_is_decoded_without_a_copy_and_nothing_can_be_written() -> None:
    frame = encode_chunk(some_values(), CHUNK, "fp32")

    assert np.shares_memory(decode_frame(frame, CHUNK), frame)
    for codec in CODECS:
        decoded = decode_frame(encode_chunk(some_values(), CHUNK, codec), CHUNK)
        assert not decoded.flags.writeable
        assert decoded.dtype == np.float32


def test_a_frame_that_came_in_an_unaligned_read_only_buffer_is_read() -> None:
    for codec in CODECS:
        frame = encode_chunk(some_values(), CHUNK, codec)
        received = np.frombuffer(b"x" + frame.tobytes(), np.uint8)[1:]

        assert np.array_equal(decode_frame(received, CHUNK), decode_frame(frame, CHUNK))


def test_headers_cost_less_than_one_percent_of_a_small_gpt_in_int8() -> None:
    manifest: dict[str, list[object]] = {"embedding.weight": [[256, 128], "float32"]}
    for layer in range(6):
        for name, shape in {
            "attention.in": [96, 288],
            "attention.out": [96, 96],
            "mlp.up": [96, 192],
        }.items():
            manifest[f"transformer.blocks.{layer}.{name}.weight"] = [shape, "float32"]
            manifest[f"transformer.blocks.{layer}.{name}.bias"] = [[shape[1]], "float32"]
        for name in ("norm_1.weight", "norm_1.bias"):
            manifest[f"transformer.blocks.{layer}.{name}"] = [[96], "float32"]
    (chunk,) = make_chunks(manifest)

    frame = encode_chunk(np.ones(num_elements(chunk), np.float32), chunk, "int8")

    assert len(manifest) == 49
    assert len(frame) - len(payload_of(frame)) <= 0.01 * num_elements(chunk)


@given(codecs, st.data())
def test_a_flipped_bit_anywhere_is_noticed(codec: CodecName, data: st.DataObject) -> None:
    frame = encode_chunk(some_values(), CHUNK, codec)
    place = data.draw(st.integers(0, 400) | st.integers(0, frame.size - 1))

    frame[place] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(FrameError):
        decode_frame(frame, CHUNK)


@given(codecs, st.data())
def test_a_frame_cut_off_or_with_bytes_too_many_is_refused(codec: CodecName, data: st.DataObject) -> None:
    frame = encode_chunk(some_values(), CHUNK, codec)
    length = data.draw(st.integers(0, frame.size - 1))

    with pytest.raises(FrameSizeError):
        decode_frame(frame[:length], CHUNK)
    with pytest.raises(FrameSizeError, match="bytes too many"):
        decode_frame(np.concatenate([frame, frame[: length + 1]]), CHUNK)


@given(codecs, st.data())
def test_a_forged_payload_gives_finite_values_or_a_frame_error(codec: CodecName, data: st.DataObject) -> None:
    frame = encode_chunk(some_values(), CHUNK, codec)
    payload = payload_of(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(40, payload.size - 1)) | st.integers(0, payload.size - 1))
        payload[place] = data.draw(st.integers(0, 255))

    try:
        decoded = decode_frame(with_right_checksum(frame), CHUNK)
    except (NotFiniteError, DamagedPayloadError):
        return

    assert decoded.shape == (SIZE,)
    assert np.isfinite(decoded).all()


@given(codecs, st.binary(max_size=28), st.integers(0, 27))
def test_a_forged_header_never_raises_anything_but_a_frame_error(
    codec: CodecName, content: bytes, place: int
) -> None:
    frame = encode_chunk(some_values(), CHUNK, codec)
    content = content[: 28 - place]
    before = frame[:28].tobytes()
    frame[place : place + len(content)] = np.frombuffer(content, np.uint8)

    if frame[:28].tobytes() == before:
        return
    with pytest.raises(FrameError):
        decode_frame(with_right_checksum(frame), CHUNK)


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_no_frame(content: bytes, has_magic: bool) -> None:
    frame = np.frombuffer((b"AYNF\x01" if has_magic else b"") + content, np.uint8)

    with pytest.raises(FrameError):
        decode_frame(frame, CHUNK)


@given(codecs, st.integers(0, 3 * SIZE))
def test_a_payload_of_another_length_is_refused(codec: CodecName, num_bytes: int) -> None:
    genuine = payload_of(encode_chunk(some_values(), CHUNK, codec))
    if num_bytes == len(genuine):
        return

    with pytest.raises((FrameSizeError, DamagedPayloadError)):
        decode_frame(make_frame([np.resize(genuine, num_bytes)], CHUNK, codec), CHUNK)


@pytest.mark.parametrize(
    ("codec", "place", "content"),
    [
        ("fp32", 12, struct.pack("<f", np.nan)),
        ("fp16", 12, struct.pack("<e", np.inf)),
        ("bf16", 12, struct.pack("<H", 0x7FC0)),
        ("int8", 4, struct.pack("<f", np.nan)),
        ("int8", 4, struct.pack("<f", 3e38)),
        ("e3m0", 4, struct.pack("<f", np.inf)),
        ("int2", 4, struct.pack("<f", np.nan)),
        ("topk", -2, struct.pack("<H", 0xFF80)),
    ],
)
def test_numbers_that_are_not_finite_never_come_out(codec: CodecName, place: int, content: bytes) -> None:
    frame = encode_chunk(some_values(), CHUNK, codec)
    payload = payload_of(frame)
    place %= payload.size
    payload[place : place + len(content)] = np.frombuffer(content, np.uint8)

    with pytest.raises(NotFiniteError, match=r"has the value .* in (norm.bias|head.weight)"):
        decode_frame(with_right_checksum(frame), CHUNK)


@pytest.mark.parametrize(
    ("counts", "places", "complaint"),
    [
        ([1, 1, 1, 1], [5, 0, 0, 0], "outside its block"),
        ([2, 0, 0, 0], [3, 3], "there twice"),
        ([2, 0, 0, 0], [4, 3], "out of order"),
        ([9, 9, 9, 9], [0], "another number"),
        ([9], [], "cannot hold the counts of 4 blocks"),
    ],
)
def test_topk_places_are_checked(counts: list[int], places: list[int], complaint: str) -> None:
    payload = [np.array(part, np.uint16) for part in (counts, places, [0] * len(places))]

    with pytest.raises(DamagedPayloadError, match=complaint):
        decode_frame(make_frame(payload, CHUNK, "topk"), CHUNK)


@pytest.mark.parametrize(
    "expected",
    [
        (Piece("norm.gain", 0, 5, (5,)), CHUNK[1]),
        (CHUNK[0], Piece("head.weight", 4096, 12_295, (8192, 3))),
        (CHUNK[0], Piece("head.weight", 0, 8199, (3, 8192))),
        (CHUNK[1], CHUNK[0]),
        CHUNK[1:],
    ],
)
def test_a_frame_for_other_tensors_is_refused(expected: Chunk) -> None:
    with pytest.raises(ForeignFrameError, match=r"holds 8204 values instead of 8199|is for other tensors"):
        decode_frame(encode_chunk(some_values(), CHUNK, "int8"), expected)


@pytest.mark.parametrize(
    ("place", "byte", "error", "complaint"),
    [
        (0, 0, NotAFrameError, "does not begin as a frame does"),
        (4, 2, NotAFrameError, "format version 2, and this Ayni reads 1: install one version"),
        (5, 7, UnknownCodecError, "codec number 7"),
        (5, 4, FrameError, "is for other tensors"),  # the manifest names the codec again
    ],
)
def test_a_frame_of_another_version_or_codec_is_refused(
    place: int, byte: int, error: type[FrameError], complaint: str
) -> None:
    frame = encode_chunk(some_values(), CHUNK, "int8")

    frame[place] = byte

    with pytest.raises(error, match=complaint):
        decode_frame(with_right_checksum(frame), CHUNK)


@pytest.mark.parametrize("frame", [b"AYNF", None, np.zeros(100), np.zeros((10, 10), np.uint8)])
def test_what_is_not_an_array_of_bytes_is_refused(frame: object) -> None:
    with pytest.raises(NotAFrameError, match="not an array of bytes"):
        decode_frame(frame, CHUNK)  # type: ignore[arg-type]


def test_errors_cross_process_borders_and_say_what_happened() -> None:
    frame = encode_chunk(some_values(), CHUNK, "fp32")
    frame[-1] ^= 1
    with pytest.raises(ChecksumError) as caught:
        decode_frame(frame, CHUNK)

    error = pickle.loads(pickle.dumps(caught.value))

    assert str(error) == (
        "The frame for norm.bias[0:5] and 1 more changed on the way: its checksum is wrong. It was refused "
        "and nothing was changed; the round goes on without it or is tried again."
    )
    assert error.first_name == "norm.bias"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_tensors_of_any_precision_leave_as_float32_and_come_back_equal(dtype: torch.dtype) -> None:
    tensor = torch.linspace(-2, 2, 9, requires_grad=True).to(dtype)

    array = to_array(tensor)
    back = to_tensor(array, tensor)

    assert array.dtype == np.float32
    assert back.dtype == dtype
    assert torch.allclose(back, tensor.detach())
    assert dtype == torch.float64 or torch.equal(back, tensor.detach())


def test_an_array_is_contiguous_and_a_view_only_on_request() -> None:
    tensor = torch.zeros(2, 3)
    transposed = torch.arange(6.0).reshape(2, 3).T

    assert np.shares_memory(to_array(tensor, copy=False), tensor.numpy())
    assert not np.shares_memory(to_array(tensor), tensor.numpy())
    assert to_array(tensor.bfloat16(), copy=False).dtype == np.float32
    for copy in (True, False):
        array = to_array(transposed, copy=copy)
        assert array.flags.c_contiguous
        assert np.array_equal(array, transposed.numpy())


def test_arrays_and_tensors_share_no_memory() -> None:
    tensor = torch.zeros(3)
    array = to_array(tensor)
    array[:] = 1
    array.flags.writeable = False  # as a cluster hands it out
    back = to_tensor(array, tensor)
    back += 1

    assert tensor.sum() == 0
    assert array.sum() == 3

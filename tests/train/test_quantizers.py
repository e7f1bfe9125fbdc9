"""Each codec keeps the bound that the table of quantizers.py promises, on any numbers."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ayni.train.blocks import BLOCK_ELEMENTS, Blocks, make_blocks
from ayni.train.quantizers import QUANTIZERS, topk_encoder
from ayni.train.strategy_config import CODECS, CodecName

FLOAT32_EPS = 2.0**-23
floats = npst.arrays(
    np.float32,
    st.integers(1, 70),
    elements=st.floats(-65504, 65504, width=32) | st.floats(-(2.0**-10), 2.0**-10, width=32),
)
sizes = st.lists(st.integers(1, 3 * BLOCK_ELEMENTS), min_size=1, max_size=5).map(tuple)


def there_and_back(values_E: np.ndarray, blocks: Blocks, codec: CodecName) -> np.ndarray:
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        parts = QUANTIZERS[codec].encode(values_E, blocks)
    payload = np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8)
    num_bytes = QUANTIZERS[codec].num_bytes
    assert num_bytes is None or len(payload) == num_bytes(len(values_E), len(blocks.starts))
    return QUANTIZERS[codec].decode(payload, blocks)


def block_maxima(values_E: np.ndarray, blocks: Blocks) -> np.ndarray:
    """The largest magnitude of each value's own block."""
    ends = blocks.starts + blocks.lengths
    maxima = [np.abs(values_E[start:end]).max() for start, end in zip(blocks.starts, ends, strict=True)]
    return np.repeat(maxima, blocks.lengths)


def heavy_tailed(size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_t(2, size) * 10.0 ** rng.integers(-6, 3)).astype(np.float32)


@given(floats)
def test_fp32_and_halves_equal_what_torch_makes_of_them(values_E: np.ndarray) -> None:
    blocks = make_blocks((len(values_E),))
    tensor = torch.from_numpy(values_E)

    for codec, dtype in (("fp32", torch.float32), ("fp16", torch.float16), ("bf16", torch.bfloat16)):
        expected = tensor.to(dtype).to(torch.float32).numpy()
        assert np.array_equal(there_and_back(values_E, blocks, codec), expected)


def test_bf16_rounds_ties_to_even() -> None:
    ties = np.array([0x3F808000, 0x3F818000, 0xBF808001, 0xBF818000], np.uint32).view(np.float32)

    decoded_E = there_and_back(ties, make_blocks((4,)), "bf16")

    assert decoded_E.view(np.uint32).tolist() == [0x3F800000, 0x3F820000, 0xBF810000, 0xBF820000]


@given(floats, sizes, st.integers(0, 99))
def test_int8_is_off_by_at_most_half_a_step(
    values_E: np.ndarray, all_sizes: tuple[int, ...], seed: int
) -> None:
    for values, blocks in (
        (values_E, make_blocks((len(values_E),))),
        (heavy_tailed(sum(all_sizes), seed), make_blocks(all_sizes)),
    ):
        error_E = np.abs(there_and_back(values, blocks, "int8") - values)

        bound_E = block_maxima(values, blocks) / 254 * (1 + 300 * FLOAT32_EPS)
        assert (error_E <= np.maximum(bound_E, 127 * np.finfo(np.float32).tiny)).all()


@given(floats, sizes, st.integers(0, 99))
def test_e3m0_takes_the_nearest_of_its_levels(
    values_E: np.ndarray, all_sizes: tuple[int, ...], seed: int
) -> None:
    for values, blocks in (
        (values_E, make_blocks((len(values_E),))),
        (heavy_tailed(sum(all_sizes), seed), make_blocks(all_sizes)),
    ):
        decoded_E = there_and_back(values, blocks, "e3m0")

        maxima_E = block_maxima(values, blocks).astype(np.float64)
        levels = np.array([0.0, *(2.0**e for e in range(-6, 1))])
        nearest_E = np.abs(np.abs(values)[:, None] - maxima_E[:, None] * levels).min(axis=1)
        slack_E = np.maximum(4 * FLOAT32_EPS * maxima_E, np.finfo(np.float32).tiny)
        assert (np.abs(np.abs(decoded_E - values) - nearest_E) <= slack_E).all()
        assert (np.abs(decoded_E - values) <= np.maximum(np.abs(values) / 3, maxima_E / 128) + slack_E).all()


@given(floats, sizes, st.integers(0, 99))
def test_int2_never_enlarges_the_error_of_a_block(
    values_E: np.ndarray, all_sizes: tuple[int, ...], seed: int
) -> None:
    for values, blocks in (
        (values_E, make_blocks((len(values_E),))),
        (heavy_tailed(sum(all_sizes), seed), make_blocks(all_sizes)),
    ):
        decoded_E = there_and_back(values, blocks, "int2").astype(np.float64)

        squared_errors = np.add.reduceat((values - decoded_E) ** 2, blocks.starts)
        squared_norms = np.add.reduceat(values.astype(np.float64) ** 2, blocks.starts)
        assert (squared_errors <= squared_norms * (1 + 1e-4) + 1e-60).all()
        assert len(np.unique(np.abs(decoded_E[: blocks.lengths[0]]))) <= 2


def test_int2_is_close_to_the_best_quantiser_of_a_normal_distribution() -> None:
    values = np.random.default_rng(0).standard_normal(64 * BLOCK_ELEMENTS).astype(np.float32)

    decoded_E = there_and_back(values, make_blocks((len(values),)), "int2")

    # Max 1960, table I, N = 4: mean squared error 0.1175, levels 0.4528 and 1.510.
    assert np.mean((values - decoded_E) ** 2) == pytest.approx(0.1175, rel=0.02)
    assert np.abs(decoded_E).min() == pytest.approx(0.4528, rel=0.05)
    assert np.abs(decoded_E).max() == pytest.approx(1.510, rel=0.05)


@given(sizes, st.integers(0, 99), st.sampled_from([0.001, 0.02, 0.3, 1.0]))
def test_topk_keeps_the_largest_of_each_block(all_sizes: tuple[int, ...], seed: int, fraction: float) -> None:
    values, blocks = heavy_tailed(sum(all_sizes), seed), make_blocks(all_sizes)

    parts = topk_encoder(fraction)(values, blocks)
    decoded_E = QUANTIZERS["topk"].decode(
        np.frombuffer(b"".join(part.tobytes() for part in parts), np.uint8), blocks
    )

    for start, length in zip(blocks.starts, blocks.lengths, strict=True):
        block, decoded = values[start : start + length], decoded_E[start : start + length]
        kept = decoded != 0
        assert kept.sum() <= np.ceil(fraction * length)
        assert np.allclose(decoded[kept], block[kept], rtol=2**-8)
        assert fraction < 1 or kept.sum() == (block != 0).sum()
        if 0 < kept.sum() < length:
            assert np.abs(block[kept]).min() >= np.abs(block[~kept]).max()


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", [0.0, -0.0, 1e-45, 1e-38, -1e-30, 1.0, 6e4])
def test_constant_blocks_come_back_finite_and_near(codec: CodecName, value: float) -> None:
    values = np.full(BLOCK_ELEMENTS + 3, value, np.float32)

    decoded_E = there_and_back(values, make_blocks((len(values),)), codec)

    kept = decoded_E != 0 if codec == "topk" else np.ones(len(values), bool)
    assert np.allclose(decoded_E[kept], values[kept], rtol=0.005, atol=1e-7)


@pytest.mark.parametrize("codec", CODECS)
def test_values_are_not_changed_by_encoding(codec: CodecName) -> None:
    values = heavy_tailed(BLOCK_ELEMENTS + 5, 1)
    before = values.copy()
    values.flags.writeable = False

    there_and_back(values, make_blocks((len(values),)), codec)

    assert np.array_equal(values, before)


def test_the_codecs_are_those_of_the_configuration_in_the_same_order() -> None:
    assert tuple(QUANTIZERS) == CODECS  # the order is part of the frame format

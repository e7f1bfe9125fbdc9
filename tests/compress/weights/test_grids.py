"""Grids of evenly spaced values."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ayni.compress.weights.grids import CannotQuantizeError, Grid, GridParameters, Scheme, join_groups

SCHEMES: list[Scheme] = ["affine", "symmetric", "minimum"]


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    granularity = draw(st.sampled_from(["tensor", "channel", "group"]))
    return Grid(
        bits=draw(st.integers(2, 8)),
        scheme=draw(st.sampled_from(SCHEMES)),
        granularity=granularity,
        group_size=draw(st.integers(1, 12)) if granularity == "group" else None,
    )


@st.composite
def weights(draw: st.DrawFn) -> torch.Tensor:
    """Matrices with rows of very different sizes, zeros and constants among them."""
    num_outputs, num_inputs = draw(st.integers(1, 5)), draw(st.integers(1, 20))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    weight_OI = torch.randn(num_outputs, num_inputs, generator=generator)
    sizes = draw(
        st.lists(
            st.sampled_from([0.0, 1e-30, 1e-6, 0.03, 1.0, 1e5]), min_size=num_outputs, max_size=num_outputs
        )
    )
    weight_OI *= torch.tensor(sizes)[:, None]
    weight_OI += draw(st.sampled_from([0.0, 0.0, 0.7, -3.0]))
    weight_OI[torch.rand(weight_OI.shape, generator=generator) < draw(st.sampled_from([0.0, 0.5]))] = 0
    return weight_OI


@given(grid=grids(), weight_OI=weights())
@settings(deadline=None)
def test_a_rounded_weight_lies_within_half_a_step(grid: Grid, weight_OI: torch.Tensor) -> None:
    parameters = grid.fit(weight_OI)

    values_OI = grid.dequantize(grid.quantize(weight_OI, parameters), parameters)

    step_OI = grid.spread(parameters.scale, weight_OI.shape[1]).double().expand_as(weight_OI)
    # float32 itself rounds weights of 1e5 to 0.004.
    allowed_OI = step_OI / 2 * (1 + 1e-3) + weight_OI.double().abs() * 1e-6
    assert bool(((weight_OI.double() - values_OI.double()).abs() <= allowed_OI).all())


@given(
    grid=grids(), weight_OI=weights(), dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float16])
)
@settings(deadline=None)
def test_codes_are_found_again_from_the_values_even_after_rounding_to_16_bits(
    grid: Grid, weight_OI: torch.Tensor, dtype: torch.dtype
) -> None:
    if not grid.keeps_zero and dtype != torch.float32:
        return  # A minimum far from 0 takes the digits that tell the codes apart.
    parameters = grid.fit(weight_OI)
    codes_OI = grid.quantize(weight_OI, parameters)
    values_OI = grid.dequantize(codes_OI, parameters).to(dtype)
    if not bool(torch.isfinite(values_OI).all()) or float(parameters.scale.min()) < 1e-5:
        return  # Beyond the range of float16.

    again_OI = grid.quantize(values_OI, parameters)

    assert torch.equal(grid.dequantize(again_OI, parameters).to(dtype), values_OI)


@given(grid=grids(), weight_OI=weights())
@settings(deadline=None)
def test_one_column_at_a_time_is_the_same_as_all_at_once(grid: Grid, weight_OI: torch.Tensor) -> None:
    parameters = grid.fit(weight_OI)

    columns = [
        grid.round_column(weight_OI[:, index], parameters, index) for index in range(weight_OI.shape[1])
    ]

    assert torch.equal(
        torch.stack(columns, 1), grid.dequantize(grid.quantize(weight_OI, parameters), parameters)
    )


@given(grid=grids(), weight_OI=weights())
@settings(deadline=None)
def test_zeros_stay_zeros_on_grids_that_say_so(grid: Grid, weight_OI: torch.Tensor) -> None:
    parameters = grid.fit(weight_OI)

    values_OI = grid.dequantize(grid.quantize(weight_OI, parameters), parameters)

    assert not grid.keeps_zero or bool((values_OI[weight_OI == 0] == 0).all())


@given(bits=st.integers(2, 8), size=st.integers(1, 9), weight_OI=weights())
@settings(deadline=None)
def test_groups_fitted_one_by_one_join_to_the_grid_of_the_whole(
    bits: int, size: int, weight_OI: torch.Tensor
) -> None:
    grid = Grid(bits=bits, granularity="group", group_size=size)
    starts = range(0, weight_OI.shape[1], size)

    joined = join_groups([grid.fit(weight_OI[:, start : start + size]) for start in starts])

    whole = grid.fit(weight_OI)
    assert joined.scale.shape == whole.scale.shape
    # Whether float16 will do is decided for each part alone, so that the two may differ in it.
    if joined.scale.dtype == whole.scale.dtype == torch.float16:
        assert torch.equal(joined.scale, whole.scale)
        assert joined.zero is not None and whole.zero is not None and torch.equal(joined.zero, whole.zero)


def test_an_affine_grid_by_hand() -> None:
    # lo = -1, hi = 2: s = 3 / 3 = 1, z = 1; -1, 0, 1, 2 have the codes 0, 1, 2, 3.
    grid = Grid(bits=2, granularity="tensor")
    weight_OI = torch.tensor([[-1.0, 0.0, 0.4], [0.6, 1.2, 2.0]])

    parameters = grid.fit(weight_OI)

    assert parameters.zero is not None
    assert (parameters.scale.item(), parameters.zero.item()) == (1.0, 1)
    assert grid.quantize(weight_OI, parameters).tolist() == [[0, 1, 1], [2, 2, 3]]
    assert grid.dequantize(grid.quantize(weight_OI, parameters), parameters).tolist() == [
        [-1.0, 0.0, 0.0],
        [1.0, 1.0, 2.0],
    ]


def test_a_symmetric_grid_by_hand() -> None:
    # s = 3.5 / 7 = 0.5, z = 8.
    grid = Grid(bits=4, scheme="symmetric")
    weight_OI = torch.tensor([[-3.5, 0.0, 1.1, 3.0]])

    codes_OI = grid.quantize(weight_OI, grid.fit(weight_OI))

    assert codes_OI.tolist() == [[1, 8, 10, 14]]


def test_a_grid_with_a_minimum_by_hand() -> None:
    # m = 5, s = (6.5 - 5) / 3 = 0.5: a grid far from 0 spends no code on it.
    grid = Grid(bits=2, scheme="minimum")
    weight_OI = torch.tensor([[5.0, 5.6, 6.5]])

    parameters = grid.fit(weight_OI)

    assert grid.dequantize(grid.quantize(weight_OI, parameters), parameters).tolist() == [[5.0, 5.5, 6.5]]


def test_weights_that_lie_on_a_grid_with_a_minimum_are_reproduced_exactly() -> None:
    generator = torch.Generator().manual_seed(0)
    scale_OG = (torch.rand(64, 4, 1, generator=generator) * 0.01 + 1e-4).half().float()
    minimum_OG = (torch.randn(64, 4, 1, generator=generator) * 0.05).half().float()
    codes_OGK = torch.randint(0, 16, (64, 4, 32), generator=generator).float()
    codes_OGK[:, :, 0], codes_OGK[:, :, 1] = 0, 15
    weight_OI = (codes_OGK * scale_OG + minimum_OG).reshape(64, 128)
    grid = Grid(bits=4, scheme="minimum", granularity="group", group_size=32)

    parameters = grid.fit(weight_OI)

    assert torch.equal(grid.dequantize(grid.quantize(weight_OI, parameters), parameters), weight_OI)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("value", [0.0, 1e-40, 3e-8, -0.25, 7e4, -2e30])
def test_one_weight_alone_keeps_its_size(scheme: Scheme, value: float) -> None:
    grid = Grid(bits=4, scheme=scheme)
    weight_OI = torch.tensor([[value]])

    parameters = grid.fit(weight_OI)

    kept = grid.dequantize(grid.quantize(weight_OI, parameters), parameters).item()
    assert math.isclose(kept, weight_OI.item(), rel_tol=1e-3, abs_tol=1e-37)


def test_bits_of_a_stored_weight_are_codes_scales_and_zeros() -> None:
    def bits(**fields: object) -> float:
        return Grid(**fields).stored_bits(64, 320) / (64 * 320)  # type: ignore[arg-type]

    assert bits(bits=4, granularity="group", group_size=32) == 4 + 20 / 32
    assert bits(bits=4, scheme="symmetric", granularity="group", group_size=32) == 4.5
    assert bits(bits=4, scheme="minimum", granularity="group", group_size=32) == 5
    assert bits(bits=8) == 8 + 24 / 320
    assert bits(bits=8, granularity="tensor") == 8 + 24 / (64 * 320)


def test_a_group_longer_than_the_row_is_the_row() -> None:
    weight_OI = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    grid = Grid(bits=4, granularity="group", group_size=1 << 40)

    parameters = grid.fit(weight_OI)

    assert torch.equal(parameters.scale, Grid(bits=4).fit(weight_OI).scale)
    assert grid.dequantize(grid.quantize(weight_OI, parameters), parameters).shape == (3, 5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused_with_their_number(bad: float) -> None:
    weight_OI = torch.tensor([[1.0, bad, 2.0, bad]])

    with pytest.raises(CannotQuantizeError, match="2 of its 4 values"):
        Grid(bits=8).fit(weight_OI)


@pytest.mark.parametrize(
    "weight", [torch.zeros(0, 4), torch.zeros(4), torch.ones(2, 2, dtype=torch.int64), torch.zeros(3, 0)]
)
def test_what_is_no_matrix_of_floats_is_refused(weight: torch.Tensor) -> None:
    with pytest.raises(CannotQuantizeError, match="not a matrix"):
        Grid(bits=8).fit(weight)


def test_a_range_wider_than_float32_is_refused() -> None:
    with pytest.raises(CannotQuantizeError, match="wider than float32"):
        Grid(bits=8).fit(torch.tensor([[-3e38, 3e38]]))


@pytest.mark.parametrize(
    "fields",
    [
        {"bits": 1},
        {"bits": 9},
        {"bits": True},
        {"bits": 4.0},
        {"bits": 4, "scheme": "log"},
        {"bits": 4, "granularity": "row"},
        {"bits": 4, "granularity": "group"},
        {"bits": 4, "granularity": "group", "group_size": 0},
        {"bits": 4, "granularity": "group", "group_size": True},
        {"bits": 4, "granularity": "channel", "group_size": 32},
    ],
)
def test_grids_that_make_no_sense_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"bits|scheme|granularity|group_size"):
        Grid(**fields)  # type: ignore[arg-type]


def test_groups_of_different_schemes_do_not_join() -> None:
    one, other = (Grid(bits=4, scheme=scheme).fit(torch.ones(1, 2)) for scheme in ("affine", "minimum"))

    with pytest.raises(ValueError, match="2 schemes"):
        join_groups([one, other])
    with pytest.raises(ValueError, match="0 parts"):
        join_groups(list[GridParameters]())

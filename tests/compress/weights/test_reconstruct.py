"""The algebra of one layer, against brute force and closed forms."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ayni.compress.weights.masks import NofM
from ayni.compress.weights.reconstruct import (
    Curvature,
    NotFactorizableError,
    descend,
    eliminate,
    error_of,
    keep_by_alternation,
    refit,
)


def layer(num_outputs: int = 6, num_inputs: int = 8, groups: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Weights and the second moments of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(num_inputs, num_inputs, generator=generator)
    rows = torch.randn(groups, 10 * num_inputs, num_inputs, generator=generator) @ mix
    weight = torch.randn(groups, num_outputs, num_inputs, generator=generator)
    return weight, (rows.mT @ rows).double()


def to_halves(column: Tensor, _index: int, _work: Tensor) -> Tensor:
    return (column * 2).round() / 2


def solved_by_rows(weight: Tensor, keep: Tensor, hessian: Tensor) -> Tensor:
    """The best weights on a mask: one small linear system for each row."""
    best = torch.zeros_like(weight)
    for row in range(weight.shape[1]):
        kept = keep[0, row].nonzero().flatten()
        system = hessian[0][kept][:, kept]
        best[0, row, kept] = torch.linalg.solve(system, (hessian[0] @ weight[0, row])[kept])
    return best


def test_the_factor_is_that_of_the_inverse() -> None:
    _, gram = layer(groups=3)

    curvature = Curvature.of(gram, damping=0.01)

    upper = curvature.factor.double()
    assert torch.equal(upper, upper.triu())
    assert torch.allclose(upper.mT @ upper @ curvature.hessian.double(), torch.eye(8).double(), atol=1e-3)
    assert torch.allclose(curvature.hessian.diagonal(dim1=1, dim2=2).mean(1), torch.tensor(1.01))


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_the_scale_of_the_inputs_does_not_matter(scale: float) -> None:
    weight, gram = layer()

    pruned = eliminate(weight, Curvature.of(gram * scale, damping=0.01), pattern=0.5)

    assert torch.allclose(pruned, eliminate(weight, Curvature.of(gram, damping=0.01), pattern=0.5), rtol=1e-3)


@pytest.mark.parametrize(
    "gram",
    [torch.zeros(1, 4, 4), torch.ones(1, 4, 4), torch.diag(torch.tensor([1.0, 0.0, 1e-30, 5.0]))[None]],
    ids=["zeros", "rank one", "dead inputs"],
)
def test_degenerate_inputs_have_a_factor_also_without_damping(gram: Tensor) -> None:
    curvature = Curvature.of(gram, damping=0.0)

    assert torch.isfinite(curvature.factor).all()
    assert torch.isfinite(eliminate(torch.randn(1, 3, 4), curvature, pattern=0.5)).all()


def test_what_can_never_be_factorized_is_said_so() -> None:
    with pytest.raises(NotFactorizableError, match="more calibration"):
        Curvature.of(torch.full((1, 2, 2), float("nan")), damping=0.01)


def test_eliminating_one_weight_is_the_optimal_brain_surgeon() -> None:
    # With one row and one weight to go from the first column the update has a closed form:
    # w - (w_0 / [H^-1]_00) H^-1_{:,0}. Hassibi and Stork, 1993.
    weight, gram = layer(num_outputs=1, num_inputs=5)
    keep = torch.ones(1, 1, 5, dtype=torch.bool)
    keep[..., 0] = False
    curvature = Curvature.of(gram, damping=0.01)
    inverse = torch.linalg.inv(curvature.hessian.double())[0]

    pruned = eliminate(weight, curvature, keep_GOI=keep)

    expected = weight[0, 0].double() - weight[0, 0, 0].double() / inverse[0, 0] * inverse[:, 0]
    assert torch.allclose(pruned[0, 0].double(), expected, atol=1e-4)


@pytest.mark.parametrize("block_columns", [1, 3, 8, 100])
def test_how_many_columns_are_updated_at_once_changes_no_result(block_columns: int) -> None:
    weight, gram = layer(groups=2)
    curvature = Curvature.of(gram, damping=0.01)

    rounded = eliminate(weight, curvature, round_column=to_halves, block_columns=block_columns)
    whole = eliminate(weight, curvature, round_column=to_halves, block_columns=8)

    assert torch.allclose(rounded, whole, atol=1e-5)


@given(seed=st.integers(0, 1000), sparsity=st.sampled_from([0.0, 0.25, 0.5, 0.75]))
@settings(max_examples=20, deadline=None)
def test_pruning_reaches_its_sparsity_and_refitting_never_loses(seed: int, sparsity: float) -> None:
    weight, gram = layer(seed=seed)
    curvature = Curvature.of(gram, damping=0.01)

    pruned = eliminate(weight, curvature, pattern=sparsity)
    refitted = refit(pruned, weight, pruned != 0, curvature)

    assert int((pruned == 0).sum()) == round(sparsity * 48)
    assert (refitted[pruned == 0] == 0).all()
    before = error_of(pruned, weight, curvature)
    assert error_of(refitted, weight, curvature) <= before + 1e-6


def test_refitted_weights_are_those_of_least_squares() -> None:
    weight, gram = layer()
    curvature = Curvature.of(gram, damping=0.01)
    keep = torch.rand(1, 6, 8, generator=torch.Generator().manual_seed(1)) > 0.5

    refitted = refit(weight * keep, weight, keep, curvature, num_steps=60)

    expected = solved_by_rows(weight.double(), keep, curvature.hessian.double())
    assert torch.allclose(refitted.double(), expected, atol=1e-3)


def test_refitting_an_empty_mask_or_perfect_weights_changes_nothing() -> None:
    weight, gram = layer()
    curvature = Curvature.of(gram, damping=0.01)
    nothing, everything = torch.zeros(1, 6, 8, dtype=torch.bool), torch.ones(1, 6, 8, dtype=torch.bool)

    assert torch.equal(refit(weight, weight, nothing, curvature), torch.zeros(1, 6, 8))
    assert torch.equal(refit(weight, weight, everything, curvature), weight)


@pytest.mark.parametrize("pattern", [0.5, NofM(kept=2, of=4)])
def test_alternation_finds_masks_near_the_best_of_all(pattern: float | NofM) -> None:
    ours, best = 0.0, 0.0
    for seed in range(6):
        weight, gram = layer(num_outputs=1, num_inputs=8, seed=seed)
        curvature = Curvature.of(gram, damping=0.01)
        errors = {}
        for kept in itertools.combinations(range(8), 4):
            if isinstance(pattern, NofM) and sum(index < 4 for index in kept) != 2:
                continue
            keep = torch.zeros(1, 1, 8, dtype=torch.bool)
            keep[0, 0, list(kept)] = True
            fitted = solved_by_rows(weight.double(), keep, curvature.hessian.double())
            errors[kept] = error_of(fitted.float(), weight, curvature)
        chosen = keep_by_alternation(weight, curvature, pattern)
        ours += errors[tuple(chosen[0, 0].nonzero().flatten().tolist())]
        best += min(errors.values())

    assert best <= ours < 2 * best


@pytest.mark.parametrize("pattern", [0.5, NofM(kept=2, of=4)])
def test_masks_of_alternation_lose_less_than_those_of_elimination(pattern: float | NofM) -> None:
    weight, gram = layer(num_outputs=48, num_inputs=48)
    # Inputs of real layers differ in strength along their directions.
    directions = torch.linalg.eigh(gram)[1] * torch.logspace(0, -1.5, 48).double()
    curvature = Curvature.of(directions @ directions.mT, damping=0.01)

    eliminated = eliminate(weight, curvature, pattern=pattern) != 0
    alternated = keep_by_alternation(weight, curvature, pattern)

    errors = [
        error_of(refit(weight, weight, keep, curvature), weight, curvature)
        for keep in (alternated, eliminated)
    ]
    assert int(alternated.sum()) == int(eliminated.sum())
    assert errors[0] < 0.8 * errors[1]


def test_n_of_m_keeps_n_of_every_m_in_both_ways() -> None:
    weight, gram = layer(groups=2)
    curvature, pattern = Curvature.of(gram, damping=0.01), NofM(kept=2, of=4)

    alternating = keep_by_alternation(weight, curvature, pattern)
    eliminated = eliminate(weight, curvature, pattern=pattern, block_columns=6) != 0

    for keep in (alternating, eliminated):
        assert (keep.unflatten(-1, (-1, 4)).sum(-1) == 2).all()


def test_rounding_with_compensation_beats_rounding_to_nearest_and_descent_beats_both() -> None:
    weight, gram = layer(num_outputs=20, num_inputs=16)
    curvature = Curvature.of(gram, damping=0.01)
    nearest = (weight * 2).round() / 2

    rounded = eliminate(weight, curvature, round_column=to_halves)
    again = descend(rounded, weight, curvature, round_column=to_halves)

    errors = [error_of(matrix, weight, curvature) for matrix in (again, rounded, nearest)]
    assert errors == sorted(errors)
    assert errors[1] < 0.8 * errors[2]
    assert ((again * 2) == (again * 2).round()).all()


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_descent_never_loses_and_keeps_zeros(seed: int) -> None:
    weight, gram = layer(seed=seed, groups=2)
    curvature = Curvature.of(gram, damping=0.01)
    pruned = eliminate(weight, curvature, pattern=0.5, round_column=to_halves)

    again = descend(pruned, weight, curvature, round_column=to_halves, keep_GOI=pruned != 0)

    before = error_of(pruned, weight, curvature)
    assert error_of(again, weight, curvature) <= before + 1e-5
    assert (again[pruned == 0] == 0).all()


def test_a_layer_that_answers_nothing_has_no_error() -> None:
    assert (
        error_of(torch.ones(1, 2, 2), torch.zeros(1, 2, 2), Curvature.of(torch.eye(2)[None], damping=0.0))
        == 0.0
    )

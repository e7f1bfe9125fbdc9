"""What each step does to a model."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ayni.compress.artefacts import load_full_model
from ayni.compress.draft import (
    CannotTeachError,
    Draft,
    EmptyCalibrationError,
    Workshop,
    build_student,
    check_prunable,
    find_values,
    mark,
    reshape,
)
from ayni.compress.steps import DistillStep, FactorizeStep, FoldStep, PruneStep, RecoverStep, Step
from ayni.compress.structure.channels import count_parameters
from ayni.compress.weights.layers import matrix_layers, weight_OI
from ayni.compress.weights.masks import PatternMismatchError
from ayni.task import Task, TaskFailedError


def shop_for(task: Any, file: Path, **options: Any) -> Workshop:
    return Workshop(
        task=task, teacher=load_full_model(task, file), seed=1, device=torch.device("cpu"), **options
    )


def done(task: Any, file: Path, *steps: Step, **options: Any) -> Draft:
    shop, draft = shop_for(task, file, **options), Draft(model=load_full_model(task, file))
    for step in steps:
        reshape(draft, step, shop)
        mark(draft, step)
        if not isinstance(step, FactorizeStep | FoldStep) and not getattr(step, "channels", None):
            find_values(draft, step, shop)
    return draft


def sparsity(model: nn.Module) -> float:
    weights = [weight_OI(layer) for layer in matrix_layers(model).values()]
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@pytest.mark.parametrize("method", ["sparsegpt", "wanda", "magnitude", "global_magnitude"])
def test_every_method_makes_the_asked_share_of_zeros(bars: Task, bars_file: Path, method: Any) -> None:
    draft = done(bars, bars_file, PruneStep(weights=0.5, method=method))

    assert sparsity(draft.model) == pytest.approx(0.5, abs=0.01)
    assert draft.is_masked
    assert not draft.is_reshaped


def test_a_threshold_removes_exactly_the_small_weights(bars: Task, bars_file: Path) -> None:
    before = load_full_model(bars, bars_file)
    draft = done(bars, bars_file, PruneStep(threshold=0.05))

    for name, layer in matrix_layers(draft.model).items():
        original = weight_OI(before.get_submodule(name))
        assert torch.equal(weight_OI(layer), torch.where(original.abs() > 0.05, original, 0))


def test_recovery_and_distillation_keep_zeros(bars: Task, bars_file: Path) -> None:
    pruned = PruneStep(weights=0.5, method="magnitude")
    for training in (RecoverStep(epochs=1), DistillStep(epochs=1)):
        draft = done(bars, bars_file, pruned, training)

        assert sparsity(draft.model) == pytest.approx(0.5, abs=0.01)


def test_gradual_pruning_ends_at_its_sparsity(bars: Task, bars_file: Path) -> None:
    draft = done(bars, bars_file, RecoverStep(epochs=2, sparsity=0.7))

    assert sparsity(draft.model) == pytest.approx(0.7, abs=0.01)
    assert draft.is_masked


@pytest.mark.parametrize("step", [PruneStep(channels=0.5), FactorizeStep(ratio=0.5), FoldStep()])
def test_steps_that_change_the_shape_say_so_and_leave_fewer_parameters(
    bars: Task, bars_file: Path, step: Step
) -> None:
    full = count_parameters(load_full_model(bars, bars_file))

    draft = done(bars, bars_file, step)

    assert draft.is_reshaped
    assert count_parameters(draft.model) < full


def test_another_student_takes_the_models_place(bars: Any, bars_file: Path) -> None:
    class WithStudent(type(bars)):  # type: ignore[misc]
        def small(self) -> nn.Module:
            return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    draft = done(WithStudent(), bars_file, DistillStep(epochs=1, student="small"))

    assert count_parameters(draft.model) == 64 * 3 + 3
    assert draft.is_reshaped


def test_a_student_that_nobody_builds_is_refused(bars: Any) -> None:
    class Broken(type(bars)):  # type: ignore[misc]
        def no_module(self) -> int:
            return 3

        def raises(self) -> nn.Module:
            raise RuntimeError("no")

    with pytest.raises(CannotTeachError, match="no such method"):
        build_student(bars, "small")
    with pytest.raises(CannotTeachError, match="no torch module"):
        build_student(Broken(), "no_module")
    with pytest.raises(TaskFailedError, match="raises"):
        build_student(Broken(), "raises")


def test_a_teacher_of_the_hub_is_asked_for_by_name(bars: Task, bars_file: Path) -> None:
    asked = []

    def load(name: str) -> nn.Module:
        asked.append(name)
        return load_full_model(bars, bars_file)

    done(bars, bars_file, DistillStep(epochs=1, teacher="me/large"), load_model=load)

    assert asked == ["me/large"]
    with pytest.raises(CannotTeachError, match="no hub"):
        done(bars, bars_file, DistillStep(epochs=1, teacher="me/large"))


def test_a_language_model_learns_what_its_teacher_writes(symbols: Task, symbols_file: Path) -> None:
    step = DistillStep(epochs=1, new_tokens=4, prompt_tokens=4, learning_rate=1e-3)

    draft = done(symbols, symbols_file, step)

    before = load_full_model(symbols, symbols_file)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(draft.model.parameters(), before.parameters(), strict=True)
    )


def test_steps_that_calibrate_say_when_there_is_nothing_to_calibrate_with(bars: Any, bars_file: Path) -> None:
    class Empty(type(bars)):  # type: ignore[misc]
        def dataset(self, split: str) -> Any:
            return [] if split == "train" else super().dataset(split)

    with pytest.raises(EmptyCalibrationError, match="method: magnitude"):
        done(Empty(), bars_file, PruneStep(weights=0.5))


def test_a_pattern_that_does_not_fit_is_found_before_anything_is_pruned(bars: Task, bars_file: Path) -> None:
    model = load_full_model(bars, bars_file)

    with pytest.raises(PatternMismatchError):
        check_prunable(model, PruneStep(pattern="2:4"))
    check_prunable(model, PruneStep(weights=0.5))

    assert sparsity(model) == 0

"""Hidden layers that are compared."""

import pytest
import torch
from torch import nn

from ayni.compress.retrain.feature_matching import CannotMatchFeaturesError, FeatureMatcher, FeatureMatching


def loss_of(
    settings: FeatureMatching, student: nn.Module, teacher: nn.Module, x: torch.Tensor
) -> torch.Tensor:
    matcher = FeatureMatcher(settings, student=student, teacher=teacher)
    with matcher.watching():
        student(x)
        teacher(x)
    return matcher.loss().detach()


def test_the_loss_is_the_squared_difference_relative_to_the_teacher() -> None:
    student, teacher = nn.Sequential(nn.Linear(2, 2, bias=False)), nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        student[0].weight.copy_(torch.eye(2))
        teacher[0].weight.copy_(3 * torch.eye(2))

    loss = loss_of(FeatureMatching(pairs=(("0", "0"),), weight=5.0), student, teacher, torch.ones(4, 2))

    # |1 - 3|^2 / 3^2, five times.
    assert float(loss) == pytest.approx(5 * 4 / 9)


def test_channels_of_images_are_compared_place_by_place() -> None:
    torch.manual_seed(0)
    student, teacher = nn.Sequential(nn.Conv2d(1, 3, 1)), nn.Sequential(nn.Conv2d(1, 3, 1))
    images = torch.randn(2, 1, 4, 5)
    s, t = student(images), teacher(images)

    loss = loss_of(FeatureMatching(pairs=(("0", "0"),)), student, teacher, images)

    assert loss.item() == pytest.approx(((s - t).square().mean() / t.square().mean()).item())


def test_a_projection_bridges_different_widths_and_learns_to_bring_the_loss_to_nothing() -> None:
    torch.manual_seed(0)
    student, teacher = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(3, 5, bias=False))
    nn.init.eye_(student[0].weight), nn.init.zeros_(student[0].bias)
    matcher = FeatureMatcher(FeatureMatching(pairs=(("0", "0"),)), student=student, teacher=teacher)

    def loss() -> torch.Tensor:
        x = torch.randn(32, 3)
        with matcher.watching():
            student(x)
            teacher(x)
        return matcher.loss()

    first = loss().item()
    optimizer = torch.optim.Adam(matcher.projections.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    assert loss().item() < 0.01 * first
    assert teacher[0].weight.grad is None


def test_teachers_that_are_zero_do_not_divide_by_zero() -> None:
    student, teacher = nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2))
    for layer in (student[0], teacher[0]):
        nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)

    assert float(loss_of(FeatureMatching(pairs=(("0", "0"),)), student, teacher, torch.ones(1, 2))) == 0.0


def test_pairs_that_do_not_fit_are_refused_with_names() -> None:
    student = nn.Sequential(nn.Conv2d(1, 2, 1), nn.MaxPool2d(2))
    teacher = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    images = torch.randn(1, 1, 4, 4)

    with pytest.raises(CannotMatchFeaturesError, match=r"no layer 'body'. It has 0, 1"):
        FeatureMatcher(FeatureMatching(pairs=(("body", "0"),)), student=student, teacher=teacher)
    with pytest.raises(CannotMatchFeaturesError, match="4 positions and '1' of the teacher 16"):
        loss_of(FeatureMatching(pairs=(("1", "1"),)), student, teacher, images)
    with pytest.raises(CannotMatchFeaturesError, match="called 0 times"):
        FeatureMatcher(FeatureMatching(pairs=(("0", "0"),)), student=student, teacher=teacher).loss()
    with pytest.raises(ValueError, match="at least one pair"):
        FeatureMatching(pairs=())

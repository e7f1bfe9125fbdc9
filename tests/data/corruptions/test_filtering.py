"""Filters against closed forms and scipy."""

import math

import numpy as np
import pytest
import torch

from ayni.data.corruptions.filtering import (
    apply_rows_columns,
    box_matrix,
    convolve,
    disk_kernel,
    gaussian_blur,
    gaussian_matrix,
    line_kernels,
    stretch_matrix,
    zoom_matrix,
)


@pytest.mark.parametrize(("size", "sigma"), [(28, 0.7), (8, 3.0), (224, 2.44), (30, 40.0)])
def test_a_gaussian_blur_is_that_of_scipy_with_mirrored_edges(size: int, sigma: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    image = np.random.default_rng(0).random((size, size + 3)).astype(np.float32)

    blurred = gaussian_blur(torch.from_numpy(image)[None, None], sigma)[0, 0].numpy()

    reach = max(1, math.ceil(4 * sigma))
    expected = ndimage.gaussian_filter(image, sigma, mode="reflect", radius=reach)
    np.testing.assert_allclose(blurred, expected, atol=2e-5)


def test_an_image_and_its_blur_are_equally_bright() -> None:
    assert torch.allclose(gaussian_matrix(11, 5.0).sum(1), torch.ones(11), atol=1e-6)


@pytest.mark.parametrize("side", [3, 9, 21])
def test_a_convolution_is_that_of_scipy_on_both_ways(side: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(side)
    images = rng.random((3, 1, 40, 25)).astype(np.float32)
    kernels = rng.random((3, side, side)).astype(np.float32)

    found = convolve(torch.from_numpy(images), torch.from_numpy(kernels)).numpy()

    for image, kernel, result in zip(images[:, 0], kernels, found[:, 0], strict=True):
        padded = np.pad(image, side // 2, mode="reflect")
        np.testing.assert_allclose(result, signal.convolve2d(padded, kernel, mode="valid"), rtol=1e-4)


def test_a_kernel_wider_than_the_image_repeats_its_edge() -> None:
    flat = torch.full((1, 1, 5, 5), 0.3)

    assert torch.allclose(convolve(flat, torch.full((1, 21, 21), 1 / 441)), flat, atol=1e-6)


def test_a_zoom_leaves_the_centre_and_takes_the_middle_half_for_factor_two() -> None:
    line = torch.arange(9, dtype=torch.float32)

    zoomed = zoom_matrix(9, 2.0) @ line

    assert zoomed.tolist() == [2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0]


def test_a_line_is_stretched_from_end_to_end() -> None:
    assert (stretch_matrix(2, 5) @ torch.tensor([0.0, 4.0])).tolist() == [0, 1, 2, 3, 4]
    assert (stretch_matrix(1, 3) @ torch.tensor([7.0])).tolist() == [7, 7, 7]


def test_boxes_hold_the_mean_of_what_they_cover_by_share() -> None:
    boxes = box_matrix(3, 2) @ torch.tensor([0.0, 3.0, 6.0])

    # The box from 0 to 1.5 holds the first value and half of the second.
    assert boxes.tolist() == pytest.approx([1.0, 5.0, 5.0])
    image = torch.rand(1, 1, 6, 6)
    pooled = apply_rows_columns(image, box_matrix(6, 3), box_matrix(6, 3))
    assert torch.allclose(pooled[..., ::2, ::2], torch.nn.functional.avg_pool2d(image, 2), atol=1e-6)


@pytest.mark.parametrize("radius", [0.3, 0.43, 1.0, 3.0, 10.0])
def test_a_disk_is_round_sums_to_one_and_spreads_as_a_disk_does(radius: float) -> None:
    kernel = disk_kernel(radius, edge_sigma=0.1)[0]

    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-5)
    assert torch.allclose(kernel, kernel.T, atol=1e-6)
    assert torch.allclose(kernel, kernel.flip(0), atol=1e-6)
    offsets = torch.arange(len(kernel)) - len(kernel) // 2
    variance = float((kernel * offsets[:, None] ** 2).sum())
    # A disk has r^2 / 4 along an axis, spreading over pixels adds at most 1 / 4, the edge a little.
    assert radius**2 / 4 * 0.9 < variance < (radius + 1 / 9) ** 2 / 4 + 0.27


def test_a_line_runs_at_its_angle() -> None:
    angles = torch.tensor([0.0, math.pi / 2, math.pi / 4])

    kernels = line_kernels(angles, radius=5, sigma=3.0, scale=1.0)

    middle = kernels.shape[-1] // 2
    assert torch.allclose(kernels.sum((1, 2)), torch.ones(3), atol=1e-5)
    assert float(kernels[0, middle].sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(kernels[1, :, middle].sum()) == pytest.approx(1.0, abs=1e-4)
    assert torch.allclose(kernels[2], kernels[2].T, atol=1e-5)

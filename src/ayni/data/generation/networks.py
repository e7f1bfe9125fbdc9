"""Networks that generators are made of: from numbers and a class to numbers, flat or by convolutions.

All take a batch of flat inputs and the class as a vector of zeros and a one, and give flat outputs, so that
generators need not know which layers are inside. No batch normalisation: its statistics would mix examples,
and are not what learners that exchange seldom agree on.

Legend: B batch, D numbers of an encoded input, C classes, Z numbers of noise or condition.

Not covered: attention, and images of more than about 64 pixels a side.
"""

import torch
from torch import nn
from torch.nn import functional

from ayni.data.generation.generator_settings import SMALLEST_CONVOLUTION_SIDE, GeneratorSettings
from ayni.data.generation.input_form import InputForm


def uses_convolutions(settings: GeneratorSettings, form: InputForm) -> bool:
    """Whether the networks are convolutions.

    Raises:
        ValueError: convolutions are asked for and the inputs are no images of 4 pixels a side or more.
    """
    image = form.image_shape
    if settings.layers == "convolution" and (image is None or min(image[1:]) < 4):
        raise ValueError(
            f"layers: convolution needs images of at least 4 x 4, and inputs have the shape {form.shape}"
        )
    if settings.layers != "auto":
        return settings.layers == "convolution"
    return image is not None and min(image[1:]) >= SMALLEST_CONVOLUTION_SIDE


class FlatNetwork(nn.Module):
    """Hidden layers with SiLU; the class enters each of them, since it easily drowns beside many inputs."""

    def __init__(
        self, num_inputs: int, num_classes: int, num_outputs: int, *, width: int, depth: int
    ) -> None:
        super().__init__()
        sizes = [num_inputs] + [width] * depth
        self.hidden = nn.ModuleList(nn.Linear(size + num_classes, width) for size in sizes[:-1])
        self.last = nn.Linear(width + num_classes, num_outputs)

    def forward(self, x_BD: torch.Tensor, classes_BC: torch.Tensor) -> torch.Tensor:
        """Numbers [B, outputs]."""
        for layer in self.hidden:
            x_BD = functional.silu(layer(torch.cat([x_BD, classes_BC], dim=1)))
        out: torch.Tensor = self.last(torch.cat([x_BD, classes_BC], dim=1))
        return out


class _Block(nn.Module):
    """Two convolutions and a short cut; the condition scales and shifts between them."""

    def __init__(self, num_in: int, num_out: int, num_conditions: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(min(8, num_in), num_in)
        self.first = nn.Conv2d(num_in, num_out, 3, padding=1)
        self.norm_out = nn.GroupNorm(min(8, num_out), num_out)
        self.second = nn.Conv2d(num_out, num_out, 3, padding=1)
        self.condition = nn.Linear(num_conditions, 2 * num_out)
        self.short_cut = nn.Conv2d(num_in, num_out, 1) if num_in != num_out else nn.Identity()

    def forward(self, x: torch.Tensor, condition_BZ: torch.Tensor) -> torch.Tensor:
        scale, shift = self.condition(condition_BZ)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(functional.silu(self.norm_in(x)))
        inner = self.norm_out(inner) * (1 + scale) + shift
        out: torch.Tensor = self.second(functional.silu(inner)) + self.short_cut(x)
        return out


class ImageEncoder(nn.Module):
    """An image and its class as numbers: three levels of halved resolution."""

    def __init__(
        self, image: tuple[int, int, int], num_classes: int, num_outputs: int, *, width: int
    ) -> None:
        super().__init__()
        self.image, first = image, max(8, width // 8)
        sizes = [first, 2 * first, 4 * first]
        self.entry = nn.Conv2d(image[0], first, 3, padding=1)
        self.blocks = nn.ModuleList(
            _Block(size_in, size_out, num_classes)
            for size_in, size_out in zip([first, *sizes[:-1]], sizes, strict=True)
        )
        height, breadth = (-(-side // 4) for side in image[1:])
        self.last = nn.Linear(4 * first * height * breadth, num_outputs)

    def forward(self, x_BD: torch.Tensor, classes_BC: torch.Tensor) -> torch.Tensor:
        """Numbers [B, outputs]."""
        x = self.entry(x_BD.reshape(-1, *self.image))
        for index, block in enumerate(self.blocks):
            x = block(x, classes_BC)
            if index < len(self.blocks) - 1:
                # Rounded up, so that no row of an odd side is lost.
                x = functional.avg_pool2d(x, 2, ceil_mode=True)
        out: torch.Tensor = self.last(functional.silu(x).flatten(1))
        return out


class ImageDecoder(nn.Module):
    """Noise and a class as an image."""

    def __init__(self, noise_size: int, num_classes: int, image: tuple[int, int, int], *, width: int) -> None:
        super().__init__()
        self.image, first = image, max(8, width // 8)
        quarter, half = (tuple(-(-side // part) for side in image[1:]) for part in (4, 2))
        self.sides = (quarter, half, image[1:])
        sizes = [4 * first, 2 * first, first]
        self.entry = nn.Linear(noise_size + num_classes, 4 * first * quarter[0] * quarter[1])
        self.blocks = nn.ModuleList(
            _Block(size_in, size_out, num_classes)
            for size_in, size_out in zip([4 * first, *sizes[:-1]], sizes, strict=True)
        )
        self.last = nn.Conv2d(first, image[0], 3, padding=1)

    def forward(self, noise_BZ: torch.Tensor, classes_BC: torch.Tensor) -> torch.Tensor:
        """Images [B, D]."""
        x = self.entry(torch.cat([noise_BZ, classes_BC], dim=1))
        x = x.reshape(len(noise_BZ), -1, *self.sides[0])
        for side, block in zip(self.sides, self.blocks, strict=True):
            if x.shape[2:] != side:
                x = functional.interpolate(x, size=side, mode="nearest")
            x = block(x, classes_BC)
        out: torch.Tensor = self.last(functional.silu(x)).flatten(1)
        return out


class ImageField(nn.Module):
    """A small U-Net: an image and a condition (class and time) as an image of the same form."""

    def __init__(self, image: tuple[int, int, int], num_conditions: int, *, width: int) -> None:
        super().__init__()
        self.image, first, middle = image, max(8, width // 8), max(16, width // 4)
        inner = max(32, width // 2)
        self.condition = nn.Sequential(nn.Linear(num_conditions, inner), nn.SiLU())
        self.entry = nn.Conv2d(image[0], first, 3, padding=1)
        self.down = _Block(first, middle, inner)
        self.deep = nn.ModuleList([_Block(middle, 2 * middle, inner), _Block(2 * middle, middle, inner)])
        self.up = _Block(2 * middle, first, inner)
        self.last = nn.Conv2d(first, image[0], 3, padding=1)

    def forward(self, x_BD: torch.Tensor, condition_BZ: torch.Tensor) -> torch.Tensor:
        """Images [B, D]."""
        condition = self.condition(condition_BZ)
        fine = self.down(self.entry(x_BD.reshape(-1, *self.image)), condition)
        x = functional.avg_pool2d(fine, 2, ceil_mode=True)
        for block in self.deep:
            x = block(x, condition)
        x = functional.interpolate(x, size=fine.shape[2:], mode="nearest")
        x = self.up(torch.cat([x, fine], dim=1), condition)
        out: torch.Tensor = self.last(functional.silu(x)).flatten(1)
        return out


def make_encoder(
    settings: GeneratorSettings, form: InputForm, num_classes: int, num_outputs: int
) -> nn.Module:
    """From an encoded input and its class to `num_outputs` numbers."""
    if uses_convolutions(settings, form):
        assert form.image_shape is not None
        return ImageEncoder(form.image_shape, num_classes, num_outputs, width=settings.width)
    return FlatNetwork(form.num_encoded, num_classes, num_outputs, width=settings.width, depth=settings.depth)


def make_decoder(settings: GeneratorSettings, form: InputForm, num_classes: int) -> nn.Module:
    """From noise and a class to an encoded input."""
    if uses_convolutions(settings, form):
        assert form.image_shape is not None
        return ImageDecoder(settings.noise_size, num_classes, form.image_shape, width=settings.width)
    return FlatNetwork(
        settings.noise_size, num_classes, form.num_encoded, width=settings.width, depth=settings.depth
    )


def make_field(settings: GeneratorSettings, form: InputForm, num_conditions: int) -> nn.Module:
    """From an encoded input and a condition to something of the same form."""
    if uses_convolutions(settings, form):
        assert form.image_shape is not None
        return ImageField(form.image_shape, num_conditions, width=settings.width)
    return FlatNetwork(
        form.num_encoded, num_conditions, form.num_encoded, width=settings.width, depth=settings.depth
    )
